/*-------------------------------------------------------------------------
 *
 * ranges.h
 *		Ranges of positions: the tables that a partitioned eventstore.events is made of.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_RANGES_H
#define ES_RANGES_H

#include "catalog/pg_class.h"
#include "utils/rel.h"

#include "base/catalog.h"

typedef struct EsRange
{
	Oid table;
	int64 from; /* its positions are from <= position < upto */
	int64 upto;
} EsRange;

extern void es_ranges_init(void);
extern void es_ranges_hear(void);
extern int es_ranges_count(Relation events);
extern EsRange es_ranges_get(Relation events, int number);
extern int es_ranges_find(Relation events, int64 position);
extern int es_ranges_columns(EsRelation which, AttrNumber *columns);
extern bool es_ranges_have_remote(Relation events);
extern void es_ranges_check_local(Relation range);
extern bool es_ranges_are_whole(Relation events);
extern void es_ranges_check_local_between(Relation events, int64 low, int64 high);
extern Oid es_ranges_index(Relation range, EsRelation which);
extern Oid es_ranges_index_if_any(Relation range, EsRelation which);

/* Whether eventstore.events is made of ranges; else it is a table itself. */
static inline bool
es_ranges_are_of(Relation events)
{
	return RelationGetForm(events)->relkind == RELKIND_PARTITIONED_TABLE;
}

/* Whether a range is a foreign table, whose events are another server's. */
static inline bool
es_ranges_is_remote(Relation range)
{
	return RelationGetForm(range)->relkind == RELKIND_FOREIGN_TABLE;
}

/* Whether a table is one of its ranges, and which is one of the indexes that these have. */
static inline bool
es_ranges_is_one(Relation table, EsRelation which)
{
	return RelationGetForm(table)->relispartition && which >= ES_EVENTS_PKEY &&
		which <= ES_EVENTS_TAGS;
}

#endif /* ES_RANGES_H */
