/*-------------------------------------------------------------------------
 *
 * tag_index.h
 *		The index of tags: a B-tree with an entry for each tag of an event.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_TAG_INDEX_H
#define ES_TAG_INDEX_H

#include "utils/relcache.h"

extern Datum es_tag_index_key(const text *tag);
extern bool es_tag_index_is(Relation index);

#endif /* ES_TAG_INDEX_H */
