/*-------------------------------------------------------------------------
 *
 * condition.c
 *		The condition of an append: no event matches a query.
 *
 * The rule: in order of position, no conditional append has a matching event
 * between its after_position and itself.  It is kept by the conditional append
 * alone; others do nothing for it.  Having taken position P and inserted its
 * rows, it
 *
 * 1. waits until no append that had taken positions before is without its rows
 *	  (order/window.c).  From then on all rows below P are in the indexes, those
 *	  of open transactions, too.
 * 2. looks for matching rows below P, whoever wrote them.  One that is committed,
 *	  or of an earlier call of this transaction: the condition has failed.
 * 3. One of a transaction that is open: waits for its end, and looks again.  It
 *	  waits for nothing else, as what does not match can not matter.
 *
 * What comes later has a higher position.  If it is conditional, it finds our
 * row and waits for us; if it is not, nothing is promised about it.  So two of
 * which each should have seen the other can't both commit: the one of the
 * higher position has looked.  docs/order.md has the proof.
 *
 * Isolation levels make no difference to that: rows are looked at as they are
 * at this moment (SnapshotDirty), whatever the transaction's snapshot sees.
 * But if that can not see the match, to read again in this transaction would
 * not help, so then the error is 40001.
 *
 * Memory: the current context.  Locks: AccessShare on indexes; waits for
 * transactions, known to the deadlock detector.  Calls: catalog, counters, match,
 * query, scan, see, window.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "storage/lmgr.h"
#include "utils/snapmgr.h"

#include "base/errors.h"
#include "base/scan.h"
#include "condition/condition.h"
#include "condition/match.h"
#include "order/window.h"
#include "rights/see.h"
#include "signal/counters.h"

/* What a look has found. */
typedef struct ConditionFound
{
	int64 position;     /* the first match that counts; PG_INT64_MAX: none does */
	bool is_hidden;     /* from the transaction's snapshot */
	bool is_secret;     /* the caller may not see it */
	TransactionId open; /* matches, and is open; InvalidTransactionId: none does */
} ConditionFound;

/* Whether the transaction's snapshot sees a row; below REPEATABLE READ the next one does. */
static bool
condition_is_visible(TupleTableSlot *slot)
{
	SnapshotData snapshot;
	Relation table;
	bool result;

	if (!IsolationUsesXactSnapshot())
		return true;
	/* eventstore.events, or a partition of it. */
	table = table_open(slot->tts_tableOid, AccessShareLock);
	result = table_tuple_satisfies_snapshot(table, slot, es_scan_snapshot(&snapshot));
	table_close(table, NoLock);
	return result;
}

/* Whether the caller may be told where an event is. */
static bool
condition_may_tell(Relation events, TupleTableSlot *slot, int64 position)
{
	bool is_null;

	return es_see_stored(events, DatumGetTextPP(slot_getattr(slot, Anum_events_stream, &is_null)),
						 position);
}

/* Look for matches of one item, up to the first that counts. */
static void
condition_look_at_item(const EsQueryItem *item, const EsMatchRange *range, ConditionFound *found)
{
	EsMatch match;

	es_match_begin(&match, item, range);
	while (es_match_next(&match))
	{
		TransactionId writer = range->snapshot->xmin;

		if (TransactionIdIsValid(writer))
		{
			found->open = writer;
			continue;
		}
		found->position = match.position;
		found->is_hidden = !condition_is_visible(match.slot);
		found->is_secret = !condition_may_tell(range->events, match.slot, match.position);
		break;
	}
	es_match_end(&match);
}

static ConditionFound
condition_look(const EsCondition *condition, Relation events, int64 before)
{
	ConditionFound found = {PG_INT64_MAX, false, false, InvalidTransactionId};
	SnapshotData dirty;
	EsMatchRange range = {events, &dirty, ForwardScanDirection, condition->after, before - 1};
	int i;

	InitDirtySnapshot(dirty);
	for (i = 0; i < condition->query->item_count; i++)
	{
		condition_look_at_item(&condition->query->items[i], &range, &found);
		/* Further items have to find an earlier one. */
		range.at_most = Min(range.at_most, found.position - 1);
	}
	return found;
}

static void
condition_raise_if(const ConditionFound *found)
{
	if (found->position == PG_INT64_MAX)
		return;
	if (found->is_hidden)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to a concurrent append that matches the condition"),
				 found->is_secret
					 ? 0
					 : errdetail("The event is at position %lld.", (long long) found->position),
				 errhint("Retry the transaction.")));
	es_counters_conflict(es_catalog_oid(ES_POSITIONS));
	ereport(ERROR,
			(errcode(ES_ERRCODE_APPEND_CONDITION_FAILED),
			 errmsg("the condition of the append failed"),
			 found->is_secret
				 ? errdetail("An event that matches is not for this role to see.")
				 : errdetail("The first event that matches is at position %lld.",
							 (long long) found->position),
			 found->is_secret
				 ? errhint("A condition holds over the whole store: have the query name what this role may see.")
				 : errhint("Read by the query again, decide anew, and append with the position that was read up to.")));
}

/*
 * Raise SE004, or 40001, if the condition has failed already.  To be found
 * before anything is written costs less than to roll back.
 */
void
es_condition_check_early(const EsCondition *condition, Relation events)
{
	ConditionFound found = condition_look(condition, events, PG_INT64_MAX);

	condition_raise_if(&found);
}

/*
 * Raise SE004, or 40001, unless the condition holds; from now on it does, for
 * events below a position.
 *
 * position: of the first event of the append, whose rows are inserted.
 */
void
es_condition_check(const EsCondition *condition, Relation events, int64 position)
{
	ConditionFound found;

	es_window_wait_for_others();
	for (;;)
	{
		found = condition_look(condition, events, position);
		condition_raise_if(&found);
		if (!TransactionIdIsValid(found.open))
			return;
		XactLockTableWait(found.open, events, NULL, XLTW_None);
	}
}
