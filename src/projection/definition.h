/*-------------------------------------------------------------------------
 *
 * definition.h
 *		Writes what eventstore.projections, and the tables around it, say of one.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_DEFINITION_H
#define ES_DEFINITION_H

#include "projection/projection.h"

extern void es_definition_insert(const EsProjection *projection);
extern void es_definition_save(const EsProjection *projection, const EsProjectionError *error);
extern void es_definition_delete(const char *name);
extern void es_definition_skip(const EsProjection *projection, int64 position, const char *reason);
extern void es_definition_forget_missed(const char *name, int64 after, int64 upto);
extern void es_definition_note_stop(const char *name, const EsProjectionError *error);
extern void es_definition_reassign(const EsProjection *projection, Oid owner);

#endif /* ES_DEFINITION_H */
