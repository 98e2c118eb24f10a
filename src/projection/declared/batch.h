/*-------------------------------------------------------------------------
 *
 * batch.h
 *		The SQL that computes the parts of a batch.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_BATCH_H
#define ES_BATCH_H

#include "lib/stringinfo.h"

#include "projection/declared/part.h"

extern bool es_batch_has_position(const EsPart *part);
extern bool es_batch_has_by(const EsPart *part);
extern bool es_batch_can_be_single(const EsAnalysis *analysis);
extern char *es_batch_keys(const EsAnalysis *analysis, const char *prefix);
extern void
es_batch_add_sets(StringInfo sql, const EsAnalysis *analysis, const List *sets, bool is_single);
extern void es_batch_add(StringInfo sql, const EsAnalysis *analysis, bool is_single);

#endif /* ES_BATCH_H */
