/*
 * match_set_shim.c - making, saving and loading the sets of contents that match_shim.c scans with.
 *
 * A set has numbered contents. For some a pattern lies in one big database, which is scanned once a
 * payload: it costs about the same for one as for thousands and cannot blow up. For some there is a
 * test, run on demand on one payload: a byte string, or a pattern in a small database of its own.
 * Which content gets what, and what a match means, is decided in TypeScript (src/dpi/).
 *
 * Threads: everything here is for the main thread.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "match_internal.h"

#define ENTRY_WORDS 6 /* kind, id, flags, low, high, size; each 32 bits in this machine's order */
#define CHUNK_HEADER_BYTES 4 /* a saved database follows its size */

/* One entry of the bytes a set is made of. */
struct entry {
  uint32_t kind, id, flags, low, high, size;
  const uint8_t *text;
};

struct match_set match_sets[ABS_DATABASE_MAX];

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

/* Reads the entry at @at into @entry; returns where the next begins, or 0 when it is not whole. */
static uint32_t read_entry(const uint8_t *blob, uint32_t size_bytes, uint32_t at, uint32_t count,
                           struct entry *entry)
{
  uint32_t word[ENTRY_WORDS];
  if (size_bytes - at < sizeof(word))
    return 0;
  (void)memcpy(word, blob + at, sizeof(word));
  at += (uint32_t)sizeof(word);
  *entry = (struct entry){ word[0], word[1], word[2], word[3], word[4], word[5], blob + at };
  if (entry->kind < MATCH_SCAN || entry->kind > MATCH_TEST_BYTES || entry->id >= count ||
      entry->size == 0 || entry->size > size_bytes - at)
    return 0;
  if (entry->kind != MATCH_TEST_BYTES &&
      memchr(entry->text, '\0', entry->size) != entry->text + entry->size - 1)
    return 0;
  return at + entry->size;
}

static void free_contents(struct match_content *content, uint32_t count)
{
  for (uint32_t i = 0; i < count; i++) {
    if (content[i].pattern != NULL)
      (void)hs_free_database(content[i].pattern);
    free(content[i].bytes);
  }
  free(content);
}

/* Says that the pattern of content @id was refused; frees @error. */
static int32_t fail_compile(uint32_t id, hs_compile_error_t *error)
{
  const char *words = error == NULL ? "no reason given" : error->message;
  int32_t result = shim_fail(ABS_EMATCH, "expression %u: %s", id, words);
  if (error != NULL)
    (void)hs_free_compile_error(error);
  return result;
}

/* The next saved database of @saved into @out. Returns 0 or a code. */
static int32_t load_chunk(const uint8_t **saved, uint32_t *left, hs_database_t **out)
{
  uint32_t size;
  if (*left < CHUNK_HEADER_BYTES)
    return shim_fail(ABS_EMATCH, "the saved databases end too early");
  (void)memcpy(&size, *saved, sizeof(size));
  *saved += CHUNK_HEADER_BYTES;
  *left -= CHUNK_HEADER_BYTES;
  if (size > *left)
    return shim_fail(ABS_EMATCH, "a saved database ends too early");
  hs_error_t result = hs_deserialize_database((const char *)*saved, size, out);
  if (result != HS_SUCCESS)
    return shim_fail(ABS_EMATCH, "a saved database is refused with %d", result);
  *saved += size;
  *left -= size;
  return 0;
}

/* Takes one entry that is a test. Its pattern comes from @saved, or is compiled without it. */
static int32_t add_test(const struct entry *entry, struct match_content *content,
                        const uint8_t **saved, uint32_t *left)
{
  hs_compile_error_t *error = NULL;
  if (content->kind != 0)
    return shim_fail(ABS_EINVAL, "content %u has two tests", entry->id);
  content->kind = entry->kind;
  content->low = entry->low;
  content->high = entry->high;
  if (entry->kind == MATCH_TEST_BYTES) {
    content->size = entry->size;
    content->bytes = malloc(entry->size);
    if (content->bytes == NULL)
      return shim_fail(ABS_ENOMEM, "no memory for a byte string");
    (void)memcpy(content->bytes, entry->text, entry->size);
    return 0;
  }
  if (saved != NULL)
    return load_chunk(saved, left, &content->pattern);
  if (hs_compile((const char *)entry->text, entry->flags, HS_MODE_BLOCK, NULL, &content->pattern,
                 &error) != HS_SUCCESS)
    return fail_compile(entry->id, error);
  return 0;
}

/* What is scanned for at once. */
struct patterns {
  const char **text;
  unsigned int *flags, *id;
  uint32_t count;
};

/* Takes the entries of a set one by one. */
static int32_t read_entries(const uint8_t *blob, uint32_t size_bytes, uint32_t count,
                            struct match_content *content, struct patterns *patterns,
                            const uint8_t **saved, uint32_t *left)
{
  struct entry entry;
  for (uint32_t at = 0; at < size_bytes;) {
    at = read_entry(blob, size_bytes, at, count, &entry);
    if (at == 0)
      return shim_fail(ABS_EINVAL, "%u bytes are not whole entries of %u contents", size_bytes,
                       count);
    if (entry.kind != MATCH_SCAN) {
      int32_t result = add_test(&entry, &content[entry.id], saved, left);
      if (result < 0)
        return result;
      continue;
    }
    if (patterns->count == count)
      return shim_fail(ABS_EINVAL, "more patterns than contents");
    content[entry.id].end_min = entry.low;
    content[entry.id].end_max = entry.high;
    patterns->text[patterns->count] = (const char *)entry.text;
    patterns->flags[patterns->count] = entry.flags;
    patterns->id[patterns->count++] = entry.id;
  }
  return 0;
}

/* The database of all patterns, compiled or from @saved; NULL in @out when there are none. */
static int32_t join_patterns(const struct patterns *patterns, const uint8_t **saved,
                             uint32_t *left, hs_database_t **out)
{
  hs_compile_error_t *error = NULL;
  if (patterns->count == 0)
    return 0;
  if (saved != NULL)
    return load_chunk(saved, left, out);
  if (hs_compile_multi(patterns->text, patterns->flags, patterns->id, patterns->count,
                       HS_MODE_BLOCK, NULL, out, &error) == HS_SUCCESS)
    return 0;
  if (error == NULL || error->expression < 0)
    return fail_compile(0, error);
  return fail_compile(patterns->id[error->expression], error);
}

static int32_t make_set(const uint8_t *blob, uint32_t size_bytes, uint32_t count,
                        const uint8_t **saved, uint32_t *left)
{
  if (blob == NULL || count == 0 || count > ABS_CONTENT_MAX)
    return shim_fail(ABS_EINVAL, "%u contents: not 1..%d", count, ABS_CONTENT_MAX);
  uint32_t place = 0;
  while (place < ABS_DATABASE_MAX && match_sets[place].content != NULL)
    place++;
  if (place == ABS_DATABASE_MAX)
    return shim_fail(ABS_ESTATE, "all %d databases are in use", ABS_DATABASE_MAX);
  struct match_content *content = calloc(count, sizeof(*content));
  unsigned int *numbers = calloc((size_t)count * 2, sizeof(*numbers));
  struct patterns patterns = { calloc(count, sizeof(char *)), numbers, numbers + count, 0 };
  hs_database_t *compiled = NULL;
  int32_t result;
  if (content == NULL || numbers == NULL || patterns.text == NULL)
    result = shim_fail(ABS_ENOMEM, "no memory for %u contents", count);
  else
    result = read_entries(blob, size_bytes, count, content, &patterns, saved, left);
  if (result == 0)
    result = join_patterns(&patterns, saved, left, &compiled);
  if (result == 0 && saved != NULL && *left != 0)
    result = shim_fail(ABS_EMATCH, "%u bytes follow the saved databases", *left);
  free(patterns.text);
  free(numbers);
  if (result < 0) {
    if (compiled != NULL)
      (void)hs_free_database(compiled);
    if (content != NULL)
      free_contents(content, count);
    return result;
  }
  uint32_t generation = match_sets[place].generation + 1;
  match_sets[place] = (struct match_set){ compiled, content, count, generation };
  return (int32_t)place;
}

/**
 * abs_match_compile - make a set of contents.
 * @entries: @size_bytes bytes of entries, each six 32-bit words in this machine's order (kind, id,
 *           flags, low, high, size) and @size bytes of text; not kept. Kinds are explained at
 *           match_internal.h. Text of patterns is PCRE with a final NUL that @size counts; @flags
 *           are HS_FLAG_*. A content has at most one MATCH_SCAN and one of the tests.
 * @count: contents, 1..ABS_CONTENT_MAX; ids are below.
 * Main thread. Returns the set, 0..ABS_DATABASE_MAX-1, or a code; ABS_EMATCH names the id.
 */
int32_t abs_match_compile(const uint8_t *entries, uint32_t size_bytes, uint32_t count)
{
  return make_set(entries, size_bytes, count, NULL, NULL);
}

/**
 * abs_match_load - as abs_match_compile, but with what abs_match_save() wrote for the same entries.
 * @saved: @saved_bytes bytes; not kept. They are trusted as the program is: Hyperscan checks their
 *         sum, not their meaning.
 * Main thread. Returns the set or a code; ABS_EMATCH: of another version or machine, or damaged.
 */
int32_t abs_match_load(const uint8_t *entries, uint32_t size_bytes, uint32_t count,
                       const uint8_t *saved, uint32_t saved_bytes)
{
  if (saved == NULL)
    return shim_fail(ABS_EINVAL, "nothing was saved");
  return make_set(entries, size_bytes, count, &saved, &saved_bytes);
}

/* Appends one database to @out, or only counts it where there is no room. */
static int32_t save_chunk(const hs_database_t *pattern, uint8_t *out, uint32_t max, uint32_t *used)
{
  char *bytes = NULL;
  size_t size = 0;
  if (hs_serialize_database(pattern, &bytes, &size) != HS_SUCCESS || size > INT32_MAX / 2 ||
      *used > INT32_MAX / 2) {
    free(bytes);
    return shim_fail(ABS_ENOMEM, "a database cannot be saved");
  }
  uint32_t length = (uint32_t)size;
  if ((uint64_t)*used + CHUNK_HEADER_BYTES + length <= max) {
    (void)memcpy(out + *used, &length, sizeof(length));
    (void)memcpy(out + *used + CHUNK_HEADER_BYTES, bytes, length);
  }
  *used += CHUNK_HEADER_BYTES + length;
  free(bytes);
  return 0;
}

/**
 * abs_match_save - what abs_match_load() takes.
 * @out: out, @max bytes; may be NULL when @max is 0.
 * Main thread. Returns the bytes it takes; @out is whole only when they are not more than @max.
 */
int32_t abs_match_save(uint32_t database, uint8_t *out, uint32_t max)
{
  if (match_check_set(database) < 0)
    return ABS_EINVAL;
  const struct match_set *set = &match_sets[database];
  uint32_t used = 0;
  /* In the order of the entries: compile.ts writes the tests by content. */
  for (uint32_t i = 0; i < set->count; i++) {
    if (set->content[i].pattern == NULL)
      continue;
    int32_t result = save_chunk(set->content[i].pattern, out, max, &used);
    if (result < 0)
      return result;
  }
  if (set->compiled != NULL) {
    int32_t result = save_chunk(set->compiled, out, max, &used);
    if (result < 0)
      return result;
  }
  return (int32_t)used;
}

/**
 * abs_match_release - free a set; no thread may scan with it any more.
 * Main thread. Returns 0 or ABS_EINVAL.
 */
int32_t abs_match_release(uint32_t database)
{
  if (match_check_set(database) < 0)
    return ABS_EINVAL;
  struct match_set *set = &match_sets[database];
  if (set->compiled != NULL)
    (void)hs_free_database(set->compiled);
  free_contents(set->content, set->count);
  set->compiled = NULL;
  set->content = NULL;
  return 0;
}
