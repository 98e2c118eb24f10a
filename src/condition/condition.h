/*-------------------------------------------------------------------------
 *
 * condition.h
 *		The condition of an append: no event matches a query.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_CONDITION_H
#define ES_CONDITION_H

#include "utils/relcache.h"

#include "condition/query.h"

typedef struct EsCondition
{
	EsQuery *query;
	int64 after; /* events up to this position do not count */
} EsCondition;

extern void es_condition_check_early(const EsCondition *condition, Relation events);
extern void es_condition_check(const EsCondition *condition, Relation events, int64 position);

#endif /* ES_CONDITION_H */
