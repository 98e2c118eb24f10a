/*-------------------------------------------------------------------------
 *
 * stream.c
 *		The row of a stream: find it, lock it, move it on.
 *
 * The row is what appends to one stream queue on, and nothing else is.  It is
 * treated as UPDATE treats a row:
 *
 * - es_stream_find reads the version that the statement's snapshot sees.
 * - es_stream_advance updates that version at once, without locking it first.
 *	 If it was still the newest, the update has locked it, and what was read
 *	 is proven to have been true.
 * - Otherwise, at READ COMMITTED, the newest version is locked and read, and
 *	 the caller decides anew; above that, the stream has moved since the
 *	 transaction's snapshot, which raises 40001.
 *
 * The first event of a stream makes the row by a speculative insertion, as
 * INSERT ... ON CONFLICT does: of many at once one succeeds, and the others
 * find a row to lock.
 *
 * While anybody holds a snapshot, no version of a row can be removed.  So what
 * an append to a hot stream costs must not depend on how many there are: hints
 * lead to the page that was filled last, an entry in the index is looked for from
 * the end, and made without a look at those before.
 *
 * Memory: the current context.  Locks: the row lock, and while a row is made
 * the speculative insertion lock; the caller holds RowExclusive on the table.
 * Calls: catalog, hint, names, scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/hint.h"
#include "base/names.h"
#include "base/scan.h"
#include "base/stream.h"

/* Take over what the scan's slot holds. */
static void
stream_read_row(EsStream *stream)
{
	TupleTableSlot *slot = stream->slot;

	slot_getallattrs(slot);
	stream->exists = true;
	stream->tid = slot->tts_tid;
	stream->version = DatumGetInt64(slot->tts_values[Anum_streams_version - 1]);
	stream->recorded_at = DatumGetTimestampTz(slot->tts_values[Anum_streams_recorded_at - 1]);
	stream->is_tombstoned = DatumGetBool(slot->tts_values[Anum_streams_tombstoned - 1]);
}

static void
stream_forget_row(EsStream *stream)
{
	stream->exists = false;
	stream->version = 0;
	stream->recorded_at = DT_NOBEGIN;
	stream->is_tombstoned = false;
}

/* Above READ COMMITTED nothing newer than the snapshot may be acted upon. */
static void
stream_has_moved(const EsStream *stream)
{
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access to stream \"%s\" due to concurrent append",
						text_to_cstring(stream->name)),
				 errhint("Retry the transaction.")));
}

/*
 * How much should be free on the page of a stream's row: what the row's next
 * version takes, for this session and a few others that append to streams of
 * the same page just now.
 */
#define STREAM_WRITERS 4

static Size
stream_room(const text *name)
{
	Size row = MAXALIGN(SizeofHeapTupleHeader) + MAXALIGN(VARSIZE_ANY(name)) + 2 * sizeof(int64) +
		MAXALIGN(sizeof(bool));

	return STREAM_WRITERS * row;
}

static void
stream_open_scan(const EsStream *stream, EsScan *scan, Snapshot snapshot)
{
	es_scan_open_into(scan, stream->rel, ES_STREAMS_PKEY, stream->slot);
	es_scan_add_key(scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(stream->name));
	es_scan_begin(scan, snapshot);
}

#ifdef USE_ASSERT_CHECKING
/*
 * Whether the index leads to the same row.  Not asked where to ask takes
 * predicate locks, nor in a transaction that has written: a statement that has
 * followed a row to a version newer than its snapshot, and updated that, sees
 * both the old version and its own, and each way may lead to another of them.
 */
static bool
stream_is_indexed(const EsStream *stream, Snapshot snapshot)
{
	EsStream other = *stream;
	EsScan scan;
	bool is_same;

	if (IsolationIsSerializable() || TransactionIdIsValid(GetTopTransactionIdIfAny()))
		return true;
	other.slot = table_slot_create(stream->rel, NULL);
	stream_open_scan(&other, &scan, snapshot);
	is_same = es_scan_next(&scan, ForwardScanDirection) &&
		ItemPointerEquals(&other.slot->tts_tid, &stream->slot->tts_tid);
	es_scan_close(&scan);
	ExecDropSingleTupleTableSlot(other.slot);
	return is_same;
}
#endif

/*
 * Fetch the row from where it was seen last.  As names are unique, a row of
 * this name that the snapshot sees is the stream's, however it was found; if
 * it is not the newest, the update will tell.
 */
static bool
stream_fetch_hinted(EsStream *stream, Snapshot snapshot)
{
	ItemPointerData tid;
	bool is_null;

	if (!es_hint_get(stream->hint, &tid) ||
		!es_scan_fetch_to_update(stream->rel, &tid, snapshot, stream_room(stream->name),
								 stream->slot))
		return false;
	if (!es_names_equal(DatumGetTextPP(slot_getattr(stream->slot, Anum_streams_stream, &is_null)),
						stream->name))
	{
		ExecClearTuple(stream->slot);
		return false;
	}
	Assert(stream_is_indexed(stream, snapshot));
	return true;
}

/*
 * Fetch the row by its index.  Entries of one name stand in the order of their
 * places, so the newest, of several that nobody may remove, is the last as a rule.
 */
static bool
stream_fetch_indexed(EsStream *stream, Snapshot snapshot)
{
	EsScan scan;
	bool is_found;

	stream_open_scan(stream, &scan, snapshot);
	is_found = es_scan_next_to_update(&scan, stream_room(stream->name));
	if (is_found)
		es_hint_set(stream->hint, &scan.desc->xs_heaptid);
	es_scan_close(&scan);
	return is_found;
}

/*
 * Find a stream as a snapshot sees it, in order to append to it.
 *
 * stream: receives what is found; end with es_stream_close.
 * streams: the open relation, locked as the caller's purpose needs.
 */
void
es_stream_find(EsStream *stream, Relation streams, const text *name, Snapshot snapshot)
{
	stream->name = name;
	stream->rel = streams;
	stream->slot = table_slot_create(streams, NULL);
	stream->hint = es_hint_key(streams, name);
	stream->is_locked = false;
	if (stream_fetch_hinted(stream, snapshot) || stream_fetch_indexed(stream, snapshot))
		stream_read_row(stream);
	else
		stream_forget_row(stream);
}

void
es_stream_close(EsStream *stream)
{
	ExecDropSingleTupleTableSlot(stream->slot);
}

/*
 * Lock the row at stream->tid, or at READ COMMITTED the newest version of it.
 * Returns false if it was deleted.
 */
static bool
stream_lock_row(EsStream *stream, LockTupleMode mode)
{
	TM_FailureData failure;
	TM_Result result;
	uint8 flags = IsolationUsesXactSnapshot() ? 0 : TUPLE_LOCK_FLAG_FIND_LAST_VERSION;

	result = table_tuple_lock(stream->rel, &stream->tid, GetActiveSnapshot(), stream->slot,
							  GetCurrentCommandId(true), mode, LockWaitBlock, flags, &failure);
	switch (result)
	{
		case TM_Ok:
			stream_read_row(stream);
			return true;
		case TM_Updated:
		case TM_Deleted:
			stream_has_moved(stream);
			return false;
		default:
			elog(ERROR, "unexpected result %d of locking a stream", result);
	}
	return false;
}

/* Look the row up once; see stream_fetch_indexed.  If there is one, its place is in stream->tid. */
static bool
stream_look(EsStream *stream, Snapshot snapshot)
{
	EsScan scan;
	bool is_found;

	stream_open_scan(stream, &scan, snapshot);
	is_found = es_scan_next(&scan, BackwardScanDirection);
	if (is_found)
		stream->tid = stream->slot->tts_tid;
	es_scan_close(&scan);
	ExecClearTuple(stream->slot);
	return is_found;
}

/* Look among committed rows: what a dirty scan misses if the row moves. */
static bool
stream_look_committed(EsStream *stream)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	bool is_found = stream_look(stream, snapshot);

	UnregisterSnapshot(snapshot);
	return is_found;
}

/*
 * Find the row whoever made it, visible or not; wait for one that is being
 * made.  Returns whether there is one; its place is then in stream->tid.
 */
static bool
stream_find_any(EsStream *stream)
{
	SnapshotData dirty;

	InitDirtySnapshot(dirty);
	for (;;)
	{
		if (!stream_look(stream, &dirty))
			return stream_look_committed(stream);
		if (!TransactionIdIsValid(dirty.xmin))
			return true;

		CHECK_FOR_INTERRUPTS();
		if (dirty.speculativeToken != 0)
			SpeculativeInsertionWait(dirty.xmin, dirty.speculativeToken);
		else
			XactLockTableWait(dirty.xmin, stream->rel, &stream->tid, XLTW_InsertIndex);
	}
}

/*
 * Lock the stream and read it again, newest version.  A stream without a row
 * can't be locked, but what is being made is waited for.
 *
 * mode: LockTupleNoKeyExclusive to write, LockTupleShare to keep others from
 * writing.
 *
 * Raises 40001 above READ COMMITTED where the stream has moved since the
 * transaction's snapshot.
 */
void
es_stream_lock(EsStream *stream, LockTupleMode mode)
{
	bool is_known = stream->exists;

	for (;;)
	{
		if (!is_known)
		{
			stream_forget_row(stream);
			if (!stream_find_any(stream))
				break;
			stream_has_moved(stream);
		}
		if (stream_lock_row(stream, mode))
			break;
		is_known = false;
	}
	stream->is_locked = true;
}

/* The executor's view of the table, to insert into its indexes with. */
static ResultRelInfo *
stream_open_indexes(EsStream *stream, EState *estate)
{
	MemoryContext caller = MemoryContextSwitchTo(estate->es_query_cxt);
	ResultRelInfo *info = makeNode(ResultRelInfo);

	InitResultRelInfo(info, stream->rel, 0, NULL, 0);
	ExecOpenIndices(info, false);
	MemoryContextSwitchTo(caller);
	return info;
}

/*
 * The name's own index, which other indexes may stand beside.  Its number among
 * those that are open, or -1.
 */
static int
stream_name_index(const ResultRelInfo *info)
{
	Oid name_index = es_catalog_oid(ES_STREAMS_PKEY);
	int i;

	for (i = 0; i < info->ri_NumIndices; i++)
		if (RelationGetRelid(info->ri_IndexRelationDescs[i]) == name_index)
			return i;
	return -1;
}

/*
 * Add an entry for a row whose name has one already.  As that stays, the name is
 * no less unique, and need not be looked for: that would mean to walk over all
 * versions that nobody may remove while somebody holds a snapshot.
 */
static void
stream_add_name_entry(EsStream *stream, EState *estate, const ResultRelInfo *info, int number)
{
	Datum values[INDEX_MAX_KEYS];
	bool nulls[INDEX_MAX_KEYS];

	FormIndexDatum(info->ri_IndexRelationInfo[number], stream->slot, estate, values, nulls);
	(void) index_insert(info->ri_IndexRelationDescs[number], values, nulls, &stream->slot->tts_tid,
						stream->rel, UNIQUE_CHECK_NO, true, info->ri_IndexRelationInfo[number]);
}

/* Rarely needed, as updates are HOT. */
static void
stream_add_update_entries(EsStream *stream, EsUpdateIndexes which)
{
	EState *estate = CreateExecutorState();
	ResultRelInfo *info = stream_open_indexes(stream, estate);
	int number = es_compat_only_summarizing(which) ? -1 : stream_name_index(info);
	Relation name_index = NULL;

	if (number >= 0)
	{
		stream_add_name_entry(stream, estate, info, number);
		/* The executor passes over what is not there. */
		name_index = info->ri_IndexRelationDescs[number];
		info->ri_IndexRelationDescs[number] = NULL;
	}
	(void) es_compat_add_entries_update(info, stream->slot, estate,
										es_compat_only_summarizing(which));
	if (number >= 0)
		info->ri_IndexRelationDescs[number] = name_index;
	ExecCloseIndices(info);
	FreeExecutorState(estate);
}

/* Returns false if somebody else was quicker. */
static bool
stream_insert(EsStream *stream)
{
	EState *estate = CreateExecutorState();
	ResultRelInfo *info = stream_open_indexes(stream, estate);
	TransactionId xid = GetCurrentTransactionId();
	uint32 token = SpeculativeInsertionLockAcquire(xid);
	bool has_conflict = false;

	table_tuple_insert_speculative(stream->rel, stream->slot, GetCurrentCommandId(true), 0, NULL,
								   token);
	(void) es_compat_add_entries_speculative(info, stream->slot, estate, &has_conflict);
	table_tuple_complete_speculative(stream->rel, stream->slot, token, !has_conflict);
	SpeculativeInsertionLockRelease(xid);
	if (!has_conflict)
		es_hint_set(stream->hint, &stream->slot->tts_tid);

	ExecCloseIndices(info);
	FreeExecutorState(estate);
	return !has_conflict;
}

/* Returns false if the row at stream->tid is not the newest version. */
static bool
stream_update(EsStream *stream)
{
	TM_FailureData failure;
	TM_Result result;
	LockTupleMode mode;
	EsUpdateIndexes which;

	result = table_tuple_update(stream->rel, &stream->tid, stream->slot, GetCurrentCommandId(true),
								GetActiveSnapshot(), InvalidSnapshot, true, &failure, &mode,
								&which);
	switch (result)
	{
		case TM_Ok:
			if (es_compat_needs_entries(which))
			{
				stream_add_update_entries(stream, which);
				if (!es_compat_only_summarizing(which))
					es_hint_set(stream->hint, &stream->slot->tts_tid);
			}
			return true;
		case TM_Updated:
		case TM_Deleted:
			stream_has_moved(stream);
			return false;
		default:
			elog(ERROR, "unexpected result %d of updating a stream", result);
	}
	return false;
}

/*
 * Have the slot hold the row as it will be, made of what it holds: to make another
 * slot costs more than to copy the row.
 */
static void
stream_set_row(EsStream *stream, int64 version, TimestampTz recorded_at)
{
	TupleTableSlot *slot = stream->slot;
	TupleDesc desc = slot->tts_tupleDescriptor;

	if (!stream->exists)
	{
		memset(slot->tts_isnull, true, desc->natts * sizeof(bool));
		slot->tts_values[Anum_streams_stream - 1] = PointerGetDatum(stream->name);
		slot->tts_isnull[Anum_streams_stream - 1] = false;
		slot->tts_isnull[Anum_streams_version - 1] = false;
		slot->tts_isnull[Anum_streams_recorded_at - 1] = false;
		slot->tts_isnull[Anum_streams_tombstoned - 1] = false;
	}
	slot->tts_values[Anum_streams_version - 1] = Int64GetDatum(version);
	slot->tts_values[Anum_streams_recorded_at - 1] = TimestampTzGetDatum(recorded_at);
	slot->tts_values[Anum_streams_tombstoned - 1] = BoolGetDatum(stream->is_tombstoned);
	ExecForceStoreHeapTuple(heap_form_tuple(desc, slot->tts_values, slot->tts_isnull), slot, true);
}

/*
 * Move the stream on to a version, making its row if it has none.  A caller that
 * has locked it may tombstone it before, in *stream.
 *
 * Returns true if what stands in *stream was true until now: the row is
 * written, and this transaction holds it until its end.  Otherwise *stream is
 * read again, locked, and nothing is written.  Raises 40001 like
 * es_stream_lock.
 */
bool
es_stream_advance(EsStream *stream, int64 version, TimestampTz recorded_at)
{
	bool is_done;

	stream_set_row(stream, version, recorded_at);
	is_done = stream->exists ? stream_update(stream) : stream_insert(stream);
	if (!is_done)
		es_stream_lock(stream, LockTupleNoKeyExclusive);
	return is_done;
}
