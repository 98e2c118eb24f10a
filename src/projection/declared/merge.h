/*-------------------------------------------------------------------------
 *
 * merge.h
 *		The SQL that merges a batch's parts into what is stored.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_MERGE_H
#define ES_MERGE_H

#include "lib/stringinfo.h"

#include "projection/declared/part.h"

extern void es_merge_add(StringInfo sql, const EsPart *part, const char *column, int number);

#endif /* ES_MERGE_H */
