/*-------------------------------------------------------------------------
 *
 * statetable.c
 *		The table of a state projection.
 *
 * It has a row for each stream: the state, and which event was the last that it
 * counts in.  What is stored is read by direct scans of its key, as it is at the
 * moment, at every isolation level: who applies the projection has the stream's
 * row locked (append), or the projection.  Rows are written in the order of
 * their keys, by SQL, so that a table's triggers, constraints and indexes are
 * what they are for everybody; a single row where it stands, which spares looking
 * for it again.
 *
 * The table is looked up by name each time, as the current user, whom the
 * projection runs as.
 *
 * Plans are saved, and live as long as the memory context of their EsStateTable.
 *
 * Memory: the current context.  Locks: AccessShare on the table and its key, and
 * what the statements take.  Calls: reducer, scan.  Triggers of the table run
 * here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/queryenvironment.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "base/compat.h"
#include "projection/statetable.h"

/* Room for the next version of a row on its page. */
#define STATETABLE_FILLFACTOR 80

/* What that takes, in bytes, as a guess: where it is more, PostgreSQL notes that the page is full. */
#define STATETABLE_ROOM 256

static const struct
{
	const char *name;
	Oid type;
	const char *definition;
} statetable_columns[] = {[ES_STATE_STREAM] = {"stream", TEXTOID,
											   "pg_catalog.text COLLATE pg_catalog.\"C\""},
						  [ES_STATE_VERSION] = {"version", INT8OID, "pg_catalog.int8 NOT NULL"},
						  [ES_STATE_STATE] = {"state", JSONBOID, "pg_catalog.jsonb"},
						  [ES_STATE_RECORDED_AT] = {"recorded_at", TIMESTAMPTZOID,
													"pg_catalog.timestamptz NOT NULL"}};

/* ----------------------------------------------------------------------
 * The table
 * ----------------------------------------------------------------------
 */

/* CREATE TABLE. */
char *
es_statetable_create(const char *table)
{
	StringInfoData sql;
	int i;

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE TABLE %s (", table);
	for (i = 0; i < ES_STATE_COLUMNS; i++)
		appendStringInfo(&sql, "%s %s, ", statetable_columns[i].name,
						 statetable_columns[i].definition);
	appendStringInfo(&sql, "PRIMARY KEY (stream)) WITH (fillfactor = %d)", STATETABLE_FILLFACTOR);
	return sql.data;
}

/*
 * The statement that writes a row where it stands: an append by one event would
 * have to look the key up for a second time.
 */
static char *
statetable_place_sql(const EsStateTable *table)
{
	return psprintf("UPDATE ONLY %s SET version = $2, state = $3, recorded_at = $4 "
					"WHERE ctid OPERATOR(pg_catalog.=) $5 AND stream OPERATOR(pg_catalog.=) $1",
					table->name);
}

/* The one that writes rows, there or not. */
static char *
statetable_write_sql(const EsStateTable *table, const char *rows)
{
	return psprintf(
		"INSERT INTO %s (stream, version, state, recorded_at) %s ON CONFLICT (stream) DO UPDATE "
		"SET version = excluded.version, state = excluded.state, recorded_at = excluded.recorded_at",
		table->name, rows);
}

/* Whether it is one of the columns that are not its owner's. */
bool
es_statetable_has_column(const char *column)
{
	int i;

	for (i = 0; i < ES_STATE_COLUMNS; i++)
		if (strcmp(statetable_columns[i].name, column) == 0)
			return true;
	return false;
}

/*
 * What somebody has taken away from a table, as the message of an error; NULL:
 * nothing.
 */
char *
es_statetable_missing(Oid table)
{
	int i;

	for (i = 0; i < ES_STATE_COLUMNS; i++)
	{
		AttrNumber column = get_attnum(table, statetable_columns[i].name);

		if (column == InvalidAttrNumber)
			return psprintf("column \"%s\" of the read table is gone", statetable_columns[i].name);
		if (get_atttype(table, column) != statetable_columns[i].type)
			return psprintf("column \"%s\" of the read table is not of type %s any more",
							statetable_columns[i].name, format_type_be(statetable_columns[i].type));
	}
	return NULL;
}

/* Find the columns; raises if they are not what they were. */
static void
statetable_find_columns(Relation rel, AttrNumber *columns)
{
	TupleDesc desc = RelationGetDescr(rel);
	int found = 0;
	int i;
	int j;

	for (i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);

		for (j = 0; j < ES_STATE_COLUMNS; j++)
		{
			if (column->attisdropped || column->atttypid != statetable_columns[j].type ||
				strcmp(NameStr(column->attname), statetable_columns[j].name) != 0)
				continue;
			columns[j] = column->attnum;
			found++;
		}
	}
	if (found < ES_STATE_COLUMNS)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("%s", es_statetable_missing(RelationGetRelid(rel)))));
}

/* ----------------------------------------------------------------------
 * Making
 * ----------------------------------------------------------------------
 */

/* The memory context goes: so do the plans, which are in contexts of their own. */
static void
statetable_free_plans(void *context)
{
	EsStateTable *table = context;

	if (table->place != NULL)
		SPI_freeplan(table->place);
	if (table->one != NULL)
		SPI_freeplan(table->one);
	if (table->many != NULL)
		SPI_freeplan(table->many);
}

/* A table, to be read and written once es_statetable_use has said which. */
EsStateTable *
es_statetable_make(void)
{
	EsStateTable *table = palloc0(sizeof(EsStateTable));
	int i;

	table->desc = CreateTemplateTupleDesc(ES_STATE_COLUMNS);
	for (i = 0; i < ES_STATE_COLUMNS; i++)
		TupleDescInitEntry(table->desc, (AttrNumber) (i + 1), statetable_columns[i].name,
						   statetable_columns[i].type, -1, 0);
	table->on_reset.func = statetable_free_plans;
	table->on_reset.arg = table;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &table->on_reset);
	return table;
}

/*
 * Say which table it is, before it is written.
 *
 * name: qualified, as it is written in SQL.  copy: its OID, if it is a copy;
 * else it is looked up by name.
 */
void
es_statetable_use(EsStateTable *table, const char *name, Oid copy)
{
	table->name = name;
	table->names = es_compat_name_list(name);
	table->copy = copy;
}

/* ----------------------------------------------------------------------
 * Reading
 * ----------------------------------------------------------------------
 */

/* By its name, not as a name in SQL: the owner may have no right on the schema. */
static Relation
statetable_open(const EsStateTable *named)
{
	Oid table = named->copy;
	Relation rel;

	if (!OidIsValid(table))
	{
		Oid schema = get_namespace_oid(strVal(linitial(named->names)), true);

		if (OidIsValid(schema))
			table = get_relname_relid(strVal(lsecond(named->names)), schema);
	}
	rel = OidIsValid(table) ? try_relation_open(table, AccessShareLock) : NULL;
	if (rel == NULL || rel->rd_rel->relkind != RELKIND_RELATION)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table %s is gone", named->name)));
	/* Another one may have come to the name. */
	if (pg_class_aclcheck(table, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, RelationGetRelationName(rel));
	return rel;
}

/* The index of the key, by which rows are found. */
static Oid
statetable_key(Relation rel, AttrNumber stream)
{
	Oid index = es_compat_primary_key(rel);
	bool is_key = false;

	if (OidIsValid(index))
	{
		Relation key = index_open(index, AccessShareLock);

		is_key = key->rd_index->indnkeyatts == 1 && key->rd_index->indkey.values[0] == stream &&
			key->rd_indcollation[0] == C_COLLATION_OID;
		relation_close(key, NoLock);
	}
	if (!is_key)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the primary key of table %s, on column \"stream\", is gone",
						RelationGetRelationName(rel))));
	return index;
}

/* Open the table, to see it as it is at the moment. */
static void
statetable_begin_reading(EsStateTable *table, EsStateReader *reader)
{
	reader->rel = statetable_open(table);
	statetable_find_columns(reader->rel, reader->columns);
	es_scan_open_foreign(&reader->scan, reader->rel,
						 statetable_key(reader->rel, reader->columns[ES_STATE_STREAM]));
	reader->snapshot = RegisterSnapshot(GetLatestSnapshot());
}

/* Be done with reading, before something is written. */
void
es_statetable_end_reading(EsStateReader *reader)
{
	if (reader->rel == NULL)
		return;
	es_scan_close(&reader->scan);
	UnregisterSnapshot(reader->snapshot);
	relation_close(reader->rel, NoLock);
	reader->rel = NULL;
}

/* Find the row of a stream, which is then in the scan's slot. */
static bool
statetable_seek(EsStateTable *table, EsStateReader *reader, Datum stream)
{
	if (reader->rel == NULL)
		statetable_begin_reading(table, reader);
	if (reader->scan.desc != NULL)
		es_scan_jump(&reader->scan, 0, stream);
	else
	{
		es_scan_add_key(&reader->scan, 1, BTEqualStrategyNumber, F_TEXTEQ, stream);
		es_scan_begin(&reader->scan, reader->snapshot);
	}
	return es_scan_next_to_update(&reader->scan, STATETABLE_ROOM);
}

/*
 * Find what is stored of a stream, and where.
 *
 * state, is_null: receive the state, valid until the next one is read.
 *
 * Returns false if there is nothing.
 */
bool
es_statetable_read(EsStateTable *table, EsStateReader *reader, EsStateRow *row, Datum *state,
				   bool *is_null)
{
	if (!statetable_seek(table, reader, PointerGetDatum(row->stream)))
	{
		ItemPointerSetInvalid(&row->place);
		return false;
	}
	*state = slot_getattr(reader->scan.slot, reader->columns[ES_STATE_STATE], is_null);
	row->place = reader->scan.slot->tts_tid;
	return true;
}

/* ----------------------------------------------------------------------
 * Writing
 * ----------------------------------------------------------------------
 */

static void
statetable_fill(const EsStateRow *row, Datum *values, bool *nulls)
{
	values[ES_STATE_STREAM] = PointerGetDatum(row->stream);
	values[ES_STATE_VERSION] = Int64GetDatum(row->version);
	values[ES_STATE_STATE] = row->folded.state;
	values[ES_STATE_RECORDED_AT] = TimestampTzGetDatum(row->recorded_at);
	memset(nulls, 0, sizeof(bool) * ES_STATE_COLUMNS);
	nulls[ES_STATE_STATE] = row->folded.is_null;
}

static SPIPlanPtr
statetable_prepare(const char *sql, Oid *types, int count)
{
	SPIPlanPtr plan = SPI_prepare_cursor(sql, count, types, CURSOR_OPT_GENERIC_PLAN);

	if (plan == NULL)
		elog(ERROR, "could not prepare a projection: %s", SPI_result_code_string(SPI_result));
	SPI_keepplan(plan);
	return plan;
}

/* Returns whether it has written something. */
static bool
statetable_execute(SPIPlanPtr plan, Datum *values, const char *nulls)
{
	int result = SPI_execute_plan(plan, values, nulls, false, 0);

	if (result < 0)
		elog(ERROR, "could not execute a projection: %s", SPI_result_code_string(result));
	/* The next batch of this transaction reads what this one has written. */
	CommandCounterIncrement();
	return SPI_processed > 0;
}

static void
statetable_write_one(EsStateTable *table, const EsStateRow *row)
{
	Oid types[ES_STATE_COLUMNS + 1];
	Datum values[ES_STATE_COLUMNS + 1];
	bool nulls[ES_STATE_COLUMNS];
	char marks[ES_STATE_COLUMNS + 1];
	int i;

	statetable_fill(row, values, nulls);
	for (i = 0; i < ES_STATE_COLUMNS; i++)
	{
		types[i] = statetable_columns[i].type;
		marks[i] = nulls[i] ? 'n' : ' ';
	}
	types[i] = TIDOID;
	values[i] = PointerGetDatum(&row->place);
	marks[i] = ' ';
	if (table->place == NULL)
		table->place = statetable_prepare(statetable_place_sql(table), types, ES_STATE_COLUMNS + 1);
	/* Somebody else may have moved it. */
	if (ItemPointerIsValid(&row->place) && statetable_execute(table->place, values, marks))
		return;
	if (table->one == NULL)
		table->one = statetable_prepare(statetable_write_sql(table, "VALUES ($1, $2, $3, $4)"),
										types, ES_STATE_COLUMNS);
	(void) statetable_execute(table->one, values, marks);
}

static void
statetable_write_many(EsStateTable *table, EsStateRow *const *rows, int count)
{
	EphemeralNamedRelation relation = palloc0(sizeof(EphemeralNamedRelationData));
	Tuplestorestate *store = tuplestore_begin_heap(false, false, work_mem);
	int i;

	for (i = 0; i < count; i++)
	{
		Datum values[ES_STATE_COLUMNS];
		bool nulls[ES_STATE_COLUMNS];

		statetable_fill(rows[i], values, nulls);
		tuplestore_putvalues(store, table->desc, values, nulls);
	}
	relation->md.name = "states";
	relation->md.tupdesc = table->desc;
	relation->md.enrtype = ENR_NAMED_TUPLESTORE;
	relation->md.enrtuples = count;
	relation->reldata = store;
	if (SPI_register_relation(relation) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register relation \"states\"");
	if (table->many == NULL)
		table->many = statetable_prepare(
			statetable_write_sql(table, "SELECT stream, version, state, recorded_at FROM states"),
			NULL, 0);
	(void) statetable_execute(table->many, NULL, NULL);
	(void) SPI_unregister_relation("states");
	tuplestore_end(store);
}

/* Write rows, of which there is at least one, in the order of their keys.  SPI is connected. */
void
es_statetable_write(EsStateTable *table, EsStateRow *const *rows, int count)
{
	if (count == 1)
		statetable_write_one(table, rows[0]);
	else
		statetable_write_many(table, rows, count);
}
