/*-------------------------------------------------------------------------
 *
 * direct.h
 *		Insertion of rows without an executor state.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_DIRECT_H
#define ES_DIRECT_H

#include "executor/tuptable.h"
#include "utils/relcache.h"

#include "append/plain.h"

typedef struct EsDirect
{
	Relation table; /* the caller's */
	int index_count;
	Relation indexes[ES_PLAIN_INDEXES];
} EsDirect;

extern bool es_direct_may_be_passed_by(Relation events);
extern bool es_direct_open(EsDirect *direct, Relation table, bool has_tags);
extern void es_direct_insert(EsDirect *direct, TupleTableSlot **slots, int slot_count);
extern void es_direct_close(EsDirect *direct);

#endif /* ES_DIRECT_H */
