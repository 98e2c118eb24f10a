/*-------------------------------------------------------------------------
 *
 * separable.h
 *		Handlers for which it is all the same how events come in batches.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_SEPARABLE_H
#define ES_SEPARABLE_H

extern Oid es_separable_find(const char *query);
extern bool es_separable_is_plain(Oid table);

#endif /* ES_SEPARABLE_H */
