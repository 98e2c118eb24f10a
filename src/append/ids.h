/*-------------------------------------------------------------------------
 *
 * ids.h
 *		Event ids that callers give: exact retries and duplicates.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_IDS_H
#define ES_IDS_H

#include "utils/relcache.h"

#include "base/event.h"

extern bool es_ids_are_given(const EsAppend *append);
extern void es_ids_check_distinct(Relation events, EsAppend *const *appends, int append_count);
extern bool es_ids_find_retry(Relation events, EsAppend *const *appends, int append_count);
extern int es_ids_mark_stored(Relation events, EsAppend *const *appends, int append_count);
extern void es_ids_raise_partial_retry(Relation events, const EsAppend *stored);
extern void es_ids_rethrow_duplicate(Relation events, EsAppend *const *appends, int append_count,
									 MemoryContext context);
extern void es_ids_check_ranges(Relation events, EsAppend *const *appends, int append_count);
extern void es_ids_check_removed(Relation events, EsAppend *const *appends, int append_count);

#endif /* ES_IDS_H */
