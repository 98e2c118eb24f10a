/*-------------------------------------------------------------------------
 *
 * position.c
 *		Positions: the store-wide order.
 *
 * Positions come from the sequence eventstore.positions: an append takes them
 * while it holds the rows of its streams, so along a stream they rise with the
 * versions.  A rolled-back append leaves a gap.
 *
 * They are taken as nextval() takes values, with its WAL records, but as many
 * as an append needs at once, and in the same hold of the sequence's page in
 * which the append says that it is in flight.  Cache, increment, limits and
 * cycle of the sequence do not matter: positions always go up by one; or, where
 * the store has a feed, to the next that is the feed modulo ES_FEEDS.
 *
 * Others can write the sequence: setval(), nextval(), ALTER SEQUENCE, the
 * restore of a dump.  Whether it was us who did so last shows in log_cnt, how
 * many values are logged ahead: ours is below zero, all others' are not, and has
 * the store's epoch in it, too (member.c).  So who takes positions sees for nothing that the sequence may not
 * be where it was left, and can look at the events; see floor.c.  Who stores
 * events without taking positions disowns the sequence, to the same effect.
 * nextval() takes a number below zero for none.
 *
 * Memory: none.  Locks: on the sequence RowExclusive to take
 * positions, AccessShare to look; its page for moments.  Calls: catalog.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/rmgr.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "commands/sequence.h"
#include "common/int.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "order/position.h"

/* As many positions as nextval() logs ahead; less than there is room for in log_cnt. */
#define POSITION_LOG_AHEAD  32
#define POSITION_AHEAD_BITS 6

/* Where a sequence's page was last, which is quicker to try than to look it up. */
static Buffer position_recent = InvalidBuffer;

static Buffer
position_read(Relation sequence)
{
	if (BufferIsInvalid(position_recent) || !es_compat_read_recent(sequence, 0, position_recent))
		position_recent = ReadBuffer(sequence, 0);
	return position_recent;
}

/*
 * Read a sequence's only row as nextval() does, as the caller needs no right
 * on the sequence.
 *
 * lockmode: NoLock: this transaction has the lock.
 */
static int64
position_open(EsPositionHold *hold, EsRelation sequence, LOCKMODE lockmode, int page_lock)
{
	HeapTupleHeader row;
	Page page;

	hold->sequence = lockmode == NoLock ? relation_open(es_catalog_oid(sequence), NoLock)
										: es_catalog_open(sequence, lockmode);
	hold->buffer = position_read(hold->sequence);
	LockBuffer(hold->buffer, page_lock);

	page = BufferGetPage(hold->buffer);
	hold->item = PageGetItemId(page, FirstOffsetNumber);
	row = (HeapTupleHeader) PageGetItem(page, hold->item);
	hold->data = (Form_pg_sequence_data) ((char *) row + row->t_hoff);
	hold->is_ours = hold->data->log_cnt < 0;
	hold->epoch = hold->is_ours ? (uint64) (-1 - hold->data->log_cnt) >> POSITION_AHEAD_BITS : 0;
	hold->logged = PageGetLSN(page);
	hold->stays_foreign = false;
	return hold->data->is_called ? hold->data->last_value : hold->data->last_value - 1;
}

/*
 * Keep everybody from taking positions, until es_position_release: for moments
 * only, as it locks the sequence's page.
 *
 * Returns the last position given out to anybody, committed or not; 0 if none.
 */
int64
es_position_hold(EsPositionHold *hold)
{
	return position_open(hold, ES_POSITIONS, RowExclusiveLock, BUFFER_LOCK_EXCLUSIVE);
}

void
es_position_release(EsPositionHold *hold)
{
	UnlockReleaseBuffer(hold->buffer);
	relation_close(hold->sequence, NoLock);
}

/* What stands in log_cnt where so many positions are logged ahead. */
static int64
position_mark(const EsPositionHold *hold, int64 ahead)
{
	if (hold->stays_foreign)
		return 0;
	return -1 - (int64) (hold->epoch << POSITION_AHEAD_BITS | (uint64) ahead);
}

/* So many are; below zero where that is not known. */
static int64
position_ahead(const EsPositionHold *hold)
{
	if (!hold->is_ours)
		return -1;
	return (-1 - hold->data->log_cnt) & ((1 << POSITION_AHEAD_BITS) - 1);
}

/* Have the sequence say which was the last one given out; its lowest value is 1. */
static void
position_set(EsPositionHold *hold, int64 last, int64 mark)
{
	hold->data->last_value = Max(last, 1);
	hold->data->is_called = last > 0;
	hold->data->log_cnt = mark;
}

/*
 * Log the sequence as it will be when it was last given out.
 *
 * mark: for log_cnt.
 */
static void
position_log(EsPositionHold *hold, int64 last, int64 mark)
{
	Page page = BufferGetPage(hold->buffer);
	xl_seq_rec record;
	XLogRecPtr end;

	position_set(hold, last, mark);
	es_compat_set_locator(&record, hold->sequence);

	XLogBeginInsert();
	XLogRegisterBuffer(0, hold->buffer, REGBUF_WILL_INIT);
	XLogRegisterData((char *) &record, sizeof(xl_seq_rec));
	XLogRegisterData((char *) PageGetItem(page, hold->item), ItemIdGetLength(hold->item));
	end = XLogInsert(RM_SEQ_ID, XLOG_SEQ_LOG);
	PageSetLSN(page, end);
}

/*
 * Take positions, of a page that is held, for streams whose rows are locked.
 *
 * last: what es_position_hold returned.
 * feed: that positions are modulo ES_FEEDS; ES_NO_FEED: all are taken.
 *
 * Returns the first of count positions; the others follow at a distance of 1, or
 * of ES_FEEDS.  Raises 54000 where there are no more.
 */
int64
es_position_take(EsPositionHold *hold, int64 last, int64 count, int feed)
{
	Form_pg_sequence_data data = hold->data;
	int64 step = feed == ES_NO_FEED ? 1 : ES_FEEDS;
	int64 ahead = position_ahead(hold) - count;
	bool is_logged = data->is_called && ahead >= 0 && !hold->stays_foreign;
	int64 first = last;

	/* Those that are logged ahead have to be positions, too. */
	if (count > PG_INT64_MAX / ES_FEEDS - POSITION_LOG_AHEAD - 1 ||
		last > PG_INT64_MAX - (count + POSITION_LOG_AHEAD + 1) * step)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the store has no position left")));
	first++;
	if (feed != ES_NO_FEED)
		first += (feed - first) & (ES_FEEDS - 1);
	last = first + (count - 1) * step;

	/* Writing the row, or WAL before, has given the transaction its xid. */
	Assert(TransactionIdIsValid(GetTopTransactionIdIfAny()));

	/* The first since a checkpoint is logged: recovery starts there. */
	if (is_logged && PageGetLSN(BufferGetPage(hold->buffer)) <= GetRedoRecPtr())
		is_logged = false;
	if (!is_logged)
		ahead = hold->stays_foreign ? 0 : POSITION_LOG_AHEAD;

	START_CRIT_SECTION();
	MarkBufferDirty(hold->buffer);
	if (!is_logged && RelationNeedsWAL(hold->sequence))
		position_log(hold, last + ahead * step, position_mark(hold, 0));
	data->last_value = last;
	data->is_called = true;
	data->log_cnt = position_mark(hold, ahead);
	END_CRIT_SECTION();
	return first;
}

static int64
position_look(LOCKMODE lockmode, bool is_lasting, bool *is_ours)
{
	EsPositionHold hold;
	int64 position = position_open(&hold, ES_POSITIONS, lockmode, BUFFER_LOCK_SHARE);

	*is_ours = hold.is_ours;
	es_position_release(&hold);
	if (is_lasting)
		XLogFlush(hold.logged);
	return position;
}

/*
 * The last position given out to anybody.
 *
 * is_lasting: make sure that a crash does not make the sequence give it out
 * again: after one it goes on above what its last flushed WAL record says.
 * is_ours: receives whether it is known to be at or above all events.
 */
int64
es_position_given_out(bool is_lasting, bool *is_ours)
{
	return position_look(AccessShareLock, is_lasting, is_ours);
}

/*
 * The same, not made lasting, for who takes positions in this transaction, and so
 * has the lock: one is cheaper than two.
 */
int64
es_position_given_out_yet(bool *is_ours)
{
	return position_look(RowExclusiveLock, false, is_ours);
}

/* The same for who has taken some. */
int64
es_position_given_out_since(bool *is_ours)
{
	return position_look(NoLock, false, is_ours);
}

/* The last number that a sequence has given out to anybody. */
int64
es_position_last_number(EsRelation sequence)
{
	EsPositionHold hold;
	int64 number = position_open(&hold, sequence, AccessShareLock, BUFFER_LOCK_SHARE);

	es_position_release(&hold);
	return number;
}

/* Write the sequence, of a page that is held; it is logged at once. */
static void
position_write(EsPositionHold *hold, int64 last, int64 mark)
{
	START_CRIT_SECTION();
	MarkBufferDirty(hold->buffer);
	if (RelationNeedsWAL(hold->sequence))
		position_log(hold, last, mark);
	position_set(hold, last, mark);
	END_CRIT_SECTION();
}

/*
 * Events were stored that positions were not taken for: have the next who takes
 * some look where the events are.
 *
 * always: write it even where it is not ours, so that who is looking just now finds
 * it written, and looks once more.
 */
void
es_position_disown(bool always)
{
	EsPositionHold hold;
	int64 last;
	bool is_ours;

	(void) es_position_given_out(false, &is_ours);
	if (!is_ours && !always)
		return;
	last = es_position_hold(&hold);
	position_write(&hold, last, 0);
	es_position_release(&hold);
}

/*
 * Have a sequence go on above a value.  As with setval(), a rollback does not
 * undo it.
 *
 * sequence: ES_POSITIONS, where value is as high as any event's position and the
 * caller keeps everybody from storing events; or ES_TOKENS and its like.
 * epoch: of the store, for ES_POSITIONS.
 *
 * Returns the last value that is given out now.
 */
int64
es_position_raise(EsRelation sequence, int64 value, uint64 epoch)
{
	EsPositionHold hold;
	int64 last;

	/* So that the commit flushes the record. */
	(void) GetTopTransactionId();
	last = position_open(&hold, sequence, RowExclusiveLock, BUFFER_LOCK_EXCLUSIVE);
	last = Max(last, value);
	hold.epoch = epoch;
	hold.stays_foreign = sequence != ES_POSITIONS;
	/* Its lowest value is 1: a sequence that has given out nothing stays so. */
	if (last > 0)
		position_write(&hold, last, position_mark(&hold, 0));
	es_position_release(&hold);
	return last;
}
