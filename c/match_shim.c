/*
 * match_shim.c - finding the contents of a set (match_set_shim.c) in a burst of first payloads,
 * with Hyperscan.
 *
 * Threads: each scanning thread prepares a set once, because Hyperscan's working memory must not be
 * shared.
 */
#define _GNU_SOURCE /* memmem */
#include <stdlib.h>
#include <string.h>

#include "match_internal.h"

#define MATCH_WORDS 3

struct scan {
  const struct match_content *content;
  uint32_t *seen;
  uint32_t stamp;
  uint32_t *match;
  uint32_t match_max;
  uint32_t found;
  uint32_t text;
};

static __thread hs_scratch_t *scratch; /* grows to serve every database this thread prepared */
static __thread uint32_t prepared[ABS_DATABASE_MAX];
/* Of each set: the scan in which a content was reported last, by content. */
static __thread uint32_t *seen[ABS_DATABASE_MAX];
static __thread uint32_t stamp[ABS_DATABASE_MAX];

/**
 * abs_match_prepare - allocate what the calling thread needs to scan with a set.
 * Once in each scanning thread, after abs_match_compile(). Returns 0 or a negative code.
 */
int32_t abs_match_prepare(uint32_t database)
{
  if (match_check_set(database) < 0)
    return ABS_EINVAL;
  const struct match_set *set = &match_sets[database];
  hs_error_t result = HS_SUCCESS;
  if (set->compiled != NULL)
    result = hs_alloc_scratch(set->compiled, &scratch);
  for (uint32_t i = 0; i < set->count && result == HS_SUCCESS; i++)
    if (set->content[i].pattern != NULL)
      result = hs_alloc_scratch(set->content[i].pattern, &scratch);
  free(seen[database]);
  seen[database] = calloc(set->count, sizeof(**seen));
  stamp[database] = 0;
  if (result != HS_SUCCESS || seen[database] == NULL)
    return shim_fail(ABS_ENOMEM, "no memory to scan with database %u", database);
  prepared[database] = set->generation;
  return 0;
}

/* Called by Hyperscan for each match; a result other than 0 ends the scan of this text. */
static int keep_match(unsigned int id, unsigned long long from, unsigned long long to,
                      unsigned int flags, void *context)
{
  struct scan *scan = context;
  const struct match_content *content = &scan->content[id];
  (void)from;
  (void)flags;
  if (to < content->end_min || to > content->end_max || scan->seen[id] == scan->stamp)
    return 0;
  if (scan->found == scan->match_max)
    return 1;
  scan->seen[id] = scan->stamp;
  uint32_t *match = scan->match + (size_t)scan->found * MATCH_WORDS;
  match[0] = scan->text;
  match[1] = id;
  match[2] = (uint32_t)to;
  scan->found++;
  return 0;
}

/* A number no content of the set was seen with. */
static uint32_t next_stamp(uint32_t database)
{
  if (++stamp[database] == 0) {
    (void)memset(seen[database], 0, match_sets[database].count * sizeof(**seen));
    stamp[database] = 1;
  }
  return stamp[database];
}

/**
 * abs_match_burst - scan a burst of texts for the MATCH_SCAN patterns of a set.
 * @database: prepared by this thread.
 * @base: where offsets count from; @offset, @length: @count texts, which the caller may read.
 * @count: 1..ABS_BURST_MAX.
 * @match: out, 3 * @match_max values: per match the text's index, the content's id, a match's end
 *         in bytes from the text's start; ordered by text, a content at most once a text.
 * Returns matches written, 0..@match_max (when full, scanning ends), or a negative code.
 */
int32_t abs_match_burst(uint32_t database, const uint8_t *base, const uint32_t *offset,
                        const uint32_t *length, uint32_t count, uint32_t *match, uint32_t match_max)
{
  if (match_check_set(database) < 0)
    return ABS_EINVAL;
  if (base == NULL || offset == NULL || length == NULL || match == NULL || count == 0 ||
      count > ABS_BURST_MAX || match_max == 0 || match_max > INT32_MAX / MATCH_WORDS)
    return shim_fail(ABS_EINVAL, "count %u: not 1..%d, or no arrays", count, ABS_BURST_MAX);
  if (prepared[database] != match_sets[database].generation)
    return shim_fail(ABS_ESTATE, "this thread has not prepared database %u", database);
  if (match_sets[database].compiled == NULL)
    return 0;
  struct scan scan = { .content = match_sets[database].content, .seen = seen[database],
                       .match = match, .match_max = match_max };
  for (uint32_t i = 0; i < count; i++) {
    scan.text = i;
    scan.stamp = next_stamp(database);
    hs_error_t result = hs_scan(match_sets[database].compiled, (const char *)base + offset[i],
                                length[i], 0, scratch, keep_match, &scan);
    if (result == HS_SCAN_TERMINATED)
      break;
    if (result != HS_SUCCESS)
      return shim_fail(ABS_EMATCH, "scanning text %u failed with %d", i, result);
  }
  return (int32_t)scan.found;
}

/* Called by Hyperscan: ends the scan when a match that counts was found. */
static int note_match(unsigned int id, unsigned long long from, unsigned long long to,
                      unsigned int flags, void *context)
{
  uint64_t *end_max = context;
  (void)id;
  (void)from;
  (void)flags;
  if (to > *end_max)
    return 0;
  *end_max = UINT64_MAX; /* found */
  return 1;
}

/**
 * abs_match_test - whether one content that has a test is in one text.
 * @database: prepared by this thread. @id: of the content.
 * @text: @length bytes. @from: the match begins there or later; 0 leaves the content's own bound.
 * Returns 1 or 0, or a negative code.
 */
int32_t abs_match_test(uint32_t database, uint32_t id, const uint8_t *text, uint32_t length,
                       uint32_t from)
{
  if (match_check_set(database) < 0 || text == NULL || id >= match_sets[database].count)
    return shim_fail(ABS_EINVAL, "no content %u in database %u", id, database);
  const struct match_content *content = &match_sets[database].content[id];
  if (content->kind == 0)
    return shim_fail(ABS_EINVAL, "content %u has no test", id);
  int whole = content->kind == MATCH_TEST_WHOLE;
  uint32_t low = whole ? 0 : content->low > from ? content->low : from;
  uint32_t high = whole || content->high > length ? length : content->high;
  if (low >= high)
    return 0;
  if (content->kind == MATCH_TEST_BYTES)
    return memmem(text + low, high - low, content->bytes, content->size) != NULL;
  if (prepared[database] != match_sets[database].generation)
    return shim_fail(ABS_ESTATE, "this thread has not prepared database %u", database);
  uint64_t end_max = whole ? content->high : high;
  hs_error_t result = hs_scan(content->pattern, (const char *)text + low, high - low, 0, scratch,
                              note_match, &end_max);
  if (result != HS_SUCCESS && result != HS_SCAN_TERMINATED)
    return shim_fail(ABS_EMATCH, "testing content %u failed with %d", id, result);
  return end_max == UINT64_MAX;
}
