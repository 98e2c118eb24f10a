/*-------------------------------------------------------------------------
 *
 * as_owner.h
 *		Reading the store's tables as their owner.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_AS_OWNER_H
#define ES_AS_OWNER_H

/* Who one was before. */
typedef struct EsAsOwner
{
	Oid user;
	int security;
} EsAsOwner;

extern void es_as_owner_begin(EsAsOwner *before);
extern void es_as_owner_end(const EsAsOwner *before);

#endif /* ES_AS_OWNER_H */
