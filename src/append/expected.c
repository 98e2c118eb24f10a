/*-------------------------------------------------------------------------
 *
 * expected.c
 *		The expected version of an append: whether a stream is there.
 *
 * A stream whose events are all gone, deleted or truncated, goes on at the next
 * version: to who expects none it has none, to who expects that version it is
 * there.
 *
 * Memory: none.  Locks: AccessShare on the removed events, where that has to be
 * found out.  Calls: catalog, counters, removed, scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "append/expected.h"
#include "base/catalog.h"
#include "base/errors.h"
#include "base/event.h"
#include "base/removed.h"
#include "base/scan.h"
#include "signal/counters.h"

/*
 * Whether a stream that has a version has an event.  Events go from the first
 * one on, so it has none if the last was removed.  That it is not seen would
 * not do: it may be about to be stored, by the append whose trigger asks.
 */
static bool
expected_has_events(const EsStream *stream)
{
	SnapshotData copy;
	Snapshot snapshot = IsolationUsesXactSnapshot() ? es_scan_snapshot(&copy)
													: RegisterSnapshot(GetLatestSnapshot());
	bool result = !es_removed_is_version(stream->name, stream->version, snapshot);

	if (snapshot != &copy)
		UnregisterSnapshot(snapshot);
	return result;
}

/*
 * Whether a stream at a version is where the caller of an append expects it.
 *
 * version: the stream's, moved on by earlier entries of the same call.
 */
bool
es_expected_fits(const EsStream *stream, int64 expected_version, int64 version)
{
	if (stream->is_tombstoned)
		return false;
	switch (expected_version)
	{
		case ES_EXPECT_ANY:
			return true;
		case ES_EXPECT_EXISTS:
			return version > 0 && (version != stream->version || expected_has_events(stream));
		case ES_EXPECT_NO_STREAM:
			return version == 0 || (version == stream->version && !expected_has_events(stream));
		default:
			return version == expected_version;
	}
}

/*
 * Say that a stream is not where it is expected, in the form that DETAIL of
 * SE001 has, as a line of its own.
 */
void
es_expected_describe(StringInfo lines, const EsStream *stream, int64 expected_version, int64 version)
{
	char *name = text_to_cstring(stream->name);

	if (lines->len > 0)
		appendStringInfoChar(lines, '\n');
	if (stream->is_tombstoned)
		appendStringInfo(lines, "Stream \"%s\" is deleted.", name);
	else
		appendStringInfo(lines, "Stream \"%s\" is at version %lld, expected %lld.", name,
						 (long long) version, (long long) expected_version);
}

/*
 * Raise SE003 or SE001.
 *
 * others: what es_expected_describe says of other streams of the call; or NULL.
 */
void
es_expected_raise(const EsStream *stream, int64 expected_version, int64 version, const char *others)
{
	char *name = text_to_cstring(stream->name);
	StringInfoData detail;

	if (stream->is_tombstoned)
		ereport(ERROR,
				(errcode(ES_ERRCODE_STREAM_DELETED),
				 errmsg("stream \"%s\" is deleted", name),
				 others == NULL ? 0 : errdetail_internal("%s", others),
				 errhint("A tombstoned stream takes no event any more; use another name.")));

	es_counters_conflict(es_catalog_oid(ES_POSITIONS));
	initStringInfo(&detail);
	es_expected_describe(&detail, stream, expected_version, version);
	if (others != NULL)
		appendStringInfo(&detail, "\n%s", others);
	ereport(ERROR,
			(errcode(ES_ERRCODE_WRONG_EXPECTED_VERSION),
			 errmsg("wrong expected version for stream \"%s\"", name),
			 errdetail_internal("%s", detail.data),
			 expected_version == ES_EXPECT_EXISTS ?
			 errhint("-2 expects at least one event.") :
			 errhint("Read the stream again, decide anew, and append with its version.")));
}

/*
 * Raise SE003 or SE001 unless es_expected_fits.
 */
void
es_expected_check(const EsStream *stream, int64 expected_version, int64 version)
{
	if (!es_expected_fits(stream, expected_version, version))
		es_expected_raise(stream, expected_version, version, NULL);
}
