/*-------------------------------------------------------------------------
 *
 * reshape.h
 *		A declared table that gets the columns of another query.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_RESHAPE_H
#define ES_RESHAPE_H

#include "projection/declared/part.h"

typedef struct EsReshape
{
	Oid table;
	char *table_name; /* qualified, quoted */
	const EsAnalysis *now;

	List *gone;    /* of char *: columns, quoted */
	List *freed;   /* of char *: columns that can be null from now on, quoted */
	List *retyped; /* of EsColumn *: that get another type */
	List *added;   /* of EsColumn * */
	bool changes_key;
	List *old_key; /* of char *: constraints that were the key, quoted */
} EsReshape;

extern EsReshape *
es_reshape_plan(char *table_name, const EsAnalysis *before, const EsAnalysis *now);
extern bool es_reshape_is_needed(const EsReshape *reshape);
extern void es_reshape_apply(const EsReshape *reshape);

#endif /* ES_RESHAPE_H */
