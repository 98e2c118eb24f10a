/*-------------------------------------------------------------------------
 *
 * clauses.h
 *		Clauses and functions that a declaration must not have.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_CLAUSES_H
#define ES_CLAUSES_H

#include "nodes/parsenodes.h"

extern void es_clauses_check(const Query *query, bool is_subquery);
extern void es_clauses_check_functions(Query *query);

#endif /* ES_CLAUSES_H */
