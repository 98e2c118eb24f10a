/*-------------------------------------------------------------------------
 *
 * mend.h
 *		Making tables like their copies.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_MEND_H
#define ES_MEND_H

#include "projection/replay/difference.h"

extern void es_mend_prepare(EsDifference *difference);
extern void es_mend_apply(const List *differences);
extern void es_mend_empty(const List *tables);
extern bool es_mend_is_referenced(Oid table);
extern void es_mend_drop(const EsDifference *difference);

#endif /* ES_MEND_H */
