/*-------------------------------------------------------------------------
 *
 * whole.h
 *		Whether everything is there that a projection needs, after a restore.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_WHOLE_H
#define ES_WHOLE_H

#include "nodes/pg_list.h"

#include "projection/projection.h"

extern char *es_whole_function(const char *reducer);
extern void es_whole_begin(const EsProjection *projection);
extern void es_whole_note(const EsProjection *projection, List *targets);
extern void es_whole_accept(const char *name);
extern bool es_whole_is(const char *name, int pause_ms);

#endif /* ES_WHOLE_H */
