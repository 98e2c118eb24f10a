/*-------------------------------------------------------------------------
 *
 * conceal.h
 *		Errors that would show an event's data.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_CONCEAL_H
#define ES_CONCEAL_H

#include "access/attnum.h"
#include "utils/relcache.h"

#include "base/compat.h"

/* A table of the store's, and what may be told of its rows. */
typedef struct EsConceal
{
	Relation table;
	AttrNumber own_columns; /* the store's, which come first */

	/* Whether an expression on the columns was being computed. */
	bool is_expression;

	/* What to say of the row in place of its values; NULL: nothing. */
	const char *row;
} EsConceal;

extern bool es_conceal_shows(Relation table, AttrNumber own_columns, AttrNumber column);
es_compat_noreturn extern void es_conceal_rethrow(const EsConceal *conceal, MemoryContext context);

#endif /* ES_CONCEAL_H */
