/*-------------------------------------------------------------------------
 *
 * readtable.h
 *		Read tables: making and dropping those of declarations and of states.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_READTABLE_H
#define ES_READTABLE_H

#include "projection/apply.h"
#include "projection/projection.h"

extern char *es_readtable_check(Oid table, const char *what);
extern char *es_readtable_schema_of(const char *projection);
extern const char *es_readtable_name_of(const char *projection);
extern void es_readtable_check_place(const char *projection);
extern void es_readtable_comment_side(const char *projection, const char *table);
extern Oid es_readtable_find(const char *qualified);
extern const EsAnalysis *es_readtable_analyze(EsProjection *projection);
extern void
es_readtable_check_definition(const EsProjection *projection, const EsAnalysis *analysis);
extern void es_readtable_make(EsProjection *projection);
extern void es_readtable_make_sides(EsProjection *projection, const EsAnalysis *analysis);
extern void es_readtable_settle_sides(EsProjection *projection, const EsAnalysis *analysis);
extern void es_readtable_make_missing(const EsProjection *projection);
extern char *es_readtable_missing(const EsApplier *applier);
extern char *es_readtable_way_out(const EsApplier *applier, const ErrorData *error);
extern char *es_readtable_explain(const EsApplier *applier, const ErrorData *error);
extern void es_readtable_drop_sides(const EsProjection *projection, const List *kept);
extern void es_readtable_drop(const EsProjection *projection, bool drops_read_table);

#endif /* ES_READTABLE_H */
