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

extern char *es_project_get_text(FunctionCallInfo fcinfo, int argument, const char *name);
extern void es_project_check_name(const char *name);
extern char *es_project_get_name(FunctionCallInfo fcinfo);
extern void
es_project_get_filter(FunctionCallInfo fcinfo, int argument, const char *name, EsFilter *filter);
extern List *
es_project_get_tables(FunctionCallInfo fcinfo, int argument, const char *name, const char *what);
extern void es_project_check_call(const char *verb);
extern EsProjection *es_project_read(FunctionCallInfo fcinfo, int mode, int categories, int types);
extern void es_project_create(EsProjection *projection, const char *verb);
extern EsProjection *es_project_get(FunctionCallInfo fcinfo, const char *verb);
extern bool es_project_minds_appends(const EsProjection *projection);
extern void es_project_go_on(EsProjection *projection);

#endif /* ES_PROJECT_H */
