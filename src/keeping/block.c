/*-------------------------------------------------------------------------
 *
 * block.c
 *		Blocks of a seal: the digests of some events, and one of these.
 *
 * A seal's digest is made of the one before, of its blocks' and of its row; a
 * block's of its events'.  docs/keeping.md, "Sealed history", has the bytes.  The
 * outline is no part of it: it names an event where a block is not what it was,
 * which its digest has proven by then.
 *
 * Memory: none.  Locks: none.  Calls: digest.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "port/pg_bswap.h"

#include "base/compat.h"
#include "keeping/block.h"

/*
 * The digest of a block.
 *
 * digests: of count events, one after the other.
 */
void
es_block_digest(EsDigester *digester, const uint8 *digests, int count, uint8 *digest)
{
	es_digest_bytes(digester, digests, (Size) count * ES_DIGEST_BYTES);
	es_digest_finish(digester, digest);
}

/* An event's bytes in the outline. */
void
es_block_outline(uint8 *outline, int64 position, const uint8 *digest)
{
	uint64 bytes = pg_hton64((uint64) position);

	memcpy(outline, &bytes, ES_BLOCK_POSITION_BYTES);
	memcpy(outline + ES_BLOCK_POSITION_BYTES, digest, ES_BLOCK_PREFIX_BYTES);
}

/* The position that an outline tells. */
int64
es_block_position(const uint8 *outline)
{
	uint64 bytes;

	memcpy(&bytes, outline, ES_BLOCK_POSITION_BYTES);
	return (int64) pg_ntoh64(bytes);
}

/* Whether a digest begins as an outline says. */
bool
es_block_is_prefix(const uint8 *outline, const uint8 *digest)
{
	return memcmp(outline + ES_BLOCK_POSITION_BYTES, digest, ES_BLOCK_PREFIX_BYTES) == 0;
}

/*
 * Begin a seal's digest, with that of the seal before; the digests of its blocks
 * come then.
 *
 * before: its number is 0 where there is none.
 */
void
es_block_seal_begin(EsDigester *digester, const EsSeal *before)
{
	static const uint8 nothing[ES_DIGEST_BYTES] = {0};
	uint8 form = ES_DIGEST_FORM;

	es_digest_bytes(digester, &form, sizeof(form));
	es_digest_bytes(digester, before->number == 0 ? nothing : before->digest, ES_DIGEST_BYTES);
}

/* End it, with the seal's row. */
void
es_block_seal_finish(EsDigester *digester, const EsSeal *seal, uint8 *digest)
{
	int64 numbers[] = {seal->number, seal->after, seal->upto, seal->events, seal->sealed_at};
	int i;

	for (i = 0; i < lengthof(numbers); i++)
		numbers[i] = (int64) pg_hton64((uint64) numbers[i]);
	es_digest_bytes(digester, numbers, sizeof(numbers));
	es_digest_finish(digester, digest);
}
