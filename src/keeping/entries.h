/*-------------------------------------------------------------------------
 *
 * entries.h
 *		Whether the indexes of events have an entry for each event, and no other.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_ENTRIES_H
#define ES_ENTRIES_H

#include "executor/tuptable.h"

#include "keeping/findings.h"

typedef struct EsEntries EsEntries;

extern EsEntries *es_entries_begin(void);
extern void es_entries_add(EsEntries *entries, TupleTableSlot *slot);
extern void es_entries_check(EsEntries *entries, Relation events, EsFindings *findings);

#endif /* ES_ENTRIES_H */
