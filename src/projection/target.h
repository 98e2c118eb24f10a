/*-------------------------------------------------------------------------
 *
 * target.h
 *		Tables that a handler writes: what would stop it later.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_TARGET_H
#define ES_TARGET_H

#include "nodes/parsenodes.h"

extern void es_target_check(Query *handler, const List *tables);

#endif /* ES_TARGET_H */
