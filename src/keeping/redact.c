/*-------------------------------------------------------------------------
 *
 * redact.c
 *		The verb that blanks an event's data: es_redact.
 *
 * The event stays where it is, with its id, type, tags and time; what it said
 * becomes null, in its row, and who did it, why, and what it was by digest
 * becomes a row of eventstore.redactions.  Snapshots of the event's version and
 * later amount to what it said, and go.
 *
 * It is an UPDATE in SQL, so that generated columns, triggers and publications
 * of the table know.
 *
 * Memory: the function call's context.  Locks: userlocks "custody" and "keeps",
 * first; the event's row.  Calls: arguments, custody, digest, forget, ranges,
 * removed, scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/ranges.h"
#include "base/removed.h"
#include "base/scan.h"
#include "keeping/custody.h"
#include "keeping/digest.h"
#include "keeping/forget.h"

PG_FUNCTION_INFO_V1(es_redact);

/* An event as it is stored. */
typedef struct RedactEvent
{
	Datum values[Natts_event];
	bool nulls[Natts_event];
} RedactEvent;

static text *
redact_stream(const RedactEvent *event)
{
	return DatumGetTextPP(event->values[Anum_events_stream - 1]);
}

static int64
redact_version(const RedactEvent *event)
{
	return DatumGetInt64(event->values[Anum_events_version - 1]);
}

/* ----------------------------------------------------------------------
 * The event
 * ----------------------------------------------------------------------
 */

/* Find an event, committed or this transaction's own; a copy. */
static bool
redact_look(Datum id, RedactEvent *event)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	bool is_found;
	EsScan scan;

	es_scan_open(&scan, events, ES_EVENTS_ID);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_UUID_EQ, id);
	es_scan_begin(&scan, snapshot);
	is_found = es_scan_next(&scan, ForwardScanDirection);
	if (is_found)
	{
		HeapTuple row = ExecCopySlotHeapTuple(scan.slot);
		int i;

		for (i = 0; i < Natts_event; i++)
			event->values[i] = heap_getattr(row, i + 1, RelationGetDescr(events), &event->nulls[i]);
	}
	es_scan_close(&scan);
	UnregisterSnapshot(snapshot);
	relation_close(events, NoLock);
	return is_found;
}

/* Raise 42704; tell whether the event was there once. */
static void
redact_raise_unknown(Datum id)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	EsRemovedLook look;
	EsRemoved removed;
	bool is_removed;

	es_removed_open(&look);
	is_removed = es_removed_find(&look, DatumGetUUIDP(id), snapshot, &removed);
	es_removed_close(&look);
	UnregisterSnapshot(snapshot);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("there is no event of id \"%s\"",
					DatumGetCString(DirectFunctionCall1(uuid_out, id))),
			 is_removed ? errdetail("It was removed from stream \"%s\", and has no data any more.",
									text_to_cstring(removed.stream))
						: 0));
}

/*
 * Find the event, and lock it: against others that redact or remove it, and
 * against who saves what its stream amounts to.
 */
static void
redact_find(Datum id, RedactEvent *event)
{
	if (!redact_look(id, event))
		redact_raise_unknown(id);
	es_removed_guard(redact_stream(event));
	/* As it is now, if we had to wait. */
	if (!redact_look(id, event))
		redact_raise_unknown(id);
}

/* Raise 0A000 if another server has the event. */
static void
redact_check_local(const RedactEvent *event)
{
	int64 position = DatumGetInt64(event->values[Anum_events_position - 1]);
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);

	es_ranges_check_local_between(events, position, position);
	relation_close(events, NoLock);
}

static Datum
redact_digest(const RedactEvent *event)
{
	bytea *digest = (bytea *) palloc(VARHDRSZ + ES_DIGEST_BYTES);
	EsDigestInput input;

	SET_VARSIZE(digest, VARHDRSZ + ES_DIGEST_BYTES);
	es_digest_input(&input, event->values, event->nulls);
	es_digest_event(&input, (uint8 *) VARDATA(digest));
	return PointerGetDatum(digest);
}

/* ----------------------------------------------------------------------
 * What it says
 * ----------------------------------------------------------------------
 */

/* Raise unless a path, or the list of keys, is a plain list of something. */
static void
redact_check_list(ArrayType *list, const char *what)
{
	if (ARR_NDIM(list) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be a one-dimensional array that is not empty", what)));
	if (array_contains_nulls(list))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not contain nulls", what)));
}

/* A key, or a path in the text form of an array, as a path. */
static Datum
redact_read_path(Datum key)
{
	char *name = TextDatumGetCString(key);
	FmgrInfo input;
	Datum path;

	if (name[0] != '{')
		return PointerGetDatum(construct_array(&key, 1, TEXTOID, -1, false, TYPALIGN_INT));
	fmgr_info(F_ARRAY_IN, &input);
	path = InputFunctionCall(&input, name, TEXTOID, -1);
	redact_check_list(DatumGetArrayTypeP(path), "path in keys");
	return path;
}

/* Whether data has something at a path. */
static bool
redact_has_path(Datum data, Datum path)
{
	LOCAL_FCINFO(call, 2);

	InitFunctionCallInfoData(*call, NULL, 2, InvalidOid, NULL, NULL);
	call->args[0].value = data;
	call->args[1].value = path;
	call->args[0].isnull = call->args[1].isnull = false;
	(void) jsonb_extract_path(call);
	return !call->isnull;
}

/* Data with null at each of some keys. */
static Datum
redact_keys(Datum data, ArrayType *keys, Datum id)
{
	Datum null = DirectFunctionCall1(jsonb_in, CStringGetDatum("null"));
	Datum *elements;
	int count;
	int i;

	redact_check_list(keys, "keys");
	deconstruct_array(keys, TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL, &count);
	for (i = 0; i < count; i++)
	{
		Datum path = redact_read_path(elements[i]);

		CHECK_FOR_INTERRUPTS();
		if (redact_has_path(data, path))
			data = DirectFunctionCall4(jsonb_set, data, path, null, BoolGetDatum(false));
		else
			ereport(NOTICE,
					(errmsg("event \"%s\" has no key \"%s\"",
							DatumGetCString(DirectFunctionCall1(uuid_out, id)),
							TextDatumGetCString(elements[i]))));
	}
	return data;
}

/* ----------------------------------------------------------------------
 * The change
 * ----------------------------------------------------------------------
 */

/*
 * Write an event's new data and metadata, and see what has come of it: a trigger
 * may have added to that.
 */
static void
redact_update(RedactEvent *event)
{
	static EsSql statement =
		ES_SQL("UPDATE eventstore.events SET data = $2, metadata = $3 WHERE position = $1 RETURNING position",
			   INT8OID, JSONBOID, JSONBOID);
	int64 version = redact_version(event);
	EsPermit permit = {ES_CHANGE_REDACT, redact_stream(event), version, version};
	Datum values[] = {event->values[Anum_events_position - 1], event->values[Anum_events_data - 1],
					  event->values[Anum_events_metadata - 1]};
	char nulls[] = "   ";

	if (event->nulls[Anum_events_metadata - 1])
		nulls[2] = 'n';
	if (es_forget_change(&statement, values, nulls, &permit) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
				 errmsg("event \"%s\" was not redacted",
						DatumGetCString(DirectFunctionCall1(uuid_out,
															event->values[Anum_events_id - 1]))),
				 errdetail("A trigger on \"events\" has kept it as it is.")));
	CommandCounterIncrement();
	(void) redact_look(event->values[Anum_events_id - 1], event);
}

/* Write down who has done what, and why. */
static void
redact_note(const RedactEvent *event, Datum reason, Datum keys, bool has_keys, Datum before)
{
	static EsSql statement =
		ES_SQL("INSERT INTO eventstore.redactions (position, redaction, id, stream, version, reason, keys, "
			   "redacted_by, redacted_at, digest_before, digest_after) "
			   "SELECT $1, coalesce(pg_catalog.max(r.redaction), 0) + 1, $2, $3, $4, $5, $6, $7, "
			   "pg_catalog.clock_timestamp(), $8, $9 FROM eventstore.redactions r WHERE r.position = $1",
			   INT8OID, UUIDOID, TEXTOID, INT8OID, TEXTOID, TEXTARRAYOID, TEXTOID, BYTEAOID,
			   BYTEAOID);
	Datum values[] = {event->values[Anum_events_position - 1],
					  event->values[Anum_events_id - 1],
					  event->values[Anum_events_stream - 1],
					  event->values[Anum_events_version - 1],
					  reason,
					  keys,
					  CStringGetTextDatum(GetUserNameFromId(GetUserId(), false)),
					  before,
					  redact_digest(event)};

	(void) es_forget_run(&statement, values, has_keys ? NULL : "     n   ");
}

static Datum
redact_get_reason(FunctionCallInfo fcinfo)
{
	es_arguments_check_not_null(fcinfo, 1, "reason");
	if (VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(1)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("reason must not be empty")));
	return PG_GETARG_DATUM(1);
}

/*
 * es_redact(id uuid, reason text, keys text[] = NULL) -> void
 */
Datum
es_redact(PG_FUNCTION_ARGS)
{
	bool has_keys = !PG_ARGISNULL(2);
	RedactEvent event;
	Datum reason;
	Datum before;

	es_arguments_check_not_null(fcinfo, 0, "id");
	reason = redact_get_reason(fcinfo);
	PreventCommandIfReadOnly("es_redact()");
	PreventCommandIfParallelMode("es_redact()");

	CommandCounterIncrement();
	es_custody_alter();
	redact_find(PG_GETARG_DATUM(0), &event);
	redact_check_local(&event);
	before = redact_digest(&event);
	if (has_keys)
		event.values[Anum_events_data - 1] = redact_keys(event.values[Anum_events_data - 1],
														 PG_GETARG_ARRAYTYPE_P(2),
														 PG_GETARG_DATUM(0));
	else
	{
		event.values[Anum_events_data - 1] = DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"));
		event.nulls[Anum_events_metadata - 1] = true;
	}
	redact_update(&event);
	redact_note(&event, reason, has_keys ? PG_GETARG_DATUM(2) : (Datum) 0, has_keys, before);
	es_forget_snapshots(redact_stream(&event), redact_version(&event), PG_INT64_MAX);
	PG_RETURN_VOID();
}
