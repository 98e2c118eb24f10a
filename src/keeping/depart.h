/*-------------------------------------------------------------------------
 *
 * depart.h
 *		A table that was detached goes, or becomes its owner's.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_DEPART_H
#define ES_DEPART_H

#include "base/ranges.h"

extern bool es_depart_find(Oid table, EsRange *range);
extern void es_depart_note(const EsRange *range);
extern void es_depart_release(Oid table);
extern void es_depart_take_out(Oid table);

#endif /* ES_DEPART_H */
