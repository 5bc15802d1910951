/*
 * match_shim.c - finding the expressions of a set in a burst of first payloads, with Hyperscan.
 *
 * A database is compiled from all byte strings and regular expressions of a snapshot at once; a
 * scan costs about the same for one as for thousands and cannot blow up. Hyperscan tells where a
 * match ends; which matches count, and where one began, is decided in TypeScript (src/dpi/).
 *
 * Threads: databases are compiled and released by the main thread. Each scanning thread prepares a
 * database once, because Hyperscan's working memory must not be shared.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hs/hs.h>

#include "abs_shim.h"
#include "shim_internal.h"

#define EXPRESSION_MAX 65536
#define EXPRESSION_HEADER_BYTES 8 /* id and flags, both 32 bits in this machine's order */
#define MATCH_WORDS 3

struct database {
  hs_database_t *compiled; /* NULL: the place is free */
  uint32_t generation; /* counts compilations: a thread notices a new one in an old place */
};

struct scan {
  uint32_t *match;
  uint32_t match_max;
  uint32_t found;
  uint32_t text;
};

static struct database databases[ABS_DATABASE_MAX];

static __thread hs_scratch_t *scratch; /* grows to serve every database this thread prepared */
static __thread uint32_t prepared[ABS_DATABASE_MAX];

/**
 * abs_match_check - whether Hyperscan takes one expression.
 * @expression: PCRE, NUL-terminated. @flags: HS_FLAG_*.
 * Main thread. Returns 0, or ABS_EMATCH with Hyperscan's reason in abs_last_error().
 */
int32_t abs_match_check(const char *expression, uint32_t flags)
{
  hs_compile_error_t *error = NULL;
  hs_expr_info_t *info = NULL;
  if (expression == NULL)
    return shim_fail(ABS_EINVAL, "an expression must be given");
  hs_database_t *compiled = NULL;
  if (hs_expression_info(expression, flags, &info, &error) == HS_SUCCESS)
    free(info);
  if (error == NULL &&
      hs_compile(expression, flags, HS_MODE_BLOCK, NULL, &compiled, &error) == HS_SUCCESS) {
    (void)hs_free_database(compiled);
    return 0;
  }
  int32_t result = shim_fail(ABS_EMATCH, "%s", error == NULL ? "no reason given" : error->message);
  (void)hs_free_compile_error(error);
  return result;
}

/* Points @text, @flags and @id at the parts of each expression of the blob; 0 when it is whole. */
static int split_blob(const uint8_t *blob, uint32_t size_bytes, uint32_t count, const char **text,
                      unsigned int *flags, unsigned int *id)
{
  uint32_t at = 0;
  for (uint32_t i = 0; i < count; i++) {
    if (size_bytes - at < EXPRESSION_HEADER_BYTES)
      return -1;
    (void)memcpy(&id[i], blob + at, 4);
    (void)memcpy(&flags[i], blob + at + 4, 4);
    at += EXPRESSION_HEADER_BYTES;
    const uint8_t *end = memchr(blob + at, '\0', size_bytes - at);
    if (end == NULL)
      return -1;
    text[i] = (const char *)blob + at;
    at = (uint32_t)(end - blob) + 1;
  }
  return at == size_bytes ? 0 : -1;
}

static int32_t compile(uint32_t place, const char **text, const unsigned int *flags,
                       const unsigned int *id, uint32_t count)
{
  hs_compile_error_t *error = NULL;
  hs_database_t *compiled = NULL;
  if (hs_compile_multi(text, flags, id, count, HS_MODE_BLOCK, NULL, &compiled, &error) !=
      HS_SUCCESS) {
    const char *words = error == NULL ? "no reason given" : error->message;
    int32_t result = error != NULL && error->expression >= 0
                       ? shim_fail(ABS_EMATCH, "expression %u: %s", id[error->expression], words)
                       : shim_fail(ABS_EMATCH, "%s", words);
    (void)hs_free_compile_error(error);
    return result;
  }
  databases[place].compiled = compiled;
  databases[place].generation++;
  return (int32_t)place;
}

/**
 * abs_match_compile - compile a set of expressions.
 * @expressions: @size_bytes bytes: for each of @count expressions its id (4 bytes) and HS_FLAG_*
 *               (4), little-endian, then PCRE with a final NUL; not kept.
 * @count: 1..65536.
 * Main thread. Returns the database, 0..ABS_DATABASE_MAX-1, or a code; ABS_EMATCH names the id.
 */
int32_t abs_match_compile(const uint8_t *expressions, uint32_t size_bytes, uint32_t count)
{
  if (expressions == NULL || count == 0 || count > EXPRESSION_MAX)
    return shim_fail(ABS_EINVAL, "%u expressions: not 1..%d", count, EXPRESSION_MAX);
  uint32_t place = 0;
  while (place < ABS_DATABASE_MAX && databases[place].compiled != NULL)
    place++;
  if (place == ABS_DATABASE_MAX)
    return shim_fail(ABS_ESTATE, "all %d databases are in use", ABS_DATABASE_MAX);
  const char **text = calloc(count, sizeof(*text));
  unsigned int *numbers = calloc((size_t)count * 2, sizeof(*numbers));
  int32_t result;
  if (text == NULL || numbers == NULL)
    result = shim_fail(ABS_ENOMEM, "no memory for %u expressions", count);
  else if (split_blob(expressions, size_bytes, count, text, numbers, numbers + count) < 0)
    result = shim_fail(ABS_EINVAL, "%u bytes are not %u whole expressions", size_bytes, count);
  else
    result = compile(place, text, numbers, numbers + count, count);
  free(text);
  free(numbers);
  return result;
}

static int32_t check_database(uint32_t database)
{
  if (database >= ABS_DATABASE_MAX || databases[database].compiled == NULL)
    return shim_fail(ABS_EINVAL, "there is no database %u", database);
  return 0;
}

/**
 * abs_match_release - free a database; no thread may scan with it any more.
 * Main thread. Returns 0 or ABS_EINVAL.
 */
int32_t abs_match_release(uint32_t database)
{
  if (check_database(database) < 0)
    return ABS_EINVAL;
  (void)hs_free_database(databases[database].compiled);
  databases[database].compiled = NULL;
  return 0;
}

/**
 * abs_match_prepare - allocate what the calling thread needs to scan with a database.
 * Once in each scanning thread, after abs_match_compile(). Returns 0 or a negative code.
 */
int32_t abs_match_prepare(uint32_t database)
{
  if (check_database(database) < 0)
    return ABS_EINVAL;
  if (hs_alloc_scratch(databases[database].compiled, &scratch) != HS_SUCCESS)
    return shim_fail(ABS_ENOMEM, "no memory to scan with database %u", database);
  prepared[database] = databases[database].generation;
  return 0;
}

/* Called by Hyperscan for each match; a result other than 0 ends the scan of this text. */
static int keep_match(unsigned int id, unsigned long long from, unsigned long long to,
                      unsigned int flags, void *context)
{
  struct scan *scan = context;
  (void)from;
  (void)flags;
  if (scan->found == scan->match_max)
    return 1;
  uint32_t *match = scan->match + (size_t)scan->found * MATCH_WORDS;
  match[0] = scan->text;
  match[1] = id;
  match[2] = (uint32_t)to;
  scan->found++;
  return 0;
}

/**
 * abs_match_burst - scan a burst of texts.
 * @database: prepared by this thread.
 * @base: where offsets count from; @offset, @length: @count texts, which the caller may read.
 * @count: 1..ABS_BURST_MAX.
 * @match: out, 3 * @match_max values: per match the text's index, the expression's id, the match's
 *         end in bytes from the text's start; ordered by text.
 * Returns matches written, 0..@match_max (when full, scanning ends), or a negative code.
 */
int32_t abs_match_burst(uint32_t database, const uint8_t *base, const uint32_t *offset,
                        const uint32_t *length, uint32_t count, uint32_t *match, uint32_t match_max)
{
  struct scan scan = { .match = match, .match_max = match_max };
  if (check_database(database) < 0)
    return ABS_EINVAL;
  if (base == NULL || offset == NULL || length == NULL || match == NULL || count == 0 ||
      count > ABS_BURST_MAX || match_max == 0 || match_max > INT32_MAX / MATCH_WORDS)
    return shim_fail(ABS_EINVAL, "count %u: not 1..%d, or no arrays", count, ABS_BURST_MAX);
  if (prepared[database] != databases[database].generation)
    return shim_fail(ABS_ESTATE, "this thread has not prepared database %u", database);
  for (uint32_t i = 0; i < count; i++) {
    scan.text = i;
    hs_error_t result = hs_scan(databases[database].compiled, (const char *)base + offset[i],
                                length[i], 0, scratch, keep_match, &scan);
    if (result != HS_SUCCESS && result != HS_SCAN_TERMINATED)
      return shim_fail(ABS_EMATCH, "scanning text %u failed with %d", i, result);
  }
  return (int32_t)scan.found;
}
