/*-------------------------------------------------------------------------
 *
 * pairs.h
 *		Pairs of numbers, as two columns of subscription_shares hold them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_PAIRS_H
#define ES_PAIRS_H

/* See the columns attempts and retried. */
typedef struct EsPair
{
	int64 key;
	int64 count;
} EsPair;

typedef struct EsPairs
{
	int count;
	EsPair *items;
} EsPairs;

extern EsPairs es_pairs_read(Datum value);
extern Datum es_pairs_write(EsPairs pairs);
extern int64 es_pairs_find(EsPairs pairs, int64 key, int64 otherwise);

#endif /* ES_PAIRS_H */
