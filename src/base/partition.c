/*-------------------------------------------------------------------------
 *
 * partition.c
 *		Partitions and slots: which one a stream belongs to.
 *
 * A hash of our own, fixed for ever: FNV-1a with 64 bits over the bytes of the
 * name, finished by murmur3's fmix64, modulo the number of partitions.  The
 * finish matters: the low bits of FNV-1a alone depend on the low bits of the
 * bytes only.  PostgreSQL's own hash functions may change with a version.
 *
 * Partitions divide the streams of a subscription, slots those of several
 * machines.  A slot is made of the highest bits, so that each partition has streams
 * in whatever slots a machine has.
 *
 * Memory: none.  Locks: none.  Calls: names.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/names.h"
#include "base/partition.h"

static uint64
partition_hash_bytes(const char *name, Size size)
{
	const uint8 *byte = (const uint8 *) name;
	const uint8 *end = byte + size;
	uint64 hash = UINT64CONST(0xcbf29ce484222325);

	for (; byte < end; byte++)
		hash = (hash ^ *byte) * UINT64CONST(0x100000001b3);

	hash = (hash ^ (hash >> 33)) * UINT64CONST(0xff51afd7ed558ccd);
	hash = (hash ^ (hash >> 33)) * UINT64CONST(0xc4ceb9fe1a85ec53);
	return hash ^ (hash >> 33);
}

/* The hash of a name, the same everywhere and for ever. */
uint64
es_partition_hash(const text *name)
{
	return partition_hash_bytes(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
}

/* The partition of a stream, from 0. */
int
es_partition_number(const text *stream, int partitions)
{
	return (int) (es_partition_hash(stream) % (uint64) partitions);
}

/*
 * The slot of a stream, from 0: that of its tenant, or of its whole name where
 * it has none.
 */
int
es_partition_slot(const text *stream)
{
	Size size;
	const char *tenant = es_names_find_tenant(stream, &size);
	uint64 hash = tenant == NULL ? es_partition_hash(stream) : partition_hash_bytes(tenant, size);

	StaticAssertStmt(ES_SLOTS == 1 << 10, "a slot has ten bits");
	return (int) (hash >> 54);
}
