/*-------------------------------------------------------------------------
 *
 * standby.c
 *		The head on a hot standby.
 *
 * There are no locks of appends here; what is known of the primary is what
 * its WAL says, in the order of commit records.  Two things tell how far the
 * store is settled for a snapshot:
 *
 * - The value of eventstore.head that it sees.  The primary's worker wrote it
 *	 after every event at or below was committed.
 *
 * - A position that was seen, once every transaction is over that had an xid
 *	 by then: an append that is still to come with a lower position has written
 *	 its stream's row, and so the first WAL record with its xid, before the
 *	 higher one was even taken.  By then means: below the next xid, which is
 *	 asked for after the snapshot that sees the position was taken.  What the
 *	 snapshot lists as in progress will not do, since it lists only xids below
 *	 the last one that has completed; and it is not needed that nothing is in
 *	 progress at a moment, only that what was then is over now.
 *
 * Proof: see docs/order.md.
 *
 * A position and the next xid are kept for the session until these
 * transactions are over; then the next pair is taken.  So without a worker the
 * head of a session that goes on asking is late by two of the longest
 * transactions at most.
 *
 * Memory: static variables of the backend.  Locks: AccessShare on the
 * relations.  Calls: catalog, floor, scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/transam.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/scan.h"
#include "order/floor.h"
#include "order/standby.h"

/* Of which store the rest is, by its sequence's OID. */
static Oid standby_store = InvalidOid;

/* The highest head told. */
static int64 standby_known = 0;

/*
 * A position that was seen, and the next xid after that: it is settled for
 * whatever snapshot takes all before it for over.  No candidate: 0.
 */
static int64 standby_candidate = 0;
static uint64 standby_next_xid = 0;

/*
 * The head that the worker has announced last, as a snapshot sees it; 0 if
 * there is none.
 */
int64
es_standby_announced(Snapshot snapshot)
{
	Relation rel = es_catalog_open(ES_HEAD, AccessShareLock);
	EsScan scan;
	int64 head = 0;
	bool is_null;

	es_scan_open(&scan, rel, ES_HEAD_PKEY);
	es_scan_begin(&scan, snapshot);
	if (es_scan_next(&scan, ForwardScanDirection))
		head = DatumGetInt64(slot_getattr(scan.slot, Anum_head_position, &is_null));
	es_scan_close(&scan);
	relation_close(rel, NoLock);
	return head;
}

/* An xid that is at or before the next one, so that a session may keep it. */
static uint64
standby_widen(TransactionId xid, FullTransactionId next)
{
	return U64FromFullTransactionId(next) - (XidFromFullTransactionId(next) - xid);
}

/*
 * The highest position known to be settled for a snapshot by what is in
 * progress for it; 0 if there is none.
 */
static int64
standby_settled(Snapshot snapshot)
{
	FullTransactionId next = ReadNextFullTransactionId();
	uint64 over = standby_widen(snapshot->xmin, next); /* all xids below it */
	int64 settled = 0;

	if (standby_candidate != 0 && over < standby_next_xid)
		return 0;
	settled = standby_candidate;
	standby_candidate = es_floor_visible(snapshot);
	standby_next_xid = U64FromFullTransactionId(next);
	if (over < standby_next_xid)
		return settled;
	settled = standby_candidate;
	standby_candidate = 0;
	return settled;
}

/*
 * The head, as a snapshot that is the newest sees it.
 *
 * What is settled stays so, and later snapshots see it: the head of a session
 * never goes back.
 */
int64
es_standby_head(Snapshot snapshot)
{
	int64 head = es_standby_announced(snapshot);
	int64 settled;

	if (standby_store != es_catalog_oid(ES_POSITIONS))
		standby_known = standby_candidate = 0;
	standby_store = es_catalog_oid(ES_POSITIONS);

	settled = standby_settled(snapshot);
	head = Max(head, settled);
	standby_known = Max(standby_known, head);
	return standby_known;
}
