/*-------------------------------------------------------------------------
 *
 * nullable.h
 *		Whether a key of a declaration can be null.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_NULLABLE_H
#define ES_NULLABLE_H

#include "nodes/parsenodes.h"

extern bool es_nullable_is(Query *query, Node *node);

#endif /* ES_NULLABLE_H */
