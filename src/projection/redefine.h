/*-------------------------------------------------------------------------
 *
 * redefine.h
 *		Definitions of projections that change.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_REDEFINE_H
#define ES_REDEFINE_H

#include "projection/projection.h"

extern void es_redefine_save(const EsProjection *projection);
extern void es_redefine_rename(const char *projection, const char *new_name);
extern void es_redefine_move_table(const char *projection, const char *table, const char *now);
extern void es_redefine_move_reducer(const char *projection, const char *now);
extern void es_redefine_set_path(const char *projection, const char *setting);

#endif /* ES_REDEFINE_H */
