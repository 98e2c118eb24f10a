/*-------------------------------------------------------------------------
 *
 * query.h
 *		Queries by types and tags: which events a decision depends on.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_QUERY_H
#define ES_QUERY_H

#include "executor/tuptable.h"
#include "utils/jsonb.h"

/* What an event has to be: of one of the types, with all of the tags. */
typedef struct EsQueryItem
{
	int type_count; /* 0 = of any type */
	Datum *types;   /* of text, not toasted */
	int tag_count;  /* 0 = with any tags, or none */
	Datum *tags;    /* the same; different ones */
} EsQueryItem;

/* One of the items has to match. */
typedef struct EsQuery
{
	int item_count; /* > 0 */
	EsQueryItem *items;
} EsQuery;

extern EsQuery *es_query_read(Jsonb *document);
extern bool es_query_has_tags(const EsQueryItem *item, TupleTableSlot *slot);
extern bool es_query_has_type(const EsQueryItem *item, TupleTableSlot *slot);

#endif /* ES_QUERY_H */
