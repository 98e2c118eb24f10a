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
 * cycle of the sequence do not matter: positions always go up by one.
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

/* As many positions as nextval() logs ahead. */
#define POSITION_LOG_AHEAD 32

/*
 * Read the sequence's only row as nextval() does, as the caller needs no right
 * on the sequence.
 */
static int64
position_open(EsPositionHold *hold, LOCKMODE lockmode, int page_lock)
{
	HeapTupleHeader row;
	Page page;

	hold->sequence = es_catalog_open(ES_POSITIONS, lockmode);
	hold->buffer = ReadBuffer(hold->sequence, 0);
	LockBuffer(hold->buffer, page_lock);

	page = BufferGetPage(hold->buffer);
	hold->item = PageGetItemId(page, FirstOffsetNumber);
	row = (HeapTupleHeader) PageGetItem(page, hold->item);
	hold->data = (Form_pg_sequence_data) ((char *) row + row->t_hoff);
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
	return position_open(hold, RowExclusiveLock, BUFFER_LOCK_EXCLUSIVE);
}

void
es_position_release(EsPositionHold *hold)
{
	UnlockReleaseBuffer(hold->buffer);
	relation_close(hold->sequence, NoLock);
}

/* Log the sequence as it will be when it was last given out. */
static void
position_log(EsPositionHold *hold, int64 last)
{
	Page page = BufferGetPage(hold->buffer);
	xl_seq_rec record;
	XLogRecPtr end;

	hold->data->last_value = last;
	hold->data->is_called = true;
	hold->data->log_cnt = 0;
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
 * last: what es_position_hold returned.  The positions are those up to
 * last + count.  Raises 54000 where there are no more.
 */
void
es_position_take(EsPositionHold *hold, int64 last, int64 count)
{
	Form_pg_sequence_data data = hold->data;
	int64 ahead = data->log_cnt - count;
	bool is_logged = data->is_called && ahead >= 0;

	if (pg_add_s64_overflow(last, count, &last))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the store has no position left")));

	/* Writing the row, or WAL before, has given the transaction its xid. */
	Assert(TransactionIdIsValid(GetTopTransactionIdIfAny()));

	/* The first since a checkpoint is logged: recovery starts there. */
	if (is_logged && PageGetLSN(BufferGetPage(hold->buffer)) <= GetRedoRecPtr())
		is_logged = false;
	if (!is_logged)
		ahead = Min(POSITION_LOG_AHEAD, PG_INT64_MAX - last);

	START_CRIT_SECTION();
	MarkBufferDirty(hold->buffer);
	if (!is_logged && RelationNeedsWAL(hold->sequence))
		position_log(hold, last + ahead);
	data->last_value = last;
	data->is_called = true;
	data->log_cnt = ahead;
	END_CRIT_SECTION();
}

/*
 * The last position given out to anybody.
 *
 * is_lasting: make sure that a crash does not make the sequence give it out
 * again: after one it goes on above what its last flushed WAL record says.
 */
int64
es_position_given_out(bool is_lasting)
{
	EsPositionHold hold;
	int64 position = position_open(&hold, AccessShareLock, BUFFER_LOCK_SHARE);
	XLogRecPtr logged = PageGetLSN(BufferGetPage(hold.buffer));

	es_position_release(&hold);
	if (is_lasting)
		XLogFlush(logged);
	return position;
}
