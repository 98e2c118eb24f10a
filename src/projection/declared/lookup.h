/*-------------------------------------------------------------------------
 *
 * lookup.h
 *		Ordinary tables that a declaration joins.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_LOOKUP_H
#define ES_LOOKUP_H

#include "nodes/parsenodes.h"

/* A table in FROM, and the conditions that its rows have to meet. */
typedef struct EsLookup
{
	int number; /* in the range table */
	Oid table;
	List *conditions; /* of Node * */
} EsLookup;

extern List *es_lookup_find(const List *names);
extern void es_lookup_check_rights(Query *query);
extern bool es_lookup_are_unique(const List *lookups, Bitmapset *determined);

#endif /* ES_LOOKUP_H */
