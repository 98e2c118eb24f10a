/*-------------------------------------------------------------------------
 *
 * from.h
 *		What a declaration reads.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_FROM_H
#define ES_FROM_H

#include "nodes/parsenodes.h"

/* What is known of FROM, in all of a declaration. */
typedef struct EsFrom
{
	const List *may_look_up; /* OIDs of tables that it may read */
	List *looked_up;         /* receives those that it does */
	int event_count;         /* receives how many times it reads "events" */
	bool is_one_to_one;      /* receives whether an event makes one row at the most */
} EsFrom;

extern void es_from_check(Query *query, EsFrom *from);

#endif /* ES_FROM_H */
