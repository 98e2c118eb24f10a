/*-------------------------------------------------------------------------
 *
 * follow.h
 *		Tables of projections that are renamed or moved.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_FOLLOW_H
#define ES_FOLLOW_H

#include "nodes/pg_list.h"

extern List *es_follow_list_valid(const char *but);
extern void es_follow_check_valid(const List *names, const char *table);

#endif /* ES_FOLLOW_H */
