/*-------------------------------------------------------------------------
 *
 * partition.c
 *		Partitions: which one a stream belongs to.
 *
 * A hash of our own, fixed for ever: FNV-1a with 64 bits over the bytes of the
 * name, finished by murmur3's fmix64, modulo the number of partitions.  The
 * finish matters: the low bits of FNV-1a alone depend on the low bits of the
 * bytes only.  PostgreSQL's own hash functions may change with a version.
 *
 * Memory: none.  Locks: none.  Calls: nothing of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/partition.h"

/* The hash of a name, the same everywhere and for ever. */
uint64
es_partition_hash(const text *name)
{
	const uint8 *byte = (const uint8 *) VARDATA_ANY(name);
	const uint8 *end = byte + VARSIZE_ANY_EXHDR(name);
	uint64 hash = UINT64CONST(0xcbf29ce484222325);

	for (; byte < end; byte++)
		hash = (hash ^ *byte) * UINT64CONST(0x100000001b3);

	hash = (hash ^ (hash >> 33)) * UINT64CONST(0xff51afd7ed558ccd);
	hash = (hash ^ (hash >> 33)) * UINT64CONST(0xc4ceb9fe1a85ec53);
	return hash ^ (hash >> 33);
}

/* The partition of a stream, from 0. */
int
es_partition_number(const text *stream, int partitions)
{
	return (int) (es_partition_hash(stream) % (uint64) partitions);
}
