/*-------------------------------------------------------------------------
 *
 * store.c
 *		Storing: what every form of append comes down to.
 *
 * es_store_append takes an array of EsAppend and goes in five steps:
 *
 * 1. Each stream's row is moved on, in byte order of the streams' names, so
 *	  that two calls can not wait for each other in a circle.  From then on
 *	  nobody else can append to them until this transaction ends.
 * 2. What is about to come is published, then positions and versions are
 *	  given out, in the caller's order.
 * 3. The events are inserted, as one statement.
 * 4. The condition is checked, if there is one.
 * 5. Inline projections are applied to them.
 *
 * Memory: the current context.  Locks: RowExclusive on both tables, the
 * streams' rows; all until the end of the transaction.  Calls: catalog,
 * condition, counters, ids, imported, inline, last, member, milestone, names,
 * recorder, rights, scan, stream, take, transaction, window.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "common/int.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "append/expected.h"
#include "append/ids.h"
#include "append/imported.h"
#include "append/recorder.h"
#include "append/store.h"
#include "base/catalog.h"
#include "base/compat.h"
#include "base/names.h"
#include "base/scan.h"
#include "base/stream.h"
#include "order/last.h"
#include "order/member.h"
#include "order/milestone.h"
#include "order/take.h"
#include "order/transaction.h"
#include "order/window.h"
#include "projection/inline.h"
#include "rights/rights.h"
#include "signal/counters.h"

/* ----------------------------------------------------------------------
 * Streams
 * ----------------------------------------------------------------------
 */

/* Appends to one stream: a run of the sorted array. */
typedef struct StoreGroup
{
	EsAppend **appends;
	int count;
	int rest; /* appends to other streams that follow in the array */
	bool has_given_ids;
} StoreGroup;

/* By stream; within a stream in the caller's order. */
static int
store_compare(const void *a, const void *b)
{
	const EsAppend *left = *(EsAppend *const *) a;
	const EsAppend *right = *(EsAppend *const *) b;
	int left_size = VARSIZE_ANY_EXHDR(left->stream);
	int right_size = VARSIZE_ANY_EXHDR(right->stream);
	int result = memcmp(VARDATA_ANY(left->stream), VARDATA_ANY(right->stream),
						Min(left_size, right_size));

	if (result == 0)
		result = left_size - right_size;
	if (result == 0)
		result = (left > right) - (left < right);
	return result;
}

/*
 * The first append of a group that does not find the stream where it expects
 * it; NULL: all do.
 *
 * version: receives where that one finds it, or where the group leaves it.
 * Raises 54000 if it can't.
 */
static const EsAppend *
store_group_find_misfit(const StoreGroup *group, const EsStream *stream, int64 *version)
{
	int i;

	*version = stream->version;
	for (i = 0; i < group->count; i++)
	{
		const EsAppend *append = group->appends[i];

		if (!es_expected_fits(stream, append->expected_version, *version))
			return append;
		if (pg_add_s64_overflow(*version, append->event_count, version))
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("stream \"%s\" has no version left", text_to_cstring(stream->name))));
	}
	return NULL;
}

/* The group that an array of sorted appends begins with. */
static StoreGroup
store_first_group(EsAppend **sorted, int append_count, bool has_given_ids)
{
	StoreGroup group = {sorted, 1, append_count - 1, has_given_ids};

	while (group.rest > 0 && es_names_equal(sorted[0]->stream, sorted[group.count]->stream))
	{
		group.count++;
		group.rest--;
	}
	return group;
}

/*
 * Raise SE001 or SE003 for a group, and name the streams after it that are not
 * where they are expected either, as they are at this moment: to lock them would
 * be to wait for an answer that is no anyway.
 */
static void
store_refuse(const StoreGroup *group, const EsStream *stream, const EsAppend *misfit, int64 version)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	StoreGroup other = *group;
	StringInfoData others;

	initStringInfo(&others);
	while (other.rest > 0)
	{
		EsStream found;
		const EsAppend *append;
		int64 at;

		CHECK_FOR_INTERRUPTS();
		other = store_first_group(other.appends + other.count, other.rest, false);
		es_stream_find(&found, stream->rel, other.appends[0]->stream, snapshot);
		append = store_group_find_misfit(&other, &found, &at);
		if (append != NULL)
			es_expected_describe(&others, &found, append->expected_version, at);
		es_stream_close(&found);
	}
	es_expected_raise(stream, misfit->expected_version, version,
					  others.len > 0 ? others.data : NULL);
}

/*
 * Whether the stream is where every append of the group expects it.  Where it
 * is not and that is final, as the stream is locked, this raises.
 *
 * version: receives where the stream will be.
 */
static bool
store_group_fits(const StoreGroup *group, const EsStream *stream, int64 *version)
{
	const EsAppend *misfit = store_group_find_misfit(group, stream, version);

	if (misfit != NULL && stream->is_locked)
		store_refuse(group, stream, misfit, *version);
	return misfit == NULL;
}

/* Give the events of a group their versions and their time. */
static void
store_group_assign(StoreGroup *group, const EsStream *stream, TimestampTz now)
{
	int64 version = stream->version;
	int i;
	int j;

	for (i = 0; i < group->count; i++)
	{
		EsAppend *append = group->appends[i];

		append->recorded_at = now;
		for (j = 0; j < append->event_count; j++)
			append->events[j].version = ++version;
		append->last_version = version;
	}
}

/*
 * Move the stream of a group on.  Returns false if the group is an exact
 * retry: then nothing is to be stored, and the results are set.
 *
 * The order matters.  Ids are looked up after the row was read; if the row
 * then turns out to be the newest, no append with these ids can have come in
 * between.  A version that does not fit is final only once the row is locked.
 */
static bool
store_group_advance(StoreGroup *group, Relation streams, Relation events)
{
	EsStream stream;
	SnapshotData snapshot;

	es_stream_find(&stream, streams, group->appends[0]->stream, es_scan_snapshot(&snapshot));
	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();
		int64 version;

		if (group->has_given_ids && es_ids_find_retry(events, group->appends, group->count))
		{
			es_counters_retry(es_catalog_oid(ES_POSITIONS), group->count);
			es_stream_close(&stream);
			return false;
		}
		if (!store_group_fits(group, &stream, &version))
		{
			es_stream_lock(&stream, LockTupleNoKeyExclusive);
			continue;
		}
		now = Max(now, stream.recorded_at);
		if (es_stream_advance(&stream, version, now))
		{
			store_group_assign(group, &stream, now);
			break;
		}
	}
	es_stream_close(&stream);
	return true;
}

/* ----------------------------------------------------------------------
 * The whole call
 * ----------------------------------------------------------------------
 */

/* The same of imported events: what is stored already is passed over. */
static bool
store_advance_imported(EsAppend **sorted, int append_count, Relation streams, Relation events)
{
	bool has_new = false;
	int first;
	StoreGroup group;

	for (first = 0; first < append_count; first += group.count)
	{
		group = store_first_group(sorted + first, append_count - first, true);
		CHECK_FOR_INTERRUPTS();
		if (es_imported_advance(group.appends, group.count, streams, events))
			has_new = true;
	}
	return has_new;
}

/* Returns whether there is anything to store. */
static bool
store_advance_streams(EsAppend **sorted, int append_count, Relation streams, Relation events,
					  bool has_given_ids)
{
	const EsAppend *stored = NULL;
	int advanced = 0;
	int first;
	StoreGroup group;

	if (sorted[0]->is_imported)
		return store_advance_imported(sorted, append_count, streams, events);
	for (first = 0; first < append_count; first += group.count)
	{
		group = store_first_group(sorted + first, append_count - first, has_given_ids);
		CHECK_FOR_INTERRUPTS();
		if (store_group_advance(&group, streams, events))
			advanced++;
		else
			stored = group.appends[0];
		if (advanced > 0 && stored != NULL)
			es_ids_raise_partial_retry(events, stored);
	}
	return advanced > 0;
}

/* One append in a few thousand tells by when its positions were given out. */
static void
store_set_milestone(EsAppend *const *appends, int append_count, int64 position)
{
	TimestampTz recorded_at = appends[0]->recorded_at;
	int i;

	for (i = 1; i < append_count; i++)
		recorded_at = Max(recorded_at, appends[i]->recorded_at);
	es_milestone_set(position, recorded_at);
}

/* Leave out imported events that are stored already; returns how many are left. */
static int
store_leave_out_stored(EsAppend **appends, int append_count)
{
	int count = 0;
	int i;

	for (i = 0; i < append_count; i++)
		if (!appends[i]->is_stored)
			appends[count++] = appends[i];
	return count;
}

static void
store_assign_positions(EsAppend *const *appends, int append_count)
{
	int64 event_count = 0;
	EsTaken taken;
	int64 position;
	int64 last;
	int i;
	int j;

	for (i = 0; i < append_count; i++)
	{
		es_transaction_append(appends[i]);
		event_count += appends[i]->event_count;
	}
	taken = es_take_positions(appends, append_count, event_count);
	last = taken.first + (event_count - 1) * taken.step;
	if (es_milestone_is_due(taken.first, last, taken.step))
		store_set_milestone(appends, append_count, last);
	position = taken.first;
	for (i = 0; i < append_count; i++)
	{
		for (j = 0; j < appends[i]->event_count; j++)
		{
			appends[i]->events[j].position = position;
			position += taken.step;
		}
		appends[i]->last_position = position - taken.step;
	}
}

/*
 * An event is there already at a version that the stream's row has given out:
 * say what mends the row.
 */
static void
store_explain(void *context)
{
	MemoryContext caller;
	ErrorData *error;

	if (geterrcode() != ERRCODE_UNIQUE_VIOLATION)
		return;
	caller = MemoryContextSwitchTo(context);
	error = CopyErrorData();
	MemoryContextSwitchTo(caller);
	/* Partitions have their own, events_..., and while REINDEX CONCURRENTLY runs a twin: name_ccnew. */
	if (error->schema_name != NULL && strcmp(error->schema_name, ES_SCHEMA) == 0 &&
		error->constraint_name != NULL &&
		strstr(error->constraint_name, ES_STREAM_VERSION_KEY) != NULL)
		errhint(
			"The stream has events that were not appended, and its row does not know of them: call es_repair_streams().");
}

static void
store_insert_rows(Relation events, EsAppend **appends, int append_count)
{
	ErrorContextCallback caller = {.previous = error_context_stack,
								   .callback = store_explain,
								   .arg = CurrentMemoryContext};

	error_context_stack = &caller;
	es_recorder_insert(events, appends, append_count);
	error_context_stack = caller.previous;
}

static void
store_insert(Relation events, EsAppend **appends, int append_count, bool has_given_ids)
{
	MemoryContext context = CurrentMemoryContext;

	if (!has_given_ids)
	{
		store_insert_rows(events, appends, append_count);
		return;
	}
	PG_TRY();
	{
		store_insert_rows(events, appends, append_count);
	}
	PG_CATCH();
	{
		es_ids_rethrow_duplicate(events, appends, append_count, context);
	}
	PG_END_TRY();
	es_ids_check_ranges(events, appends, append_count);
	es_ids_check_removed(events, appends, append_count);
}

/* Raise 42501 unless the current role may append to all streams. */
static void
store_check_rights(const EsAppend *appends, int append_count)
{
	int i;

	if (likely(es_rights_of(GetUserId())->appends.has_all))
		return;
	for (i = 0; i < append_count; i++)
		es_rights_check_append(appends[i].stream);
}

/*
 * Store all appends or none; set their results.
 *
 * appends: in the caller's order; a stream may stand in several.  All of them are
 * imported, or none is.
 * verb: how messages call the SQL function.
 * condition: that has to hold, unless the call is an exact retry; NULL: none.
 */
void
es_store_append(EsAppend *appends, int append_count, const char *verb, const EsCondition *condition)
{
	EsAppend **in_order = palloc(2 * sizeof(EsAppend *) * append_count);
	EsAppend **sorted = in_order + append_count;
	Relation streams;
	Relation events;
	bool has_given_ids = false;
	int i;

	PreventCommandIfReadOnly(verb);
	PreventCommandIfParallelMode(verb);

	for (i = 0; i < append_count; i++)
	{
		in_order[i] = sorted[i] = &appends[i];
		has_given_ids = has_given_ids || es_ids_are_given(&appends[i]);
	}
	qsort(sorted, append_count, sizeof(EsAppend *), store_compare);

	/* See what earlier calls of the same statement have done. */
	CommandCounterIncrement();
	streams = es_catalog_open(ES_STREAMS, RowExclusiveLock);
	events = es_catalog_open(ES_EVENTS, RowExclusiveLock);

	/* Before anything is looked at, so that a refusal tells nothing. */
	store_check_rights(appends, append_count);
	es_member_check(appends, append_count);
	if (has_given_ids)
		es_ids_check_distinct(events, in_order, append_count);
	/* Given ids may be those of an exact retry, which has no condition. */
	if (condition != NULL && !has_given_ids)
		es_condition_check_early(condition, events);

	if (store_advance_streams(sorted, append_count, streams, events, has_given_ids))
	{
		int new_count = appends[0].is_imported ? store_leave_out_stored(in_order, append_count)
											   : append_count;
		bool is_outer = es_window_open();

		store_assign_positions(in_order, new_count);
		store_insert(events, in_order, new_count, has_given_ids);
		if (is_outer)
			es_window_close();
		if (condition != NULL)
			es_condition_check(condition, events, appends[0].events[0].position);
		es_inline_apply(events, in_order, new_count);
	}
	es_last_remember(appends[append_count - 1].last_position);

	relation_close(events, NoLock);
	relation_close(streams, NoLock);
	pfree(in_order);
}
