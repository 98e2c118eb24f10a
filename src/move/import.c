/*-------------------------------------------------------------------------
 *
 * import.c
 *		The verb that takes events from another store: es_import.
 *
 * The events go in as an append's do, through the same door (append/store.c):
 * the streams' rows, the ids, triggers, projections, notices.  They keep what an
 * append would make: version, id and time.  What is stored already is passed
 * over, so the same call again stores nothing, and a call that has half of its
 * events in common with an earlier one stores the other half.
 *
 * That what is passed over is the same event is known by its digest, with the
 * position that it has here.  If it was redacted or forgotten here since, what it
 * was is on record by that.
 *
 * Memory: the function call's context.  Locks: those of an append; AccessShare on
 * removed events and redactions.  Calls: arguments, catalog, digest, event, line,
 * scan, sql, store.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "append/store.h"
#include "base/arguments.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/event.h"
#include "base/scan.h"
#include "base/sql.h"
#include "keeping/digest.h"
#include "move/line.h"

PG_FUNCTION_INFO_V1(es_import);

/* ----------------------------------------------------------------------
 * What is stored already
 * ----------------------------------------------------------------------
 */

typedef struct ImportCheck
{
	Relation events;
	Snapshot snapshot;
	EsDigester *digester;
} ImportCheck;

/* What an event amounts to at the position that it has here. */
static void
import_digest(const ImportCheck *check, const EsAppend *append, uint8 *digest)
{
	const EsEvent *event = &append->events[0];
	EsDigestInput input = {.position = append->last_position,
						   .stream = PointerGetDatum(append->stream),
						   .version = append->last_version,
						   .id = UUIDPGetDatum(&event->id),
						   .type = PointerGetDatum(event->type),
						   .data = PointerGetDatum(event->data),
						   .has_metadata = event->metadata != NULL,
						   .metadata = PointerGetDatum(event->metadata),
						   .has_tags = event->tags != NULL,
						   .tags = PointerGetDatum(event->tags),
						   .recorded_at = append->recorded_at};

	es_digest_add_event(check->digester, &input, digest);
}

/* The digest of what stands at a position; returns false if nothing does. */
static bool
import_digest_stored(const ImportCheck *check, int64 position, uint8 *digest)
{
	EsDigestInput input;
	EsScan scan;
	bool is_found;

	es_scan_open(&scan, check->events, ES_EVENTS_PKEY);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(position));
	es_scan_begin(&scan, check->snapshot);
	is_found = es_scan_next(&scan, ForwardScanDirection);
	if (is_found)
	{
		slot_getsomeattrs(scan.slot, Natts_event);
		es_digest_input(&input, scan.slot->tts_values, scan.slot->tts_isnull);
		es_digest_add_event(check->digester, &input, digest);
	}
	es_scan_close(&scan);
	return is_found;
}

/* Whether the event at a position had a digest before it was redacted or forgotten. */
static bool
import_is_on_record(int64 position, const uint8 *digest)
{
	static EsSql statement = ES_SQL(
		"SELECT FROM eventstore.removed_events r WHERE r.position = $1 AND r.digest = $2 "
		"UNION ALL "
		"SELECT FROM eventstore.detached_events d WHERE d.position = $1 AND $2 = "
		"eventstore.event_digest(ROW(d.position, d.stream, d.category, d.version, d.id, d.type, d.data, "
		"d.metadata, d.tags, d.recorded_at)::eventstore.event) "
		"UNION ALL "
		"SELECT FROM eventstore.redactions r WHERE r.position = $1 AND $2 IN (r.digest_before, r.digest_after)",
		INT8OID, BYTEAOID);
	bytea *value = palloc(VARHDRSZ + ES_DIGEST_BYTES);
	Datum values[] = {Int64GetDatum(position), PointerGetDatum(value)};

	SET_VARSIZE(value, VARHDRSZ + ES_DIGEST_BYTES);
	memcpy(VARDATA(value), digest, ES_DIGEST_BYTES);
	return es_sql_run_as_owner(&statement, values, NULL) > 0;
}

/* Raise SE002 unless an event that is stored is the one that was to be imported. */
static void
import_check_same(const ImportCheck *check, const EsAppend *append)
{
	uint8 digest[ES_DIGEST_BYTES];
	uint8 stored[ES_DIGEST_BYTES];

	import_digest(check, append, digest);
	if (import_digest_stored(check, append->last_position, stored) &&
		memcmp(digest, stored, ES_DIGEST_BYTES) == 0)
		return;
	if (import_is_on_record(append->last_position, digest))
		return;
	ereport(ERROR,
			(errcode(ES_ERRCODE_DUPLICATE_EVENT_ID),
			 errmsg("duplicate event id"),
			 errdetail("Event id \"%s\" is stored at version %lld of stream \"%s\", position %lld, with other content.",
					   DatumGetCString(
						   DirectFunctionCall1(uuid_out, UUIDPGetDatum(&append->events[0].id))),
					   (long long) append->last_version, text_to_cstring(append->stream),
					   (long long) append->last_position),
			 errhint("What is stored stays as it is. An event that was redacted where it comes from is redacted here by es_redact().")));
}

/* Returns how many were stored already. */
static int64
import_check_stored(const EsAppend *appends, int append_count)
{
	MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "eventstore import",
												 ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(memory);
	ImportCheck check = {es_catalog_open(ES_EVENTS, AccessShareLock),
						 RegisterSnapshot(GetLatestSnapshot()), NULL};
	MemoryContext row = AllocSetContextCreate(memory, "eventstore row", ALLOCSET_DEFAULT_SIZES);
	int64 count = 0;
	int i;

	check.digester = es_digest_begin();
	MemoryContextSwitchTo(row);
	for (i = 0; i < append_count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!appends[i].is_stored)
			continue;
		import_check_same(&check, &appends[i]);
		MemoryContextReset(row);
		count++;
	}
	es_digest_end(check.digester);
	UnregisterSnapshot(check.snapshot);
	relation_close(check.events, NoLock);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(memory);
	return count;
}

/* ----------------------------------------------------------------------
 * The verb
 * ----------------------------------------------------------------------
 */

/* Error context: which of the events it is. */
static void
import_describe(void *arg)
{
	errcontext("event %d of the array", *(int *) arg);
}

/* The events of an array, an append each. */
static EsAppend *
import_read(Jsonb *lines, int *count)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue element;
	EsAppend *appends;
	EsEvent *events;
	int number = 0;
	ErrorContextCallback context = {.callback = import_describe, .arg = &number};

	if (!JB_ROOT_IS_ARRAY(lines) || JB_ROOT_IS_SCALAR(lines))
		es_event_malformed("events must be an array of objects");
	*count = (int) JB_ROOT_COUNT(lines);
	appends = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(EsAppend) * Max(*count, 1));
	events = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(EsEvent) * Max(*count, 1));

	context.previous = error_context_stack;
	error_context_stack = &context;
	it = JsonbIteratorInit(&lines->root);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		CHECK_FOR_INTERRUPTS();
		number++;
		if (element.type != jbvBinary || !JsonContainerIsObject(element.val.binary.data))
			es_event_malformed("event must be an object");
		es_line_read(&appends[number - 1], &events[number - 1], element.val.binary.data);
	}
	error_context_stack = context.previous;
	return appends;
}

/*
 * es_import(events jsonb) -> bigint
 */
Datum
es_import(PG_FUNCTION_ARGS)
{
	EsAppend *appends;
	int count;

	es_arguments_check_not_null(fcinfo, 0, "events");
	appends = import_read(PG_GETARG_JSONB_P(0), &count);
	if (count == 0)
		PG_RETURN_INT64(0);
	es_store_append(appends, count, "es_import()", NULL);
	PG_RETURN_INT64(count - import_check_stored(appends, count));
}
