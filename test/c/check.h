/*
 * check.h - what the sanitized tests of the curves share: a counted check that ends the program
 * when it fails, and bytes on the heap.
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned int checks;

#define CHECK(condition) check((condition), #condition, __LINE__)

static void check(int condition, const char *words, int line)
{
  checks++;
  if (condition)
    return;
  (void)fprintf(stderr, "line %d: not so: %s\n", line, words);
  exit(1);
}

/* @count bytes of @value on the heap, where a sanitizer guards both ends. */
static uint8_t *bytes_of(size_t count, int value)
{
  uint8_t *bytes = malloc(count);
  CHECK(bytes != NULL);
  (void)memset(bytes, value, count);
  return bytes;
}

#endif
