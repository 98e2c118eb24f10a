/*-------------------------------------------------------------------------
 *
 * store.h
 *		Storing: what every form of append comes down to.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_STORE_H
#define ES_STORE_H

#include "base/event.h"
#include "condition/condition.h"

extern void es_store_append(EsAppend *appends, int append_count, const char *verb,
							const EsCondition *condition);

#endif /* ES_STORE_H */
