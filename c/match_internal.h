/*
 * match_internal.h - what match_set_shim.c (making sets of contents) and match_shim.c (scanning
 * with them) share: the sets.
 */
#ifndef MATCH_INTERNAL_H
#define MATCH_INTERNAL_H

#include <hs/hs.h>

#include "abs_shim.h"
#include "shim_internal.h"

/* What an entry of a set says of its content. */
enum match_kind {
  MATCH_SCAN = 1, /* pattern of the big database; matches that end within [low, high] count */
  MATCH_TEST = 2, /* pattern to be found within the payload's bytes [low, high) */
  MATCH_TEST_WHOLE = 3, /* pattern to be found in the whole payload, ending at high or before */
  MATCH_TEST_BYTES = 4, /* byte string to be found within the payload's bytes [low, high) */
};

struct match_content {
  uint32_t end_min, end_max; /* of MATCH_SCAN */
  uint32_t kind; /* of the test; 0: there is none */
  uint32_t low, high;
  hs_database_t *pattern; /* of MATCH_TEST and MATCH_TEST_WHOLE */
  uint8_t *bytes; /* of MATCH_TEST_BYTES */
  uint32_t size;
};

struct match_set {
  hs_database_t *compiled; /* NULL: no content has a pattern to scan for */
  struct match_content *content; /* NULL: the place is free */
  uint32_t count;
  uint32_t generation; /* counts compilations: a thread notices a new one in an old place */
};

extern struct match_set match_sets[ABS_DATABASE_MAX];

/** match_check_set - 0, or ABS_EINVAL with words when @database is not there. */
static inline int32_t match_check_set(uint32_t database)
{
  if (database >= ABS_DATABASE_MAX || match_sets[database].content == NULL)
    return shim_fail(ABS_EINVAL, "there is no database %u", database);
  return 0;
}

#endif
