/*-------------------------------------------------------------------------
 *
 * terms.h
 *		What a projection's verbs are told: their arguments.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_TERMS_H
#define ES_TERMS_H

#include "fmgr.h"

#include "projection/projection.h"

extern void es_terms_check_not_null(FunctionCallInfo fcinfo, int argument, const char *name);
extern void es_terms_check_name(const char *name);
extern char *es_terms_get_text(FunctionCallInfo fcinfo, int argument, const char *name);
extern char *es_terms_get_name(FunctionCallInfo fcinfo);
extern bool es_terms_get_choice(FunctionCallInfo fcinfo, int argument, const char *name,
								const char *first, const char *second);
extern EsOnError es_terms_get_on_error(FunctionCallInfo fcinfo, bool is_inline);
extern void
es_terms_get_filter(FunctionCallInfo fcinfo, int argument, const char *name, EsFilter *filter);
extern List *
es_terms_get_tables(FunctionCallInfo fcinfo, int argument, const char *name, const char *what);
extern EsProjection *es_terms_read(FunctionCallInfo fcinfo, int mode, int categories, int types);

#endif /* ES_TERMS_H */
