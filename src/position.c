/*-------------------------------------------------------------------------
 *
 * position.c
 *		Positions: the store-wide order.
 *
 * Positions come from the sequence eventstore.positions, without a cache:
 * an append takes them while it holds the rows of its streams, so along a
 * stream they rise with the versions.  A rolled-back append leaves a gap.
 *
 * Memory: two static variables.  Locks: those of nextval().  Calls: catalog.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
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
 * The last position given out to anybody, committed or not; 0 if none.
 *
 * Reads the sequence's only row as nextval() does, as the caller needs no
 * right on the sequence.
 */
int64
es_position_given_out(void)
{
	Relation sequence = es_catalog_open(ES_POSITIONS, AccessShareLock);
	Buffer buffer = ReadBuffer(sequence, 0);
	HeapTupleData row;
	Form_pg_sequence_data data;
	Page page;
	ItemId item;
	int64 position;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	item = PageGetItemId(page, FirstOffsetNumber);
	row.t_data = (HeapTupleHeader) PageGetItem(page, item);
	data = (Form_pg_sequence_data) GETSTRUCT(&row);
	position = data->is_called ? data->last_value : data->last_value - 1;
	UnlockReleaseBuffer(buffer);

	relation_close(sequence, NoLock);
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
