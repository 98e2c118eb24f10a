/*-------------------------------------------------------------------------
 *
 * attach.c
 *		The verb es_attach_events.
 *
 * A table comes back that es_detach_events has let go, or its copy from a dump.
 * While it is in eventstore.detached_events nobody could change it, and it is what
 * left.  Of one that was dropped, or taken out of there, that is
 * not believed: each of its events has to have the
 * digest that was noted then, and none may be missing.  And it has to fit: what
 * follows in its streams must be there.  Then what was noted of the events is
 * taken back, and they are as they were.
 *
 * The table may be a foreign one, with the copy in an archive database: it is
 * looked at like any other, through its server, as the owner.  However slow that
 * is, no append waits for it: nothing is locked by then that one would want.
 *
 * Memory: the function call's context.  Locks: the userlocks "ranges",
 * Exclusive (after another server was asked), and "custody", Share, so that nothing is forgotten meanwhile;
 * AccessExclusive on the table, ShareRowExclusive where it is in
 * eventstore.detached_events and looked into; then AccessExclusive on all of them, tried for
 * moments: appends and readers go on until then.  Calls: arguments, barrier, catalog,
 * custody, ddl, depart, detach, make, ranges.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/ranges.h"
#include "keeping/as_owner.h"
#include "keeping/custody.h"
#include "keeping/depart.h"
#include "keeping/detach.h"
#include "order/floor.h"
#include "partition/ddl.h"
#include "partition/make.h"
#include "projection/barrier.h"

PG_FUNCTION_INFO_V1(es_attach_events);

/* Where it was, and how many events it had. */
typedef struct AttachPlace
{
	int64 from;
	int64 upto;
	bool is_noted;    /* what its events were; else it never left eventstore.detached_events */
	int64 events;     /* if it is */
	bool is_detached; /* it is in eventstore.detached_events */
	bool is_foreign;
} AttachPlace;

static void
attach_refuse(Oid table, const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" cannot be attached", get_rel_name(table)), errdetail("%s", detail),
			 errhint("%s", hint)));
}

/* Whether a table has the columns of another, one by one. */
static bool
attach_has_columns(Relation rel, Relation events)
{
	TupleDesc desc = RelationGetDescr(rel);
	TupleDesc wanted = RelationGetDescr(events);
	int i;

	for (i = 0; i < Natts_event; i++)
		if (i >= desc->natts || TupleDescAttr(desc, i)->attisdropped ||
			TupleDescAttr(desc, i)->atttypid != TupleDescAttr(wanted, i)->atttypid ||
			TupleDescAttr(desc, i)->attcollation != TupleDescAttr(wanted, i)->attcollation ||
			namestrcmp(&TupleDescAttr(desc, i)->attname,
					   NameStr(TupleDescAttr(wanted, i)->attname)) != 0)
			return false;
	return true;
}

static void
attach_check_table(Oid table, bool is_detached)
{
	Relation rel = try_relation_open(table,
									 is_detached ? ShareRowExclusiveLock : AccessExclusiveLock);
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);

	if (rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE), errmsg("table with OID %u does not exist", table)));
	if (RelationGetForm(rel)->relkind != RELKIND_RELATION && !es_ranges_is_remote(rel))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table", RelationGetRelationName(rel))));
	/* A crash would empty it, and nobody would be told. */
	if (RelationGetForm(rel)->relpersistence != RELPERSISTENCE_PERMANENT)
		attach_refuse(
			table, "It is unlogged, or temporary: a crash empties it.",
			"ALTER TABLE ... SET LOGGED makes an unlogged table one that a crash does not empty.");
	if (RelationGetForm(rel)->relispartition && !is_detached)
		attach_refuse(table, "It is a partition already.",
					  "eventstore.event_partitions shows those of the store.");
	if (!attach_has_columns(rel, events))
		attach_refuse(table, "It has not the columns of eventstore.events.",
					  "eventstore.archived_ranges shows what can be attached.");
	/* Else its triggers and what its indexes compute would run as others. */
	if (RelationGetForm(rel)->relowner != RelationGetForm(events)->relowner)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("table \"%s\" is not of the owner of \"%s.events\"",
						RelationGetRelationName(rel), ES_SCHEMA),
				 errhint("ALTER TABLE ... OWNER TO gives it to him, if it is to be trusted.")));
	relation_close(events, NoLock);
	relation_close(rel, NoLock);
}

/*
 * Run a query for a row of numbers; as the owner.  Returns false if there is none.
 *
 * numbers: receives the columns; nulls become 0.
 */
static bool
attach_ask(const char *query, int64 *numbers, int count)
{
	int level = NewGUCNestLevel();
	EsAsOwner before;
	bool is_found;
	int i;

	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	es_as_owner_begin(&before);
	SPI_connect();
	if (SPI_execute(query, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not run: %s", query);
	is_found = SPI_processed > 0;
	for (i = 0; is_found && i < count; i++)
	{
		bool is_null;
		Datum value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &is_null);

		numbers[i] = is_null ? 0 : DatumGetInt64(value);
	}
	SPI_finish();
	es_as_owner_end(&before);
	AtEOXact_GUC(false, level);
	return is_found;
}

/* Where a table was: by its positions; without any, by its name. */
static AttachPlace
attach_find_place(Oid table, bool is_detached)
{
	const char *query = psprintf(
		"SELECT a.from_position, a.upto_position, (a.events IS NOT NULL)::pg_catalog.int4::pg_catalog.int8, a.events FROM eventstore.archived_ranges a, "
		"(SELECT pg_catalog.min(position) AS low, pg_catalog.max(position) AS high FROM ONLY %s) t "
		"WHERE t.low OPERATOR(pg_catalog.>=) a.from_position AND t.high OPERATOR(pg_catalog.<) a.upto_position "
		"OR t.low IS NULL AND COALESCE(a.events, 0) OPERATOR(pg_catalog.=) 0 AND a.partition OPERATOR(pg_catalog.=) %s::pg_catalog.text",
		es_ddl_table(table), quote_literal_cstr(get_rel_name(table)));
	int64 numbers[4];
	AttachPlace place;

	if (!attach_ask(query, numbers, lengthof(numbers)))
		attach_refuse(table, "It is no range of events that was detached from this store.",
					  "eventstore.archived_ranges shows those that were.");
	place.from = numbers[0];
	place.upto = numbers[1];
	place.is_noted = numbers[2] > 0;
	place.events = numbers[3];
	place.is_detached = is_detached;
	place.is_foreign = get_rel_relkind(table) == RELKIND_FOREIGN_TABLE;
	/* Else its table is there, and this is another one. */
	if (!place.is_noted && !is_detached)
		attach_refuse(table, "The table that was detached is still there.",
					  "Attach that one; eventstore.archived_ranges says what it was called. "
					  "Or have it go first: ALTER TABLE eventstore.detached_events DETACH PARTITION.");
	return place;
}

/* Raise if somebody else was quicker. */
static void
attach_check_still_away(Oid table, const AttachPlace *place)
{
	int64 number;

	if (!attach_ask(psprintf("SELECT a.events FROM eventstore.archived_ranges a WHERE a.from_position OPERATOR(pg_catalog.=) %lld",
							 (long long) place->from),
					&number, 1))
		attach_refuse(table, "Its range has been attached meanwhile.",
					  "eventstore.event_partitions shows what the store has.");
}

/* Each event has to be what left, and none may be missing. */
static void
attach_check_events(Oid table, const AttachPlace *place)
{
	const char *name = es_ddl_table(table);
	int64 number;

	if (attach_ask(
			psprintf(
				"SELECT e.position FROM ONLY %s e WHERE NOT EXISTS (SELECT FROM eventstore.removed_events r "
				"WHERE r.position OPERATOR(pg_catalog.=) e.position AND r.id OPERATOR(pg_catalog.=) e.id AND r.digest OPERATOR(pg_catalog.=) "
				"eventstore.event_digest(ROW(e.position, e.stream, e.category, e.version, e.id, e.type, e.data, "
				"e.metadata, e.tags, e.recorded_at)::eventstore.event)) "
				"OR e.category OPERATOR(pg_catalog.<>) pg_catalog.split_part(e.stream, '-', 1) ORDER BY 1",
				name),
			&number, 1))
		attach_refuse(table,
					  psprintf("The event at position %lld is not the one that was detached.",
							   (long long) number),
					  "Only what has not been changed can come back.");
	(void) attach_ask(psprintf("SELECT pg_catalog.count(*) FROM ONLY %s", name), &number, 1);
	if (number != place->events)
		attach_refuse(table,
					  psprintf("It has %lld events, and %lld were detached.", (long long) number,
							   (long long) place->events),
					  "Only what has not been changed can come back.");
}

/* What follows in its streams has to be there: in itself, in the store, or nothing. */
static void
attach_check_versions(Oid table)
{
	const char *query = psprintf(
		"SELECT t.last FROM (SELECT e.stream, pg_catalog.max(e.version) AS last FROM ONLY %s e GROUP BY e.stream) t "
		"LEFT JOIN eventstore.streams s ON s.stream OPERATOR(pg_catalog.=) t.stream "
		"WHERE s.tombstoned OR s.version IS DISTINCT FROM t.last AND NOT EXISTS (SELECT FROM eventstore.events n "
		"WHERE n.stream OPERATOR(pg_catalog.=) t.stream AND n.version OPERATOR(pg_catalog.=) (t.last OPERATOR(pg_catalog.+) 1))",
		es_ddl_table(table));
	int64 version;

	if (attach_ask(query, &version, 1))
		attach_refuse(
			table,
			psprintf("What follows version %lld of one of its streams is not in the store: it is away, too, or was removed.",
					 (long long) version),
			"Attach later ranges first. What was truncated or deleted beyond a range keeps that range from coming back.");
}

/* Have what was noted be as before. */
static void
attach_take_back(Oid table, const AttachPlace *place)
{
	if (place->is_noted)
		es_ddl_run("DELETE FROM eventstore.removed_events r USING ONLY %s e "
				   "WHERE e.position OPERATOR(pg_catalog.=) r.position",
				   es_ddl_table(table));
}

/* Note what need not be asked of another server. */
static void
attach_note_foreign(Oid table, const AttachPlace *place)
{
	const char *name = es_ddl_table(table);

	es_ddl_run("DELETE FROM eventstore.foreign_ranges WHERE from_position OPERATOR(pg_catalog.=) %lld",
			   (long long) place->from);
	es_ddl_run(
		"INSERT INTO eventstore.foreign_ranges (from_position, upto_position, partition, events, "
		"lowest_id, highest_id, first_recorded_at, last_recorded_at, attached_at) "
		"SELECT a.from_position, a.upto_position, %s, a.events, (SELECT e.id FROM ONLY %s e ORDER BY e.id LIMIT 1), "
		"(SELECT e.id FROM ONLY %s e ORDER BY e.id DESC LIMIT 1), a.first_recorded_at, a.last_recorded_at, "
		"pg_catalog.clock_timestamp() FROM eventstore.archived_ranges a WHERE a.from_position OPERATOR(pg_catalog.=) %lld",
		quote_literal_cstr(get_rel_name(table)), name, name, (long long) place->from);
}

/* Have the table be like the others. */
static void
attach_make_like(Oid table, const AttachPlace *place)
{
	/* A dump may have been restored without them, or somebody dropped them; a foreign table's are the other server's. */
	if (!place->is_foreign)
		es_make_indexes(table);
	if (place->is_detached)
		return;
	es_ddl_protect(table);
}

static void
attach_at(Oid table, const AttachPlace *place)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	bool has_row_security = RelationGetForm(events)->relrowsecurity;

	relation_close(events, NoLock);
	attach_make_like(table, place);
	/* Who has looked among the events already, and looks among those that are gone next, would find an id in neither. */
	es_barrier_close(place->is_detached ? list_make2_oid(es_catalog_oid(ES_DETACHED), table) : NIL);
	if (place->is_detached)
		es_depart_take_out(table);
	es_ddl_attach("eventstore.events", table, place->from, place->upto);
	if (!place->is_foreign)
		es_ddl_run("ALTER TABLE ONLY %s %s ROW LEVEL SECURITY", es_ddl_table(table),
				   has_row_security ? "ENABLE" : "DISABLE");
	es_ddl_run("DELETE FROM eventstore.archived_ranges WHERE from_position OPERATOR(pg_catalog.=) %lld",
			   (long long) place->from);
	es_ddl_run("SELECT eventstore.reset_tallies()");
}

/*
 * es_attach_events("table" regclass) -> void
 */
Datum
es_attach_events(PG_FUNCTION_ARGS)
{
	AttachPlace place;
	EsRange range;
	bool is_detached;
	Oid table;

	es_arguments_check_not_null(fcinfo, 0, "table");
	table = PG_GETARG_OID(0);
	es_detach_check("es_attach_events()");
	/* Who wants a partition made does not wait for another server. */
	if (get_rel_relkind(table) != RELKIND_FOREIGN_TABLE)
		es_make_lock();
	es_floor_check_fed();
	(void) es_custody_settle(true);
	is_detached = es_depart_find(table, &range);
	attach_check_table(table, is_detached);
	place = attach_find_place(table, is_detached);
	if (place.is_noted)
		attach_check_events(table, &place);
	attach_check_versions(table);
	attach_take_back(table, &place);
	if (place.is_foreign)
	{
		attach_note_foreign(table, &place);
		es_make_lock();
		attach_check_still_away(table, &place);
	}
	attach_at(table, &place);
	PG_RETURN_VOID();
}
