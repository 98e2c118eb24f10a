/*-------------------------------------------------------------------------
 *
 * depends.h
 *		What a projection's SQL depends on: names of tables and of their columns.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_DEPENDS_H
#define ES_DEPENDS_H

#include "nodes/pg_list.h"

#include "projection/projection.h"

extern int es_depends_place(const List *names, Oid table);
extern void es_depends_check_move(const EsProjection *projection, Oid table, const char *column);
extern bool es_depends_is_valid(const EsProjection *projection);
extern void es_depends_check_valid(const char *name, const char *what);
extern List *es_depends_list_valid(const char *but);
extern void es_depends_check_all(const List *names, const char *table);

#endif /* ES_DEPENDS_H */
