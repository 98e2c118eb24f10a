/*-------------------------------------------------------------------------
 *
 * position.c
 *		Positions: the store-wide order.
 *
 * Positions come from the sequence eventstore.positions, without a cache:
 * an append takes them while it holds the rows of its streams, so along a
 * stream they rise with the versions.  A rolled-back append leaves a gap.
 *
 * Memory: two static variables.  Locks: those of nextval(), and the sequence's
 * page for moments.  Calls: catalog.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xlog.h"
#include "commands/sequence.h"
#include "storage/bufmgr.h"

#include "catalog.h"
#include "position.h"

/* What es_last_position() tells, and of which store (its sequence's OID). */
static int64 position_last = 0;
static Oid position_last_store = InvalidOid;

/* The next position.  Hold the row lock of the stream that it is for. */
int64
es_position_next(void)
{
	return nextval_internal(es_catalog_oid(ES_POSITIONS), false);
}

/*
 * Keep everybody from taking positions, until es_position_release: for moments
 * only, as it locks the sequence's page.
 *
 * Returns the last position given out to anybody, committed or not; 0 if none.
 * Reads the sequence's only row as nextval() does, as the caller needs no
 * right on the sequence.
 */
int64
es_position_hold(EsPositionHold *hold)
{
	HeapTupleData row;
	Form_pg_sequence_data data;
	Page page;
	ItemId item;

	hold->sequence = es_catalog_open(ES_POSITIONS, AccessShareLock);
	hold->buffer = ReadBuffer(hold->sequence, 0);
	LockBuffer(hold->buffer, BUFFER_LOCK_SHARE);

	page = BufferGetPage(hold->buffer);
	item = PageGetItemId(page, FirstOffsetNumber);
	row.t_data = (HeapTupleHeader) PageGetItem(page, item);
	data = (Form_pg_sequence_data) GETSTRUCT(&row);
	return data->is_called ? data->last_value : data->last_value - 1;
}

void
es_position_release(EsPositionHold *hold)
{
	UnlockReleaseBuffer(hold->buffer);
	relation_close(hold->sequence, NoLock);
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
	int64 position = es_position_hold(&hold);
	XLogRecPtr logged = PageGetLSN(BufferGetPage(hold.buffer));

	es_position_release(&hold);
	if (is_lasting)
		XLogFlush(logged);
	return position;
}

/* Note the position of the last event of an append. */
void
es_position_remember(int64 position)
{
	position_last = position;
	position_last_store = es_catalog_oid(ES_POSITIONS);
}

/* Returns false if this session has not appended yet to this store. */
bool
es_position_last(int64 *position)
{
	*position = position_last;
	return OidIsValid(position_last_store) && position_last_store == es_catalog_oid(ES_POSITIONS);
}
