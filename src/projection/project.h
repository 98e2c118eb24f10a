/*-------------------------------------------------------------------------
 *
 * project.h
 *		The verbs of projections: what they share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_PROJECT_H
#define ES_PROJECT_H

#include "fmgr.h"

#include "projection/projection.h"

extern void es_project_check_call(const char *verb);
extern void es_project_create(EsProjection *projection, const char *verb);
extern EsProjection *es_project_get(FunctionCallInfo fcinfo, const char *verb);
extern bool es_project_minds_appends(const EsProjection *projection);
extern void es_project_go_on(EsProjection *projection);

#endif /* ES_PROJECT_H */
