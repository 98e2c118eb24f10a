/*-------------------------------------------------------------------------
 *
 * parts.h
 *		The partial aggregates that a declared table is kept by.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_PARTS_H
#define ES_PARTS_H

#include "projection/declared/part.h"

extern Node *es_parts_replace(Node *node, void *state);

#endif /* ES_PARTS_H */
