/*-------------------------------------------------------------------------
 *
 * declare.c
 *		The SQL that makes and keeps a declared table.
 *
 * One statement applies a batch: it groups the batch's rows (batch.c), and
 * merges each group into what is stored (merge.c), in the order of the keys, so
 * that appends which touch the same rows lock them in one order.
 *
 * Where every output column is a key or an aggregate that merges with itself,
 * the read table is all there is:
 *
 *	 INSERT INTO read SELECT keys, aggregates FROM rows GROUP BY keys
 *	 ORDER BY keys ON CONFLICT (keys) DO UPDATE SET ...
 *
 * Otherwise (averages, expressions of aggregates, values by position) a state
 * table beside it holds the parts, and the statement goes on from there:
 *
 *	 WITH merged AS (INSERT INTO state ... RETURNING ...)
 *	 INSERT INTO read SELECT output FROM merged ... ON CONFLICT ...
 *
 * Who holds a row of the state table has the row of the read table for
 * himself, too.  For each count(DISTINCT) there is a table of its values, a set.
 *
 * A key is the primary key of all of them, or, where it can be null, unique with
 * nulls that are not distinct.
 *
 * Every name of ours is qualified, operators too: the statements run with the
 * search_path of who made the projection.
 *
 * Memory: results in the current context.  Locks: none.  Calls: batch, callable,
 * merge.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "projection/declared/batch.h"
#include "projection/declared/callable.h"
#include "projection/declared/declare.h"
#include "projection/declared/merge.h"

/* Nothing that an update changes is indexed: it should be HOT. */
#define DECLARE_FILLFACTOR 80

/* Whether partial aggregates have to be stored beside the read table. */
static bool
declare_needs_state(const EsAnalysis *analysis)
{
	int i;

	for (i = 0; i < analysis->column_count; i++)
		if (analysis->columns[i].key == 0 && analysis->columns[i].part == 0)
			return true;
	for (i = 0; i < analysis->part_count; i++)
		if (es_batch_has_position(&analysis->parts[i]))
			return true;
	return false;
}

/* ----------------------------------------------------------------------
 * Tables
 * ----------------------------------------------------------------------
 */

/* How many tables there are beside the read table: one for the state, then the sets. */
int
es_declare_side_count(const EsAnalysis *analysis)
{
	int count = declare_needs_state(analysis) ? 1 : 0;
	int i;

	for (i = 0; i < analysis->part_count; i++)
		if (analysis->parts[i].kind == ES_PART_DISTINCT)
			count++;
	return count;
}

/* What the name of a table beside the read table ends with; number: from 0. */
const char *
es_declare_side_label(const EsAnalysis *analysis, int number)
{
	return number == 0 && declare_needs_state(analysis) ? "state" : "values";
}

static void
declare_add_type(StringInfo sql, Oid type, int32 typmod, Oid collation)
{
	appendStringInfoString(sql,
						   format_type_extended(type, typmod,
												FORMAT_TYPE_TYPEMOD_GIVEN |
													FORMAT_TYPE_FORCE_QUALIFY));
	if (OidIsValid(collation) && OidIsValid(get_typcollation(type)))
		appendStringInfo(sql, " COLLATE %s", es_callable_collation(collation));
}

static void
declare_add_column(StringInfo sql, const char *name, Oid type, int32 typmod, Oid collation)
{
	appendStringInfo(sql, "%s ", name);
	declare_add_type(sql, type, typmod, collation);
	appendStringInfoString(sql, ", ");
}

/* A column's type, as DDL has it. */
char *
es_declare_type(const EsColumn *column)
{
	StringInfoData sql;

	initStringInfo(&sql);
	declare_add_type(&sql, column->type, column->typmod, column->collation);
	return sql.data;
}

/* The constraint of the key, which columns make. */
static char *
declare_key(const EsAnalysis *analysis, const char *columns)
{
	return psprintf("%s (%s)",
					analysis->has_nullable_key ? "UNIQUE NULLS NOT DISTINCT" : "PRIMARY KEY",
					columns);
}

/* The constraint, and what ends a CREATE TABLE. */
static void
declare_add_key(StringInfo sql, const EsAnalysis *analysis, const char *columns)
{
	appendStringInfo(sql, "%s) WITH (fillfactor = %d)", declare_key(analysis, columns),
					 DECLARE_FILLFACTOR);
}

/* The output columns that are keys, or all of them. */
static void
declare_add_names(StringInfo sql, const EsAnalysis *analysis, bool only_keys)
{
	const char *comma = "";
	int i;

	for (i = 0; i < analysis->column_count; i++)
	{
		if (only_keys && analysis->columns[i].key == 0)
			continue;
		appendStringInfo(sql, "%s%s", comma, quote_identifier(analysis->columns[i].name));
		comma = ", ";
	}
}

/* The constraint of the read table's key, as DDL has it. */
char *
es_declare_key(const EsAnalysis *analysis)
{
	StringInfoData columns;

	initStringInfo(&columns);
	declare_add_names(&columns, analysis, true);
	return declare_key(analysis, columns.data);
}

/* CREATE TABLE of the read table. */
char *
es_declare_make_read(const EsAnalysis *analysis, const char *table)
{
	StringInfoData sql;
	StringInfoData key;
	int i;

	initStringInfo(&sql);
	initStringInfo(&key);
	appendStringInfo(&sql, "CREATE TABLE %s (", table);
	for (i = 0; i < analysis->column_count; i++)
	{
		const EsColumn *column = &analysis->columns[i];

		declare_add_column(&sql, quote_identifier(column->name), column->type, column->typmod,
						   column->collation);
	}
	for (i = 0; i < analysis->key_count; i++)
		appendStringInfo(&key, "%s%s", i == 0 ? "" : ", ",
						 quote_identifier(analysis->keys[i]->name));
	declare_add_key(&sql, analysis, key.data);
	return sql.data;
}

static void
declare_add_key_columns(StringInfo sql, const EsAnalysis *analysis)
{
	int i;

	for (i = 0; i < analysis->key_count; i++)
	{
		const EsColumn *key = analysis->keys[i];

		declare_add_column(sql, psprintf("k%d", i + 1), key->type, key->typmod, key->collation);
	}
}

/* The type of the positions of a part. */
static const char *
declare_position_type(const EsPart *part)
{
	switch (part->kind)
	{
		case ES_PART_LATEST:
			return "pg_catalog.jsonb";
		case ES_PART_LIST:
			return "pg_catalog.int8[]";
		default:
			return "pg_catalog.int8";
	}
}

/* CREATE TABLE of the state table. */
static char *
declare_make_state(const EsAnalysis *analysis, const char *table)
{
	StringInfoData sql;
	int i;

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE TABLE %s (", table);
	declare_add_key_columns(&sql, analysis);
	for (i = 0; i < analysis->part_count; i++)
	{
		const EsPart *part = &analysis->parts[i];

		declare_add_column(&sql, psprintf("p%d", i + 1), part->type, part->typmod, part->collation);
		if (es_batch_has_by(part))
			declare_add_column(&sql, psprintf("b%d", i + 1), part->by_type, part->by_typmod,
							   part->by_collation);
		if (es_batch_has_position(part))
			appendStringInfo(&sql, "q%d %s, ", i + 1, declare_position_type(part));
	}
	declare_add_key(&sql, analysis, es_batch_keys(analysis, ""));
	return sql.data;
}

/* CREATE TABLE of the set of the n-th count(DISTINCT), from 0. */
static char *
declare_make_set(const EsAnalysis *analysis, int n, const char *table)
{
	const EsPart *part = analysis->parts;
	StringInfoData sql;

	while (part->kind != ES_PART_DISTINCT || n-- > 0)
		part++;
	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE TABLE %s (", table);
	declare_add_key_columns(&sql, analysis);
	declare_add_column(&sql, "v", part->by_type, part->by_typmod, part->by_collation);
	declare_add_key(&sql, analysis, psprintf("%s, v", es_batch_keys(analysis, "")));
	return sql.data;
}

/* CREATE TABLE of a table beside the read table; number: from 0. */
char *
es_declare_make_side(const EsAnalysis *analysis, int number, const char *table)
{
	if (!declare_needs_state(analysis))
		return declare_make_set(analysis, number, table);
	if (number == 0)
		return declare_make_state(analysis, table);
	return declare_make_set(analysis, number - 1, table);
}

/* ----------------------------------------------------------------------
 * Events
 * ----------------------------------------------------------------------
 */

static const char declare_one_event[] =
	"SELECT $1::pg_catalog.int8 AS position, ($2::pg_catalog.text) COLLATE pg_catalog.\"C\" AS stream, "
	"($3::pg_catalog.text) COLLATE pg_catalog.\"C\" AS category, $4::pg_catalog.int8 AS version, "
	"$5::pg_catalog.uuid AS id, ($6::pg_catalog.text) COLLATE pg_catalog.\"C\" AS type, "
	"$7::pg_catalog.jsonb AS data, $8::pg_catalog.jsonb AS metadata, "
	"($9::pg_catalog.text[]) COLLATE pg_catalog.\"C\" AS tags, $10::pg_catalog.timestamptz AS recorded_at";

static const char declare_range[] =
	"SELECT position, stream, category, version, id, type, data, metadata, tags, recorded_at "
	"FROM eventstore.events WHERE position OPERATOR(pg_catalog.>) $1 "
	"AND position OPERATOR(pg_catalog.<=) $2";

/*
 * SELECT of the events from a source; NULL: they are there already.
 *
 * range_condition: for ES_SOURCE_RANGE, what else has to hold; "" = nothing.
 */
char *
es_declare_events(EsSource source, const char *range_condition)
{
	switch (source)
	{
		case ES_SOURCE_ONE:
			return pstrdup(declare_one_event);
		case ES_SOURCE_RANGE:
			return psprintf("%s%s", declare_range, range_condition);
		default:
			return NULL;
	}
}

/* ----------------------------------------------------------------------
 * The statement
 * ----------------------------------------------------------------------
 */

/* ON CONFLICT into the state table. */
static void
declare_add_state_conflict(StringInfo sql, const EsAnalysis *analysis)
{
	int i;

	appendStringInfo(sql, " ON CONFLICT (%s) DO UPDATE SET ", es_batch_keys(analysis, ""));
	/* Without any part, so that RETURNING returns the row. */
	if (analysis->part_count == 0)
		appendStringInfoString(sql, "k1 = s.k1");
	for (i = 0; i < analysis->part_count; i++)
	{
		if (i > 0)
			appendStringInfoString(sql, ", ");
		es_merge_add(sql, &analysis->parts[i], psprintf("p%d", i + 1), i + 1);
	}
}

/* ON CONFLICT into the read table: merge the column, or take over what was merged. */
static void
declare_add_read_conflict(StringInfo sql, const EsAnalysis *analysis, bool has_state)
{
	const char *separator = " DO UPDATE SET ";
	int i;

	appendStringInfoString(sql, " ON CONFLICT (");
	declare_add_names(sql, analysis, true);
	appendStringInfoChar(sql, ')');
	for (i = 0; i < analysis->column_count; i++)
	{
		const EsColumn *column = &analysis->columns[i];
		const char *name = quote_identifier(column->name);

		if (column->key > 0)
			continue;
		appendStringInfoString(sql, separator);
		if (has_state)
			appendStringInfo(sql, "%s = excluded.%s", name, name);
		else
			es_merge_add(sql, &analysis->parts[column->part - 1], name, column->part);
		separator = ", ";
	}
	if (analysis->key_count == analysis->column_count)
		appendStringInfoString(sql, " DO NOTHING");
}

/* "k1, p1, q1 ...": the columns of the state table */
static void
declare_add_state_names(StringInfo sql, const EsAnalysis *analysis)
{
	int i;

	appendStringInfoString(sql, es_batch_keys(analysis, ""));
	for (i = 0; i < analysis->part_count; i++)
	{
		appendStringInfo(sql, ", p%d", i + 1);
		if (es_batch_has_by(&analysis->parts[i]))
			appendStringInfo(sql, ", b%d", i + 1);
		if (es_batch_has_position(&analysis->parts[i]))
			appendStringInfo(sql, ", q%d", i + 1);
	}
}

/*
 * The statement that applies the events of a source to a declared table; NULL
 * if there is none for this source.
 *
 * range_condition: as of es_declare_events.
 */
char *
es_declare_merge(const EsAnalysis *analysis, const EsDeclareTables *tables, EsSource source,
				 const char *range_condition)
{
	bool is_single = source == ES_SOURCE_ONE;
	char *events = es_declare_events(source, range_condition);
	bool has_state = declare_needs_state(analysis);
	StringInfoData sql;

	if (is_single && !es_batch_can_be_single(analysis))
		return NULL;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "WITH ");
	if (events != NULL)
		appendStringInfo(&sql, "events AS NOT MATERIALIZED (%s), ", events);
	es_batch_add_sets(&sql, analysis, list_copy_tail(tables->sides, has_state ? 1 : 0), is_single);
	if (has_state)
	{
		appendStringInfo(&sql, "merged AS (INSERT INTO %s AS s (", (char *) linitial(tables->sides));
		declare_add_state_names(&sql, analysis);
		appendStringInfoString(&sql, ") ");
		es_batch_add(&sql, analysis, is_single);
		declare_add_state_conflict(&sql, analysis);
		appendStringInfoString(&sql, " RETURNING s.*)");
	}
	else
	{
		appendStringInfoString(&sql, "merged AS NOT MATERIALIZED (");
		es_batch_add(&sql, analysis, is_single);
		appendStringInfoChar(&sql, ')');
	}
	appendStringInfo(&sql, " INSERT INTO %s AS s (", tables->read);
	declare_add_names(&sql, analysis, false);
	appendStringInfo(&sql, ") %s", analysis->output);
	if (!is_single)
		appendStringInfo(&sql, " ORDER BY %s", es_batch_keys(analysis, "merged."));
	declare_add_read_conflict(&sql, analysis, has_state);
	return sql.data;
}
