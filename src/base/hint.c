/*-------------------------------------------------------------------------
 *
 * hint.c
 *		Where the rows of streams were seen last.
 *
 * To find a stream's row by its index takes three pages that, where streams
 * are many, no processor has in its caches: most of the time that finding the
 * row takes.  A hint, got by a hash of the name, says where the row may be.
 * It may be wrong in any way: of another stream with that hash, of a row that
 * is gone, on a page that is gone.  Who asks for it looks at what is there.
 *
 * Hints are kept in buckets of one cache line; a slot is read and written as
 * one, so there is nothing to lock.  A bucket that is full loses one of them.
 *
 * Memory: shared memory, a 256th of shared_buffers and at most 256 MB, where the
 * library is preloaded; otherwise 64 kB of the backend's own, from the first
 * hint on.
 * Locks: none.  Calls: nothing of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "port/pg_bitutils.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "base/hint.h"

#define HINT_SLOTS 8 /* of a bucket */

/* Of a backend alone, and of all at the most. */
#define HINT_OWN_BUCKETS    1024
#define HINT_SHARED_BUCKETS (4 * 1024 * 1024)

/* From the top: bits of the key, block, line pointer.  No line pointer is 0. */
#define HINT_OFFSET_BITS 12
#define HINT_TAG_SHIFT   (HINT_OFFSET_BITS + 32)
#define HINT_MAX_OFFSET  ((1 << HINT_OFFSET_BITS) - 1)

StaticAssertDecl(MaxHeapTuplesPerPage <= HINT_MAX_OFFSET, "a heap's line pointers fit into hints");

typedef struct HintBucket
{
	pg_atomic_uint64 slots[HINT_SLOTS]; /* 0 = free */
} HintBucket;

static HintBucket *hint_buckets = NULL;
static uint32 hint_bucket_count; /* a power of two */
static shmem_request_hook_type hint_previous_request = NULL;
static shmem_startup_hook_type hint_previous_startup = NULL;

static Size
hint_size(void)
{
	return hint_bucket_count * sizeof(HintBucket) + PG_CACHE_LINE_SIZE;
}

/* Where buckets begin in memory of hint_size, each of them in a cache line of its own. */
static void
hint_use(void *memory)
{
	hint_buckets = (HintBucket *) CACHELINEALIGN(memory);
}

static void
hint_init(void)
{
	uint32 i;
	int j;

	for (i = 0; i < hint_bucket_count; i++)
		for (j = 0; j < HINT_SLOTS; j++)
			pg_atomic_init_u64(&hint_buckets[i].slots[j], 0);
}

/* Before shared memory is made: how many hints of it there shall be. */
static Size
hint_shared_size(void)
{
	Size buckets = (Size) NBuffers * BLCKSZ / 256 / sizeof(HintBucket);

	hint_bucket_count = pg_prevpower2_32((uint32) Min(buckets, HINT_SHARED_BUCKETS));
	return hint_size();
}

static void
hint_on_request(void)
{
	if (hint_previous_request)
		hint_previous_request();
	RequestAddinShmemSpace(hint_shared_size());
}

static void
hint_on_startup(void)
{
	bool is_found;

	if (hint_previous_startup)
		hint_previous_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	hint_use(ShmemInitStruct("eventstore hints", hint_shared_size(), &is_found));
	if (!is_found)
		hint_init();
	LWLockRelease(AddinShmemInitLock);
}

/* Called by _PG_init, when the library is preloaded. */
void
es_hint_request(void)
{
	hint_previous_request = shmem_request_hook;
	shmem_request_hook = hint_on_request;
	hint_previous_startup = shmem_startup_hook;
	shmem_startup_hook = hint_on_startup;
}

static void
hint_make_own(void)
{
	hint_bucket_count = HINT_OWN_BUCKETS;
	hint_use(MemoryContextAlloc(TopMemoryContext, hint_size()));
	hint_init();
}

/*
 * What a stream's hint is kept by.  Another database or, after a rewrite of
 * the table, another file make it another one.
 */
uint64
es_hint_key(Relation rel, const text *name)
{
	uint64 file = (uint64) MyDatabaseId << 32 | es_compat_file_number(rel);

	return hash_bytes_extended((const unsigned char *) VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name),
							   file);
}

static HintBucket *
hint_bucket(uint64 key)
{
	return &hint_buckets[key & (hint_bucket_count - 1)];
}

/* Whether a slot has been set for a key; or for one that looks like it. */
static bool
hint_is_of(uint64 slot, uint64 key)
{
	return slot != 0 && slot >> HINT_TAG_SHIFT == key >> HINT_TAG_SHIFT;
}

/*
 * Where a stream's row may be.  Returns false if nothing is known.
 */
bool
es_hint_get(uint64 key, ItemPointer tid)
{
	HintBucket *bucket;
	int i;

	if (hint_buckets == NULL)
		return false;
	bucket = hint_bucket(key);
	for (i = 0; i < HINT_SLOTS; i++)
	{
		uint64 slot = pg_atomic_read_u64(&bucket->slots[i]);

		if (hint_is_of(slot, key))
		{
			ItemPointerSet(tid, (BlockNumber) (slot >> HINT_OFFSET_BITS),
						   (OffsetNumber) (slot & HINT_MAX_OFFSET));
			return true;
		}
	}
	return false;
}

/*
 * Remember where a stream's row was.
 *
 * tid: what its index says: the beginning of the row's chain of versions.  Of
 * a table that is no heap it may not fit into a hint; then there is none.
 */
void
es_hint_set(uint64 key, const ItemPointerData *tid)
{
	static uint32 next_victim = 0;
	HintBucket *bucket;
	int chosen = -1;
	int i;

	if (ItemPointerGetOffsetNumber(tid) > HINT_MAX_OFFSET)
		return;
	if (hint_buckets == NULL)
		hint_make_own();
	bucket = hint_bucket(key);
	for (i = 0; i < HINT_SLOTS; i++)
	{
		uint64 slot = pg_atomic_read_u64(&bucket->slots[i]);

		if (slot == 0 || hint_is_of(slot, key))
			chosen = i;
		if (hint_is_of(slot, key))
			break;
	}
	if (chosen < 0)
		chosen = (int) (next_victim++ % HINT_SLOTS);
	pg_atomic_write_u64(&bucket->slots[chosen],
						key >> HINT_TAG_SHIFT << HINT_TAG_SHIFT |
							(uint64) ItemPointerGetBlockNumber(tid) << HINT_OFFSET_BITS |
							ItemPointerGetOffsetNumber(tid));
}
