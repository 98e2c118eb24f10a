/*-------------------------------------------------------------------------
 *
 * convert.h
 *		From a plain table to one that is made of ranges.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_CONVERT_H
#define ES_CONVERT_H

#include "utils/relcache.h"

extern void es_convert_keep_rows(Relation events, int64 upto);
extern void es_convert_empty(Relation events);

#endif /* ES_CONVERT_H */
