/*-------------------------------------------------------------------------
 *
 * beside.h
 *		Whether a handler can be replayed beside its tables.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_BESIDE_H
#define ES_BESIDE_H

#include "nodes/parsenodes.h"

extern char *es_beside_check_triggers(const List *tables);
extern char *es_beside_check_query(Query *handler, const List *tables);

#endif /* ES_BESIDE_H */
