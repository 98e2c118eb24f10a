/*-------------------------------------------------------------------------
 *
 * uuid.c
 *		Event ids that the store makes: UUID version 7 (RFC 9562, 5.7).
 *
 * Time-ordered ids keep the id index growing at its right edge.  The layout
 * is that of PostgreSQL 18's uuidv7(): 48 bits of milliseconds, 12 bits of
 * the fraction of the millisecond (method 3 of RFC 9562, 6.2), 62 random
 * bits.  Bits that make an id unique come from the server's strong random
 * source; they are fetched for many ids at a time, because the call costs
 * more than all the rest.  Ids of one backend rise strictly: where the clock
 * has not moved on, the time part counts up by one.
 *
 * Memory: static variables of the backend.  Locks: none.  Calls: nothing of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "base/uuid.h"

#define UUID_RANDOM_BYTES 8 /* of each id */
#define UUID_POOL_SIZE    (64 * UUID_RANDOM_BYTES)

/* The time part is counted in these. */
#define UUID_TICKS_PER_MS 4096

static uint8 uuid_pool[UUID_POOL_SIZE];
static int uuid_pool_used = UUID_POOL_SIZE;
static uint64 uuid_last_tick = 0;

static const uint8 *
uuid_random_bytes(void)
{
	const uint8 *bytes;

	if (uuid_pool_used == UUID_POOL_SIZE)
	{
		if (!pg_strong_random(uuid_pool, UUID_POOL_SIZE))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random values")));
		uuid_pool_used = 0;
	}
	bytes = uuid_pool + uuid_pool_used;
	uuid_pool_used += UUID_RANDOM_BYTES;
	return bytes;
}

/*
 * Make an event id.
 *
 * at: when the event is recorded, microseconds since 2000-01-01.
 * id: receives the new id.
 */
void
es_uuid_make(TimestampTz at, pg_uuid_t *id)
{
	const int64 epoch_offset = (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	uint64 us = (uint64) (at + epoch_offset);
	uint64 tick = us * UUID_TICKS_PER_MS / 1000;
	uint64 ms;
	int i;

	uuid_last_tick = tick = Max(tick, uuid_last_tick + 1);
	ms = tick / UUID_TICKS_PER_MS;
	for (i = 0; i < 6; i++)
		id->data[i] = (uint8) (ms >> (40 - 8 * i));
	id->data[6] = (uint8) (0x70 | ((tick >> 8) & 0x0f));
	id->data[7] = (uint8) tick;
	memcpy(id->data + 8, uuid_random_bytes(), UUID_RANDOM_BYTES);
	id->data[8] = (uint8) (0x80 | (id->data[8] & 0x3f));
}
