/*-------------------------------------------------------------------------
 *
 * projection.c
 *		Definitions of projections, and how far they are.
 *
 * The rows of eventstore.projections, read by a scan and written by SQL that
 * runs as the store's owner.  They are always read under a snapshot of the
 * moment: a REPEATABLE READ transaction has to apply a projection that was
 * made after its snapshot, too.
 *
 * Whoever changes a projection or moves its checkpoint holds its lock to the
 * end of the transaction.  Appends that apply an inline one do not take it; for
 * them, see barrier.c.
 *
 * Memory: results in the current context.  Locks: AccessShare or RowExclusive
 * on the relations; the projection's own, a userlock.  Calls: catalog, checkpoint,
 * mark, names, omission, scan, shared, stale, transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/names.h"
#include "base/scan.h"
#include "base/userlock.h"
#include "order/transaction.h"
#include "projection/checkpoint.h"
#include "projection/mark.h"
#include "projection/omission.h"
#include "projection/projection.h"
#include "projection/stale.h"
#include "signal/shared.h"

PG_FUNCTION_INFO_V1(es_forget_projections);

/* Values of the column state, in the order of EsProjectionState, ... */
static const char *const projection_states[] = {"running", "paused", "failed"};

/* ... and of on_error, in that of EsOnError. */
static const char *const projection_on_error[] = {"fail", "stop", "skip"};

/* ----------------------------------------------------------------------
 * Reading
 * ----------------------------------------------------------------------
 */

static char *
projection_get_text(TupleTableSlot *slot, AttrNumber column)
{
	bool is_null;
	Datum value = slot_getattr(slot, column, &is_null);

	return TextDatumGetCString(value);
}

static bool
projection_has_text(TupleTableSlot *slot, AttrNumber column, const char *expected)
{
	return strcmp(projection_get_text(slot, column), expected) == 0;
}

static char *
projection_get_text_or_null(TupleTableSlot *slot, AttrNumber column)
{
	bool is_null;

	(void) slot_getattr(slot, column, &is_null);
	return is_null ? NULL : projection_get_text(slot, column);
}

/* A column of type jsonb, as text. */
static char *
projection_get_jsonb(TupleTableSlot *slot, AttrNumber column)
{
	bool is_null;
	Datum value = slot_getattr(slot, column, &is_null);

	return is_null ? NULL : DatumGetCString(DirectFunctionCall1(jsonb_out, value));
}

/* Elements of an array of text; count is 0 for null. */
static Datum *
projection_get_array(TupleTableSlot *slot, AttrNumber column, int *count, bool *is_null)
{
	Datum value = slot_getattr(slot, column, is_null);
	Datum *elements = NULL;
	bool *nulls;

	*count = 0;
	if (!*is_null)
		deconstruct_array(DatumGetArrayTypePCopy(value), TEXTOID, -1, false, TYPALIGN_INT,
						  &elements, &nulls, count);
	return elements;
}

static List *
projection_get_list(TupleTableSlot *slot, AttrNumber column)
{
	List *result = NIL;
	bool is_null;
	int count;
	Datum *elements = projection_get_array(slot, column, &count, &is_null);
	int i;

	for (i = 0; i < count; i++)
		result = lappend(result, TextDatumGetCString(elements[i]));
	return result;
}

static void
projection_get_filter(TupleTableSlot *slot, AttrNumber column, EsFilter *filter)
{
	bool is_null;
	Datum *elements = projection_get_array(slot, column, &filter->count, &is_null);
	int i;

	filter->is_on = !is_null;
	filter->names = palloc(sizeof(text *) * Max(filter->count, 1));
	for (i = 0; i < filter->count; i++)
		filter->names[i] = DatumGetTextPP(elements[i]);
}

/* One that has missed something has failed, whatever else it says. */
static void
projection_read_missed(EsProjection *projection)
{
	if (!projection->is_inline || projection->on_error != ES_ON_ERROR_STOP)
		return;
	projection->first_missed = es_omission_first(ES_OMISSION_MISSED, projection->name);
	if (projection->first_missed == 0 || projection->state != ES_PROJECTION_RUNNING)
		return;
	projection->notes_missed = true;
	projection->state = projection->saved_state = ES_PROJECTION_FAILED;
}

/* Where it has been since it was made. */
static void
projection_read_checkpoint(EsProjection *projection, Snapshot snapshot)
{
	EsCheckpoint checkpoint;

	if (!es_checkpoint_find(projection->name, snapshot, &checkpoint))
		return;
	projection->position = checkpoint.position;
	projection->events_applied = checkpoint.events_applied;
}

static EsProjection *
projection_read(TupleTableSlot *slot, Snapshot snapshot)
{
	EsProjection *projection = palloc0(sizeof(EsProjection));
	bool is_null;

	projection->name = projection_get_text(slot, Anum_projections_name);
	projection->owner = projection_get_text(slot, Anum_projections_owner);
	projection->query = projection_get_text(slot, Anum_projections_query);
	projection->is_inline = projection_has_text(slot, Anum_projections_mode, "inline");
	projection->is_declared = DatumGetBool(
		slot_getattr(slot, Anum_projections_is_declared, &is_null));
	projection->is_by_event = !projection->is_declared &&
		projection_has_text(slot, Anum_projections_granularity, "event");
	while (!projection_has_text(slot, Anum_projections_on_error,
								projection_on_error[projection->on_error]))
		projection->on_error++;
	projection->tables = projection_get_list(slot, Anum_projections_tables);
	projection->settings = projection_get_list(slot, Anum_projections_settings);
	projection->lookups = projection_get_list(slot, Anum_projections_lookups);
	projection->reducer = projection_get_text_or_null(slot, Anum_projections_reducer);
	projection->initial = projection_get_jsonb(slot, Anum_projections_initial);
	projection_get_filter(slot, Anum_projections_categories, &projection->categories);
	projection_get_filter(slot, Anum_projections_types, &projection->types);
	while (!projection_has_text(slot, Anum_projections_state, projection_states[projection->state]))
		projection->state++;
	projection->saved_state = projection->state;
	projection->role = es_mark_find(projection->name, projection->owner);
	projection->is_stale = es_stale_find(projection->name, NULL);
	projection->position = DatumGetInt64(slot_getattr(slot, Anum_projections_position, &is_null));
	projection->events_applied = DatumGetInt64(
		slot_getattr(slot, Anum_projections_events_applied, &is_null));
	projection_read_checkpoint(projection, snapshot);
	projection_read_missed(projection);
	return projection;
}

/*
 * All projections in the order of their names; or, if given, that of a name.
 *
 * seen_by: the snapshot to see them by.
 */
static List *
projection_scan(const char *name, Snapshot seen_by)
{
	Relation rel = es_catalog_open(ES_PROJECTIONS, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(seen_by);
	List *result = NIL;
	EsScan scan;

	/* The marks of what is found are looked up in caches. */
	AcceptInvalidationMessages();
	es_scan_open(&scan, rel, ES_PROJECTIONS_PKEY);
	if (name != NULL)
		es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(name));
	es_scan_begin(&scan, snapshot);
	while (es_scan_next(&scan, ForwardScanDirection))
		result = lappend(result, projection_read(scan.slot, snapshot));
	es_scan_close(&scan);
	UnregisterSnapshot(snapshot);
	relation_close(rel, NoLock);
	return result;
}

/* All projections, in the order of their names. */
List *
es_projection_list(void)
{
	return projection_scan(NULL, GetLatestSnapshot());
}

/* NULL: there is none of this name. */
EsProjection *
es_projection_find(const char *name)
{
	List *found = projection_scan(name, GetLatestSnapshot());

	return found == NIL ? NULL : linitial(found);
}

static EsProjection *
projection_require(EsProjection *projection, const char *name)
{
	if (projection == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("projection \"%s\" does not exist", name)));
	return projection;
}

/* Raises 42704 if there is none of this name. */
EsProjection *
es_projection_get(const char *name)
{
	return projection_require(es_projection_find(name), name);
}

/*
 * The same, as the next statement of this transaction will see it: above READ
 * COMMITTED that is not as it is now.
 */
EsProjection *
es_projection_get_visible(const char *name)
{
	Snapshot snapshot = IsolationUsesXactSnapshot() ? GetActiveSnapshot() : GetLatestSnapshot();
	List *found = projection_scan(name, snapshot);

	return projection_require(found == NIL ? NULL : linitial(found), name);
}

/* ----------------------------------------------------------------------
 * Lock and owner
 * ----------------------------------------------------------------------
 */

/* Two names with the same hash only wait for each other. */
static LOCKTAG
projection_tag(const char *name, EsUserlock kind)
{
	return es_userlock_tag(kind,
						   hash_bytes_extended((const unsigned char *) name, (int) strlen(name), 0));
}

/* Have a projection for oneself until the end of the transaction. */
void
es_projection_lock(const char *name)
{
	LOCKTAG tag = projection_tag(name, ES_USERLOCK_PROJECTION);

	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

/*
 * The opposite, where nothing was changed meanwhile.  Who would have applied it,
 * had it not been locked, is told to look again.
 */
void
es_projection_unlock(const char *name)
{
	LOCKTAG tag = projection_tag(name, ES_USERLOCK_PROJECTION);

	(void) LockRelease(&tag, ExclusiveLock, false);
	(void) es_shared_wake_worker();
}

/* Have it if nobody else has; returns whether it is so. */
bool
es_projection_try_lock(const char *name)
{
	LOCKTAG tag = projection_tag(name, ES_USERLOCK_PROJECTION);

	return LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

/*
 * Keep rebuilds of a projection out until the end of the transaction; by a
 * rebuild, and by who drops it.  Before the projection's lock.
 *
 * waits: until the rebuild that is there has ended.  Returns whether it is held.
 */
bool
es_projection_lock_rebuild(const char *name, bool waits)
{
	LOCKTAG tag = projection_tag(name, ES_USERLOCK_REBUILD);

	return LockAcquire(&tag, ExclusiveLock, false, !waits) != LOCKACQUIRE_NOT_AVAIL;
}

/*
 * Raise 42501 unless the current user owns the projection, or the store.
 */
void
es_projection_check_owner(const EsProjection *projection)
{
	Relation rel = es_catalog_open(ES_PROJECTIONS, AccessShareLock);
	Oid store_owner = rel->rd_rel->relowner;

	relation_close(rel, NoLock);
	if (has_privs_of_role(GetUserId(), store_owner) ||
		(OidIsValid(projection->role) && has_privs_of_role(GetUserId(), projection->role)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("must be owner of projection \"%s\"", projection->name)));
}

/* The owner of a projection.  Raises 42704 if it has none. */
Oid
es_projection_owner(const EsProjection *projection)
{
	if (!OidIsValid(projection->role))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("projection \"%s\" has no owner", projection->name),
				 errdetail(ES_MARK_LOST),
				 errhint("es_reassign_projection gives it one, es_drop_projection drops it.")));
	return projection->role;
}

/* ----------------------------------------------------------------------
 * Writing
 * ----------------------------------------------------------------------
 */

/* Values for a statement; all of them text, text[] or bigint. */
#define PROJECTION_MAX_VALUES 17

typedef struct ProjectionValues
{
	int count;
	Oid types[PROJECTION_MAX_VALUES];
	Datum values[PROJECTION_MAX_VALUES];
	char nulls[PROJECTION_MAX_VALUES];
} ProjectionValues;

static void
projection_add(ProjectionValues *values, Oid type, Datum value, bool is_null)
{
	values->types[values->count] = type;
	values->values[values->count] = value;
	values->nulls[values->count] = is_null ? 'n' : ' ';
	values->count++;
}

static void
projection_add_text(ProjectionValues *values, const char *value)
{
	projection_add(values, TEXTOID, value == NULL ? (Datum) 0 : CStringGetTextDatum(value),
				   value == NULL);
}

static void
projection_add_int8(ProjectionValues *values, int64 value)
{
	projection_add(values, INT8OID, Int64GetDatum(value), false);
}

static void
projection_add_array(ProjectionValues *values, Datum *elements, int count, bool is_null)
{
	ArrayType *array = construct_array(elements, count, TEXTOID, -1, false, TYPALIGN_INT);

	projection_add(values, TEXTARRAYOID, PointerGetDatum(array), is_null);
}

static void
projection_add_list(ProjectionValues *values, List *list)
{
	Datum *elements = palloc(sizeof(Datum) * Max(list_length(list), 1));
	ListCell *cell;

	foreach (cell, list)
		elements[foreach_current_index(cell)] = CStringGetTextDatum(lfirst(cell));
	projection_add_array(values, elements, list_length(list), false);
}

static void
projection_add_filter(ProjectionValues *values, const EsFilter *filter)
{
	Datum *elements = palloc(sizeof(Datum) * Max(filter->count, 1));
	int i;

	for (i = 0; i < filter->count; i++)
		elements[i] = PointerGetDatum(filter->names[i]);
	projection_add_array(values, elements, filter->count, !filter->is_on);
}

/*
 * Run a statement as the owner of the store.  Returns how many rows it has
 * written.
 */
static uint64
projection_execute(const char *sql, ProjectionValues *values)
{
	Relation rel = es_catalog_open(ES_PROJECTIONS, RowExclusiveLock);
	Oid user;
	int security;
	int level = NewGUCNestLevel();
	uint64 count;

	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(rel->rd_rel->relowner, security | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
	if (SPI_execute_with_args(sql, values->count, values->types, values->values, values->nulls,
							  false, 0) < 0)
		elog(ERROR, "could not execute \"%s\"", sql);
	count = SPI_processed;
	SPI_finish();
	SetUserIdAndSecContext(user, security);
	AtEOXact_GUC(false, level);
	relation_close(rel, NoLock);
	CommandCounterIncrement();
	return count;
}

/* Above READ COMMITTED nothing newer than the snapshot may be acted upon. */
static void
projection_has_moved(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to concurrent update")));
}

/* Run one that writes the projection's row, which was read with its lock. */
static void
projection_execute_one(const char *sql, ProjectionValues *values)
{
	if (projection_execute(sql, values) != 1)
		projection_has_moved();
}

/* Where a projection's definition is; invalid: there is none that the snapshot sees. */
static ItemPointerData
projection_place(const char *name, Snapshot seen_by)
{
	Relation rel = es_catalog_open(ES_PROJECTIONS, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(seen_by);
	ItemPointerData place;
	EsScan scan;

	ItemPointerSetInvalid(&place);
	es_scan_open(&scan, rel, ES_PROJECTIONS_PKEY);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(name));
	es_scan_begin(&scan, snapshot);
	if (es_scan_next(&scan, ForwardScanDirection))
		place = scan.slot->tts_tid;
	es_scan_close(&scan);
	UnregisterSnapshot(snapshot);
	relation_close(rel, NoLock);
	return place;
}

/*
 * Raise 40001 where a definition is not as this transaction sees it: its
 * checkpoint must not move then, either.
 */
static void
projection_check_seen(const char *name)
{
	ItemPointerData newest;
	ItemPointerData seen;
	SnapshotData snapshot;

	if (!IsolationUsesXactSnapshot())
		return;
	newest = projection_place(name, GetLatestSnapshot());
	seen = projection_place(name, es_scan_snapshot(&snapshot));
	if (!ItemPointerIsValid(&newest) || !ItemPointerEquals(&newest, &seen))
		projection_has_moved();
}

static void
projection_save_checkpoint(const EsProjection *projection)
{
	EsCheckpoint checkpoint = {projection->position, projection->events_applied};

	if (!es_checkpoint_save(projection->name, &checkpoint))
		projection_has_moved();
}

/* Store a new projection. */
void
es_projection_insert(const EsProjection *projection)
{
	ProjectionValues values = {0};

	projection_add_text(&values, projection->name);
	projection_add_text(&values, projection->owner);
	projection_add_text(&values, projection->is_inline ? "inline" : "async");
	projection_add_text(&values, projection->query);
	projection_add_text(&values, projection->is_declared ? "true" : "false");
	projection_add_list(&values, projection->tables);
	projection_add_filter(&values, &projection->categories);
	projection_add_filter(&values, &projection->types);
	projection_add_text(&values, projection_on_error[projection->on_error]);
	projection_add_list(&values, projection->settings);
	projection_add_text(&values, projection_states[projection->state]);
	projection_add_int8(&values, projection->position);
	projection_add_int8(&values, projection->events_applied);
	projection_add_list(&values, projection->lookups);
	projection_add_text(&values, projection->is_by_event ? "event" : "batch");
	projection_add_text(&values, projection->reducer);
	projection_add_text(&values, projection->initial);
	projection_execute_one(
		"INSERT INTO eventstore.projections "
		"(name, owner, mode, query, is_declared, tables, categories, types, on_error, "
		"settings, state, position, events_applied, lookups, granularity, reducer, initial) "
		"VALUES ($1, $2, $3, $4, $5::boolean, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17::jsonb)",
		&values);
	projection_save_checkpoint(projection);
	es_mark_make(projection->name, projection->role);
}

static void
projection_save_owner(const EsProjection *projection, const char *name)
{
	ProjectionValues values = {0};

	projection_add_text(&values, projection->name);
	projection_add_text(&values, name);
	projection_execute_one("UPDATE eventstore.projections SET owner = $2 WHERE name = $1", &values);
}

/* Give a projection, whose lock is held, to another role. */
void
es_projection_reassign(const EsProjection *projection, Oid owner)
{
	es_mark_make(projection->name, owner);
	projection_save_owner(projection, GetUserNameFromId(owner, false));
}

/* Note the owner's name, where it has another by now. */
static void
projection_note_owner(const EsProjection *projection)
{
	char *name = OidIsValid(projection->role) ? GetUserNameFromId(projection->role, true) : NULL;

	if (name != NULL && strcmp(name, projection->owner) != 0)
		projection_save_owner(projection, name);
}

/*
 * Save state, checkpoint and count of a projection, whose lock is held.
 *
 * error: noted, if there is one; else the last one stays.
 */
void
es_projection_save(const EsProjection *projection, const EsProjectionError *error)
{
	ProjectionValues values = {0};

	projection_check_seen(projection->name);
	projection_save_checkpoint(projection);
	projection_add_text(&values, projection->name);
	if (error != NULL)
	{
		projection_add_text(&values, error->message);
		projection_add_text(&values, unpack_sql_state(error->code));
		projection_add_int8(&values, error->position);
		projection_execute_one(
			"UPDATE eventstore.projections SET last_error = $2, last_error_code = $3, "
			"last_error_position = $4, last_error_at = clock_timestamp() WHERE name = $1",
			&values);
	}
	projection_note_owner(projection);
	/* Only if it is another: every session has to notice. */
	if (projection->state == projection->saved_state)
		return;
	values.count = 1;
	projection_add_text(&values, projection_states[projection->state]);
	projection_execute_one("UPDATE eventstore.projections SET state = $2 WHERE name = $1", &values);
}

/*
 * The error that has stopped an inline projection stays its last one, when the
 * notes of what it has missed go.
 */
static void
projection_keep_error(const char *name)
{
	ProjectionValues values = {0};

	projection_add_text(&values, name);
	(void)
		projection_execute("UPDATE eventstore.projections AS p SET last_error = m.error, "
						   "last_error_code = m.code, last_error_position = m.position, last_error_at = m.at "
						   "FROM (SELECT * FROM eventstore.projection_missed WHERE projection = $1 "
						   "AND code IS NOT NULL ORDER BY position LIMIT 1) AS m WHERE p.name = $1",
						   &values);
}

/*
 * Note that a projection, whose lock is held, is to go on without an event, with
 * the error that it has caused, if it was that.
 */
void
es_projection_skip(const EsProjection *projection, int64 position, const char *reason)
{
	ProjectionValues values = {0};

	projection_keep_error(projection->name);
	projection_add_text(&values, projection->name);
	projection_add_int8(&values, position);
	projection_add_text(&values, reason);
	projection_execute_one(
		"INSERT INTO eventstore.skipped_events (projection, position, code, error, reason, at) "
		"SELECT p.name, $2, COALESCE(m.code, CASE WHEN p.last_error_position = $2 THEN p.last_error_code END), "
		"COALESCE(m.error, CASE WHEN p.last_error_position = $2 THEN p.last_error END), $3, clock_timestamp() "
		"FROM eventstore.projections AS p LEFT JOIN eventstore.projection_missed AS m "
		"ON m.projection = p.name AND m.position = $2 WHERE p.name = $1",
		&values);
	values.count = 2;
	(void) projection_execute(
		"DELETE FROM eventstore.projection_missed WHERE projection = $1 AND position = $2", &values);
}

/* A projection has been applied to what it had missed, up to a position. */
void
es_projection_forget_missed(const char *name, int64 upto)
{
	ProjectionValues values = {0};

	projection_keep_error(name);
	projection_add_text(&values, name);
	projection_add_int8(&values, upto);
	(void) projection_execute(
		"DELETE FROM eventstore.projection_missed WHERE projection = $1 AND position <= $2",
		&values);
}

/* An event that a projection has missed can not be applied: it stays. */
void
es_projection_note_stop(const char *name, const EsProjectionError *error)
{
	ProjectionValues values = {0};

	projection_add_text(&values, name);
	projection_add_int8(&values, error->position);
	projection_add_text(&values, unpack_sql_state(error->code));
	projection_add_text(&values, error->message);
	(void) projection_execute("UPDATE eventstore.projection_missed SET code = $3, error = $4 "
							  "WHERE projection = $1 AND position = $2",
							  &values);
}

/* Forget a projection, whose lock is held. */
void
es_projection_delete(const char *name)
{
	ProjectionValues values = {0};

	projection_add_text(&values, name);
	(void) projection_execute("DELETE FROM eventstore.projection_appends WHERE projection = $1",
							  &values);
	(void) projection_execute("DELETE FROM eventstore.projection_checkpoints WHERE projection = $1",
							  &values);
	(void) projection_execute("DELETE FROM eventstore.intact_projections WHERE projection = $1",
							  &values);
	(void) projection_execute("DELETE FROM eventstore.stale_projections WHERE projection = $1",
							  &values);
	(void) projection_execute("DELETE FROM eventstore.skipped_events WHERE projection = $1",
							  &values);
	(void) projection_execute("DELETE FROM eventstore.projection_missed WHERE projection = $1",
							  &values);
	projection_execute_one("DELETE FROM eventstore.projections WHERE name = $1", &values);
	es_mark_drop(name);
}

/* Raise SE006 with the error that a projection has met at a stored event. */
void
es_projection_raise(const EsProjection *projection, const EsProjectionError *error)
{
	ereport(ERROR,
			(errcode(ES_ERRCODE_PROJECTION_FAILED),
			 errmsg("projection \"%s\" failed", projection->name),
			 errdetail("Projection \"%s\", position %lld: %s: %s", projection->name,
					   (long long) error->position, unpack_sql_state(error->code), error->message),
			 errhint("Mend the projection's SQL or tables, or leave the event out: es_skip_event(%s, %lld).",
					 quote_literal_cstr(projection->name), (long long) error->position)));
}

/* Tell that a projection has stopped at an event, or gone on without it. */
void
es_projection_warn(const EsProjection *projection, const EsProjectionError *error)
{
	const char *name = quote_literal_cstr(projection->name);

	ereport(WARNING,
			(errmsg("projection \"%s\" failed at position %lld: %s", projection->name,
					(long long) error->position, error->message),
			 projection->state == ES_PROJECTION_FAILED
				 ? errhint("It has stopped. es_resume_projection(%s) tries again, es_skip_event(%s, %lld) leaves the event out.",
						   name, name, (long long) error->position)
				 : errhint("It goes on without this event; see eventstore.skipped_events.")));
}

/*
 * Trigger on eventstore.projections: every session has to read it anew.
 */
Datum
es_forget_projections(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager", "forget_projections")));
	CacheInvalidateRelcache(trigger->tg_relation);
	es_transaction_change_projection();
	return PointerGetDatum(NULL);
}

/* ----------------------------------------------------------------------
 * Filters
 * ----------------------------------------------------------------------
 */

/* Whether a filter lets a name pass. */
bool
es_projection_has_name(const EsFilter *filter, const text *name)
{
	int i;

	if (!filter->is_on)
		return true;
	for (i = 0; i < filter->count; i++)
		if (es_names_equal(filter->names[i], name))
			return true;
	return false;
}
