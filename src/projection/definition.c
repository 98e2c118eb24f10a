/*-------------------------------------------------------------------------
 *
 * definition.c
 *		Writes what eventstore.projections, and the tables around it, say of one.
 *
 * By SQL that runs as the store's owner.  Who calls holds the projection's lock
 * to the end of the transaction (projection.c), and has read the row under it.
 * Above READ COMMITTED a row that is newer than the transaction's snapshot
 * raises 40001: nothing that it does not see may be acted upon.
 *
 * Memory: the current context.  Locks: RowExclusive on the relations.  Calls:
 * catalog, checkpoint, mark, projection, scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/catalog.h"
#include "base/scan.h"
#include "projection/checkpoint.h"
#include "projection/definition.h"
#include "projection/mark.h"

/* Values for a statement; all of them text, text[] or bigint. */
#define DEFINITION_MAX_VALUES 17

typedef struct DefinitionValues
{
	int count;
	Oid types[DEFINITION_MAX_VALUES];
	Datum values[DEFINITION_MAX_VALUES];
	char nulls[DEFINITION_MAX_VALUES];
} DefinitionValues;

static void
definition_add(DefinitionValues *values, Oid type, Datum value, bool is_null)
{
	values->types[values->count] = type;
	values->values[values->count] = value;
	values->nulls[values->count] = is_null ? 'n' : ' ';
	values->count++;
}

static void
definition_add_text(DefinitionValues *values, const char *value)
{
	definition_add(values, TEXTOID, value == NULL ? (Datum) 0 : CStringGetTextDatum(value),
				   value == NULL);
}

static void
definition_add_int8(DefinitionValues *values, int64 value)
{
	definition_add(values, INT8OID, Int64GetDatum(value), false);
}

static void
definition_add_array(DefinitionValues *values, Datum *elements, int count, bool is_null)
{
	ArrayType *array = construct_array(elements, count, TEXTOID, -1, false, TYPALIGN_INT);

	definition_add(values, TEXTARRAYOID, PointerGetDatum(array), is_null);
}

static void
definition_add_list(DefinitionValues *values, List *list)
{
	Datum *elements = palloc(sizeof(Datum) * Max(list_length(list), 1));
	ListCell *cell;

	foreach (cell, list)
		elements[foreach_current_index(cell)] = CStringGetTextDatum(lfirst(cell));
	definition_add_array(values, elements, list_length(list), false);
}

static void
definition_add_filter(DefinitionValues *values, const EsFilter *filter)
{
	Datum *elements = palloc(sizeof(Datum) * Max(filter->count, 1));
	int i;

	for (i = 0; i < filter->count; i++)
		elements[i] = PointerGetDatum(filter->names[i]);
	definition_add_array(values, elements, filter->count, !filter->is_on);
}

/*
 * Run a statement as the owner of the store.  Returns how many rows it has
 * written.
 */
static uint64
definition_execute(const char *sql, DefinitionValues *values)
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
definition_raise_moved(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to concurrent update")));
}

/* Run one that writes the projection's row, which was read with its lock. */
static void
definition_execute_one(const char *sql, DefinitionValues *values)
{
	if (definition_execute(sql, values) != 1)
		definition_raise_moved();
}

/* Where a projection's definition is; invalid: there is none that the snapshot sees. */
static ItemPointerData
definition_place(const char *name, Snapshot seen_by)
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
definition_check_seen(const char *name)
{
	ItemPointerData newest;
	ItemPointerData seen;
	SnapshotData snapshot;

	if (!IsolationUsesXactSnapshot())
		return;
	newest = definition_place(name, GetLatestSnapshot());
	seen = definition_place(name, es_scan_snapshot(&snapshot));
	if (!ItemPointerIsValid(&newest) || !ItemPointerEquals(&newest, &seen))
		definition_raise_moved();
}

static void
definition_save_checkpoint(const EsProjection *projection)
{
	EsCheckpoint checkpoint = {projection->position, projection->events_applied};

	if (!es_checkpoint_save(projection->name, &checkpoint))
		definition_raise_moved();
}

/* Store a new projection. */
void
es_definition_insert(const EsProjection *projection)
{
	DefinitionValues values = {0};

	definition_add_text(&values, projection->name);
	definition_add_text(&values, projection->owner);
	definition_add_text(&values, projection->is_inline ? "inline" : "async");
	definition_add_text(&values, projection->query);
	definition_add_text(&values, projection->is_declared ? "true" : "false");
	definition_add_list(&values, projection->tables);
	definition_add_filter(&values, &projection->categories);
	definition_add_filter(&values, &projection->types);
	definition_add_text(&values, es_projection_on_error[projection->on_error]);
	definition_add_list(&values, projection->settings);
	definition_add_text(&values, es_projection_states[projection->state]);
	definition_add_int8(&values, projection->position);
	definition_add_int8(&values, projection->events_applied);
	definition_add_list(&values, projection->lookups);
	definition_add_text(&values, projection->is_by_event ? "event" : "batch");
	definition_add_text(&values, projection->reducer);
	definition_add_text(&values, projection->initial);
	definition_execute_one(
		"INSERT INTO eventstore.projections "
		"(name, owner, mode, query, is_declared, tables, categories, types, on_error, "
		"settings, state, position, events_applied, lookups, granularity, reducer, initial) "
		"VALUES ($1, $2, $3, $4, $5::boolean, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17::jsonb)",
		&values);
	definition_save_checkpoint(projection);
	es_mark_make(projection->name, projection->role);
}

static void
definition_save_owner(const EsProjection *projection, const char *name)
{
	DefinitionValues values = {0};

	definition_add_text(&values, projection->name);
	definition_add_text(&values, name);
	definition_execute_one("UPDATE eventstore.projections SET owner = $2 WHERE name = $1", &values);
}

/* Give a projection, whose lock is held, to another role. */
void
es_definition_reassign(const EsProjection *projection, Oid owner)
{
	es_mark_make(projection->name, owner);
	definition_save_owner(projection, GetUserNameFromId(owner, false));
}

/* Note the owner's name, where it has another by now. */
static void
definition_note_owner(const EsProjection *projection)
{
	char *name = OidIsValid(projection->role) ? GetUserNameFromId(projection->role, true) : NULL;

	if (name != NULL && strcmp(name, projection->owner) != 0)
		definition_save_owner(projection, name);
}

/*
 * Save state, checkpoint and count of a projection, whose lock is held.
 *
 * error: noted, if there is one; else the last one stays.
 */
void
es_definition_save(const EsProjection *projection, const EsProjectionError *error)
{
	DefinitionValues values = {0};

	definition_check_seen(projection->name);
	definition_save_checkpoint(projection);
	definition_add_text(&values, projection->name);
	if (error != NULL)
	{
		definition_add_text(&values, error->message);
		definition_add_text(&values, unpack_sql_state(error->code));
		definition_add_int8(&values, error->position);
		definition_execute_one(
			"UPDATE eventstore.projections SET last_error = $2, last_error_code = $3, "
			"last_error_position = $4, last_error_at = clock_timestamp() WHERE name = $1",
			&values);
	}
	definition_note_owner(projection);
	/* Only if it is another: every session has to notice. */
	if (projection->state == projection->saved_state)
		return;
	values.count = 1;
	definition_add_text(&values, es_projection_states[projection->state]);
	definition_execute_one("UPDATE eventstore.projections SET state = $2 WHERE name = $1", &values);
}

/*
 * The error that has stopped an inline projection stays its last one, when the
 * notes of what it has missed go.
 */
static void
definition_keep_error(const char *name)
{
	DefinitionValues values = {0};

	definition_add_text(&values, name);
	(void)
		definition_execute("UPDATE eventstore.projections AS p SET last_error = m.error, "
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
es_definition_skip(const EsProjection *projection, int64 position, const char *reason)
{
	DefinitionValues values = {0};

	definition_keep_error(projection->name);
	definition_add_text(&values, projection->name);
	definition_add_int8(&values, position);
	definition_add_text(&values, reason);
	definition_execute_one(
		"INSERT INTO eventstore.skipped_events (projection, position, code, error, reason, at) "
		"SELECT p.name, $2, COALESCE(m.code, CASE WHEN p.last_error_position = $2 THEN p.last_error_code END), "
		"COALESCE(m.error, CASE WHEN p.last_error_position = $2 THEN p.last_error END), $3, clock_timestamp() "
		"FROM eventstore.projections AS p LEFT JOIN eventstore.projection_missed AS m "
		"ON m.projection = p.name AND m.position = $2 WHERE p.name = $1",
		&values);
	values.count = 2;
	(void) definition_execute(
		"DELETE FROM eventstore.projection_missed WHERE projection = $1 AND position = $2", &values);
}

/* A projection has been applied to what it had missed after a position, and up to another. */
void
es_definition_forget_missed(const char *name, int64 after, int64 upto)
{
	DefinitionValues values = {0};

	definition_keep_error(name);
	definition_add_text(&values, name);
	definition_add_int8(&values, after);
	definition_add_int8(&values, upto);
	(void) definition_execute(
		"DELETE FROM eventstore.projection_missed WHERE projection = $1 AND position > $2 AND position <= $3",
		&values);
}

/* An event that a projection has missed can not be applied: it stays. */
void
es_definition_note_stop(const char *name, const EsProjectionError *error)
{
	DefinitionValues values = {0};

	definition_add_text(&values, name);
	definition_add_int8(&values, error->position);
	definition_add_text(&values, unpack_sql_state(error->code));
	definition_add_text(&values, error->message);
	(void) definition_execute("UPDATE eventstore.projection_missed SET code = $3, error = $4 "
							  "WHERE projection = $1 AND position = $2",
							  &values);
}

/* Forget a projection, whose lock is held. */
void
es_definition_delete(const char *name)
{
	DefinitionValues values = {0};

	definition_add_text(&values, name);
	(void) definition_execute("DELETE FROM eventstore.projection_appends WHERE projection = $1",
							  &values);
	(void) definition_execute("DELETE FROM eventstore.projection_checkpoints WHERE projection = $1",
							  &values);
	(void) definition_execute("DELETE FROM eventstore.intact_projections WHERE projection = $1",
							  &values);
	(void) definition_execute("DELETE FROM eventstore.stale_projections WHERE projection = $1",
							  &values);
	(void) definition_execute("DELETE FROM eventstore.skipped_events WHERE projection = $1",
							  &values);
	(void) definition_execute("DELETE FROM eventstore.projection_missed WHERE projection = $1",
							  &values);
	definition_execute_one("DELETE FROM eventstore.projections WHERE name = $1", &values);
	es_mark_drop(name);
}
