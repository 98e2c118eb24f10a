/*-------------------------------------------------------------------------
 *
 * hand_over.h
 *		Indexes that come to be another table's.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_HAND_OVER_H
#define ES_HAND_OVER_H

#include "access/htup.h"
#include "nodes/pg_list.h"

extern HeapTuple es_hand_over_copy(int cache, Oid oid);
extern void es_hand_over_write(Oid catalog, HeapTuple row);
extern bool es_hand_over_is_possible(const List *indexes);
extern void es_hand_over_indexes(const List *indexes, Oid events, Oid first);
extern void es_hand_over_drop(const List *indexes);

#endif /* ES_HAND_OVER_H */
