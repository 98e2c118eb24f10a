/*-------------------------------------------------------------------------
 *
 * block.h
 *		Blocks of a seal: the digests of some events, and one of these.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_BLOCK_H
#define ES_BLOCK_H

#include "keeping/digest.h"

/* Events of a block; the last one of a seal may have fewer. */
#define ES_BLOCK_EVENTS 128

/* Bytes of an event in an outline: its position, and how its digest begins. */
#define ES_BLOCK_POSITION_BYTES 8
#define ES_BLOCK_PREFIX_BYTES   4
#define ES_BLOCK_OUTLINE_BYTES  (ES_BLOCK_POSITION_BYTES + ES_BLOCK_PREFIX_BYTES)

/* A row of eventstore.seals. */
typedef struct EsSeal
{
	int64 number; /* 0: there is none */
	int64 after;
	int64 upto;
	int64 events;
	TimestampTz sealed_at;
	uint8 digest[ES_DIGEST_BYTES];
} EsSeal;

extern void es_block_digest(EsDigester *digester, const uint8 *digests, int count, uint8 *digest);
extern void es_block_outline(uint8 *outline, int64 position, const uint8 *digest);
extern int64 es_block_position(const uint8 *outline);
extern bool es_block_is_prefix(const uint8 *outline, const uint8 *digest);

extern void es_block_seal_begin(EsDigester *digester, const EsSeal *before);
extern void es_block_seal_finish(EsDigester *digester, const EsSeal *seal, uint8 *digest);

#endif /* ES_BLOCK_H */
