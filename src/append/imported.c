/*-------------------------------------------------------------------------
 *
 * imported.c
 *		Events that come from another store: where they go.
 *
 * An append is given a version to expect, and gives its events the next ones and
 * the time.  An imported event has both already, and either fits or not: it is
 * stored, and then passed over; it is the next one of its stream; or it is the
 * first one that a stream without any is given, which then begins there, as it
 * does where it comes from (eventstore.beginnings).  Anything else is refused:
 * the stream has events of its own, or others have to come first.
 *
 * That is decided under the stream's row, and by the ids, as for any append
 * (store.c): ids are looked up after the row was read, and what does not fit is
 * final only once the row is locked.
 *
 * Memory: the current context.  Locks: the stream's row, RowExclusive on
 * beginnings, to the end of the transaction; the caller has those on streams and
 * events.  Calls: catalog, expected, ids, scan, stream.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/indexing.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "append/expected.h"
#include "append/ids.h"
#include "append/imported.h"
#include "base/catalog.h"
#include "base/errors.h"
#include "base/scan.h"
#include "base/stream.h"

/* Where a stream stands, and where it will. */
typedef struct ImportedEnd
{
	int64 version;
	TimestampTz recorded_at;
	int64 beginning; /* the version that it begins with from now on; 0: it has begun */
} ImportedEnd;

/* Raise SE003, SE001 or 22023: an event is not the stream's next one. */
static void
imported_refuse(const EsStream *stream, const EsAppend *misfit, const ImportedEnd *end)
{
	char *name = text_to_cstring(stream->name);
	long long version = misfit->expected_version + 1;

	if (stream->is_tombstoned)
		es_expected_raise(stream, misfit->expected_version, end->version, NULL);
	if (misfit->expected_version == end->version)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cannot import version %lld of stream \"%s\"", version, name),
				 errdetail("It was recorded before version %lld.", (long long) end->version),
				 errhint("Along a stream times never go back: give the event the time of the one before.")));
	ereport(ERROR,
			(errcode(ES_ERRCODE_WRONG_EXPECTED_VERSION),
			 errmsg("cannot import version %lld of stream \"%s\"", version, name),
			 errdetail("Stream \"%s\" is at version %lld, expected %lld.", name,
					   (long long) end->version, (long long) misfit->expected_version),
			 version > end->version
				 ? errhint("Import the events of a stream in the order of their versions, and leave none out.")
				 : errhint("The stream has events of its own: an import can not be mixed with them.")));
}

/*
 * The first of the events that are not stored that can not follow the stream;
 * NULL: all can.
 *
 * end: receives where that one finds it, or where they leave it.
 */
static const EsAppend *
imported_find_misfit(const EsStream *stream, EsAppend *const *appends, int append_count,
					 ImportedEnd *end)
{
	int i;

	end->version = stream->version;
	/* A row without an event is of who has asked for that, and when. */
	end->recorded_at = stream->version == 0 ? DT_NOBEGIN : stream->recorded_at;
	end->beginning = 0;
	for (i = 0; i < append_count; i++)
	{
		const EsAppend *append = appends[i];

		if (append->is_stored)
			continue;
		if (stream->is_tombstoned)
			return append;
		if (end->version == 0)
			end->beginning = append->expected_version + 1;
		else if (append->expected_version != end->version || append->recorded_at < end->recorded_at)
			return append;
		end->version = append->expected_version + 1;
		end->recorded_at = append->recorded_at;
	}
	return NULL;
}

/* Write down that a stream begins later than at version 1. */
static void
imported_note_beginning(const EsStream *stream, int64 version)
{
	Relation rel = es_catalog_open(ES_BEGINNINGS, RowExclusiveLock);
	bool nulls[Natts_beginnings] = {false};
	Datum values[Natts_beginnings];

	values[Anum_beginnings_stream - 1] = PointerGetDatum(stream->name);
	values[Anum_beginnings_version - 1] = Int64GetDatum(version);
	values[Anum_beginnings_imported_at - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
	CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	relation_close(rel, NoLock);
}

static void
imported_assign(EsAppend *const *appends, int append_count)
{
	int i;

	for (i = 0; i < append_count; i++)
	{
		if (appends[i]->is_stored)
			continue;
		appends[i]->last_version = appends[i]->expected_version + 1;
		appends[i]->events[0].version = appends[i]->last_version;
	}
}

/*
 * Move the stream of imported events on, and give them their versions.
 *
 * appends: of one stream, an event each, in the caller's order; receive which of
 * them are stored.
 *
 * Returns false if all are.  Raises SE001, SE002, SE003 and 22023 where one does
 * not fit, and 40001 like es_stream_lock.
 */
bool
es_imported_advance(EsAppend *const *appends, int append_count, Relation streams, Relation events)
{
	EsStream stream;
	SnapshotData snapshot;
	ImportedEnd end;

	es_stream_find(&stream, streams, appends[0]->stream, es_scan_snapshot(&snapshot));
	for (;;)
	{
		const EsAppend *misfit;

		if (es_ids_mark_stored(events, appends, append_count) == append_count)
		{
			es_stream_close(&stream);
			return false;
		}
		misfit = imported_find_misfit(&stream, appends, append_count, &end);
		if (misfit != NULL && stream.is_locked)
			imported_refuse(&stream, misfit, &end);
		if (misfit != NULL)
			es_stream_lock(&stream, LockTupleNoKeyExclusive);
		else if (es_stream_advance(&stream, end.version, end.recorded_at))
			break;
	}
	if (end.beginning > 1)
		imported_note_beginning(&stream, end.beginning);
	imported_assign(appends, append_count);
	es_stream_close(&stream);
	return true;
}
