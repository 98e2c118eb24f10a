/*-------------------------------------------------------------------------
 *
 * leaves.c
 *		The digests of history, event by event, as it was before it was changed.
 *
 * In order of position pass by: the events that are there, with the digest that
 * they have now; those that were removed, with the one that was recorded then;
 * and with each what it was before it was redacted, if it was.
 *
 * Memory: what a leaf takes is left to the caller to reset; the caller is
 * connected to SPI.  Locks: AccessShare on events, eventstore.removed_events,
 * eventstore.redactions.  Calls: catalog, digest, names, removals, scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/names.h"
#include "keeping/leaves.h"

enum
{
	LEAVES_POSITION = 1,
	LEAVES_BEFORE,
	LEAVES_AFTER
};

/* ----------------------------------------------------------------------
 * Redactions
 * ----------------------------------------------------------------------
 */

static void
leaves_open_redactions(EsLeaves *leaves, int64 after, int64 upto)
{
	Oid types[] = {INT8OID, INT8OID};
	Datum values[] = {Int64GetDatum(after), Int64GetDatum(upto)};

	leaves->redactions =
		SPI_cursor_open_with_args(NULL,
								  "SELECT position, digest_before, digest_after FROM eventstore.redactions "
								  "WHERE position > $1 AND position <= $2 ORDER BY position, redaction",
								  lengthof(types), types, values, NULL, true, CURSOR_OPT_NO_SCROLL);
}

static void
leaves_get_digest(uint8 *digest, int column)
{
	bool is_null;
	bytea *bytes = DatumGetByteaPP(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, &is_null));

	memset(digest, 0, ES_DIGEST_BYTES);
	memcpy(digest, VARDATA_ANY(bytes), Min(ES_DIGEST_BYTES, VARSIZE_ANY_EXHDR(bytes)));
}

/* One by one: there are few.  SPI would leave us in its own context, which nobody resets. */
static void
leaves_next_redaction(EsLeaves *leaves)
{
	MemoryContext caller = CurrentMemoryContext;
	bool is_null;

	SPI_cursor_fetch(leaves->redactions, true, 1);
	MemoryContextSwitchTo(caller);
	leaves->has_redaction = SPI_processed > 0;
	if (leaves->has_redaction)
	{
		leaves->redaction.position = DatumGetInt64(
			SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, LEAVES_POSITION, &is_null));
		leaves_get_digest(leaves->redaction.before, LEAVES_BEFORE);
		leaves_get_digest(leaves->redaction.after, LEAVES_AFTER);
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * What an event was before each of its redactions; each must lead to the next,
 * and the last to what it is.
 */
static void
leaves_add_redactions(EsLeaves *leaves, EsLeaf *leaf)
{
	uint8 expected[ES_DIGEST_BYTES];

	leaf->before_count = 0;
	leaf->before = NULL;
	leaf->is_misquoted = false;
	while (leaves->has_redaction && leaves->redaction.position < leaf->position)
		leaves_next_redaction(leaves);
	while (leaves->has_redaction && leaves->redaction.position == leaf->position)
	{
		int number = leaf->before_count++;

		CHECK_FOR_INTERRUPTS();
		if (number == 0)
			leaf->before = palloc(ES_DIGEST_BYTES);
		else
			leaf->before = repalloc(leaf->before, (Size) leaf->before_count * ES_DIGEST_BYTES);
		memcpy(leaf->before + number * ES_DIGEST_BYTES, leaves->redaction.before, ES_DIGEST_BYTES);
		leaf->is_misquoted |= number > 0 &&
			memcmp(expected, leaves->redaction.before, ES_DIGEST_BYTES) != 0;
		memcpy(expected, leaves->redaction.after, ES_DIGEST_BYTES);
		leaves_next_redaction(leaves);
	}
	if (leaf->before_count > 0)
		leaf->is_misquoted |= memcmp(expected, leaf->digest, ES_DIGEST_BYTES) != 0;
}

/* ----------------------------------------------------------------------
 * Leaves
 * ----------------------------------------------------------------------
 */

static void
leaves_next_event(EsLeaves *leaves)
{
	/* An index scan allocates as it goes. */
	MemoryContext caller = MemoryContextSwitchTo(leaves->memory);

	leaves->has_event = es_scan_next(&leaves->scan, ForwardScanDirection);
	if (leaves->has_event)
		slot_getsomeattrs(leaves->scan.slot, Natts_event);
	MemoryContextSwitchTo(caller);
}

static int64
leaves_event_position(const EsLeaves *leaves)
{
	return DatumGetInt64(leaves->scan.slot->tts_values[Anum_events_position - 1]);
}

/*
 * Begin with what is after a position, and up to another, as the active snapshot
 * sees it.
 */
void
es_leaves_open(EsLeaves *leaves, int64 after, int64 upto, EsDigester *digester)
{
	leaves->memory = CurrentMemoryContext;
	leaves->digester = digester;
	leaves->events = es_catalog_open(ES_EVENTS, AccessShareLock);
	es_scan_open(&leaves->scan, leaves->events, ES_EVENTS_PKEY);
	es_scan_add_key(&leaves->scan, 1, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(after));
	es_scan_add_key(&leaves->scan, 1, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(upto));
	es_scan_begin(&leaves->scan, GetActiveSnapshot());
	leaves_next_event(leaves);
	es_removals_open(&leaves->removals, after, upto, true);
	leaves->has_removal = es_removals_next(&leaves->removals, &leaves->removal);
	leaves_open_redactions(leaves, after, upto);
	leaves_next_redaction(leaves);
}

void
es_leaves_close(EsLeaves *leaves)
{
	SPI_cursor_close(leaves->redactions);
	es_removals_close(&leaves->removals);
	es_scan_close(&leaves->scan);
	relation_close(leaves->events, NoLock);
}

static void
leaves_take_event(EsLeaves *leaves, EsLeaf *leaf)
{
	TupleTableSlot *slot = leaves->scan.slot;
	EsDigestInput input;

	es_digest_input(&input, slot->tts_values, slot->tts_isnull);
	es_digest_add_event(leaves->digester, &input, leaf->digest);
	leaf->position = input.position;
	leaf->is_removed = false;
	leaf->has_its_category = es_names_is_category(DatumGetTextPP(input.stream),
												  DatumGetTextPP(
													  slot->tts_values[Anum_events_category - 1]));
	/* What is there counts, whatever the list of removed events says. */
	while (leaves->has_removal && leaves->removal.position == leaf->position)
		leaves->has_removal = es_removals_next(&leaves->removals, &leaves->removal);
	leaves_next_event(leaves);
}

static void
leaves_take_removal(EsLeaves *leaves, EsLeaf *leaf)
{
	leaf->position = leaves->removal.position;
	leaf->is_removed = true;
	leaf->has_its_category = true;
	memcpy(leaf->digest, leaves->removal.digest, ES_DIGEST_BYTES);
	leaves->has_removal = es_removals_next(&leaves->removals, &leaves->removal);
}

/*
 * The next one up to a position; false if there is none.
 */
bool
es_leaves_next(EsLeaves *leaves, int64 upto, EsLeaf *leaf)
{
	int64 event = leaves->has_event ? leaves_event_position(leaves) : PG_INT64_MAX;
	int64 removal = leaves->has_removal ? leaves->removal.position : PG_INT64_MAX;

	if (Min(event, removal) > upto || (!leaves->has_event && !leaves->has_removal))
		return false;
	if (event <= removal)
		leaves_take_event(leaves, leaf);
	else
		leaves_take_removal(leaves, leaf);
	leaves_add_redactions(leaves, leaf);
	return true;
}
