/*-------------------------------------------------------------------------
 *
 * removals.c
 *		The list of events that were taken from history, read from end to end.
 *
 * Memory: SPI's, some rows at a time; the caller is connected to SPI.  Locks:
 * AccessShare on eventstore.removed_events and eventstore.detached_events.
 * Calls: nothing of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"

#include "base/compat.h"
#include "keeping/removals.h"

/* Rows that are fetched at a time. */
#define REMOVALS_ROWS 1000

enum
{
	REMOVALS_ID = 1,
	REMOVALS_STREAM,
	REMOVALS_VERSION,
	REMOVALS_POSITION,
	REMOVALS_RECORDED_AT,
	REMOVALS_DIGEST
};

/* What was detached and is at hand says by itself what it is. */
#define REMOVALS_QUERY \
	"SELECT id, stream, version, position, recorded_at, digest FROM eventstore.removed_events " \
	"WHERE position > $1 AND position <= $2 " \
	"UNION ALL SELECT d.id, d.stream, d.version, d.position, d.recorded_at, " \
	"eventstore.event_digest(ROW(d.position, d.stream, d.category, d.version, d.id, d.type, d.data, d.metadata, " \
	"d.tags, d.recorded_at)::eventstore.event) FROM eventstore.detached_events d " \
	"WHERE d.position > $1 AND d.position <= $2"

/*
 * Begin to read what the active snapshot sees of the list of removed events.
 *
 * after, upto: only of positions after the one, up to the other.
 * in_order: of position.
 */
void
es_removals_open(EsRemovals *reader, int64 after, int64 upto, bool in_order)
{
	Oid types[] = {INT8OID, INT8OID};
	Datum values[] = {Int64GetDatum(after), Int64GetDatum(upto)};

	memset(reader, 0, sizeof(*reader));
	reader->portal = SPI_cursor_open_with_args(NULL,
											   in_order ? REMOVALS_QUERY " ORDER BY position"
														: REMOVALS_QUERY,
											   lengthof(types), types, values, NULL, true,
											   CURSOR_OPT_NO_SCROLL);
}

/* Have rows at hand; returns whether there are any.  SPI would leave us in its own context. */
static bool
removals_fetch(EsRemovals *reader)
{
	MemoryContext caller = CurrentMemoryContext;

	if (reader->next < reader->count)
		return true;
	if (reader->rows != NULL)
		SPI_freetuptable(reader->rows);
	CHECK_FOR_INTERRUPTS();
	SPI_cursor_fetch(reader->portal, true, REMOVALS_ROWS);
	MemoryContextSwitchTo(caller);
	reader->rows = SPI_tuptable;
	reader->count = SPI_processed;
	reader->next = 0;
	return reader->count > 0;
}

static Datum
removals_get(const EsRemovals *reader, int column, bool *is_null)
{
	return SPI_getbinval(reader->rows->vals[reader->next], reader->rows->tupdesc, column, is_null);
}

/*
 * The next one; false if there is none.
 *
 * removal: receives it; what it points to stays until the next call.
 */
bool
es_removals_next(EsRemovals *reader, EsRemoval *removal)
{
	bool is_null;
	Datum digest;

	if (!removals_fetch(reader))
		return false;
	removal->id = removals_get(reader, REMOVALS_ID, &is_null);
	removal->stream = removals_get(reader, REMOVALS_STREAM, &is_null);
	removal->version = DatumGetInt64(removals_get(reader, REMOVALS_VERSION, &is_null));
	removal->position = DatumGetInt64(removals_get(reader, REMOVALS_POSITION, &is_null));
	removal->recorded_at = DatumGetTimestampTz(removals_get(reader, REMOVALS_RECORDED_AT, &is_null));
	digest = removals_get(reader, REMOVALS_DIGEST, &is_null);
	memset(removal->digest, 0, ES_DIGEST_BYTES);
	if (!is_null)
	{
		bytea *bytes = DatumGetByteaPP(digest);

		if (VARSIZE_ANY_EXHDR(bytes) == ES_DIGEST_BYTES)
			memcpy(removal->digest, VARDATA_ANY(bytes), ES_DIGEST_BYTES);
	}
	reader->next++;
	return true;
}

void
es_removals_close(EsRemovals *reader)
{
	if (reader->rows != NULL)
		SPI_freetuptable(reader->rows);
	SPI_cursor_close(reader->portal);
	reader->portal = NULL;
}
