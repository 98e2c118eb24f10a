/*-------------------------------------------------------------------------
 *
 * declare.c
 *		The SQL that makes and keeps a declared table.
 *
 * One statement applies a batch: it groups the batch's rows, and merges each
 * group into what is stored, in the order of the keys, so that appends which
 * touch the same rows lock them in one order.
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
 * himself, too.
 *
 * Every name of ours is qualified, operators too: the statements run with the
 * search_path of who made the projection.
 *
 * Memory: results in the current context.  Locks: none.  Calls: nothing of
 * ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"

#include "projection/declared/declare.h"

/* Nothing that an update changes is indexed: it should be HOT. */
#define DECLARE_FILLFACTOR 80

/* Whether partial aggregates have to be stored beside the read table. */
bool
es_declare_needs_state(const EsAnalysis *analysis)
{
	int i;

	for (i = 0; i < analysis->column_count; i++)
		if (analysis->columns[i].key == 0 && analysis->columns[i].part == 0)
			return true;
	for (i = 0; i < analysis->part_count; i++)
		if (analysis->parts[i].kind >= ES_PART_FIRST)
			return true;
	return false;
}

/* ----------------------------------------------------------------------
 * Tables
 * ----------------------------------------------------------------------
 */

static char *
declare_collation(Oid collation)
{
	HeapTuple row = SearchSysCache1(COLLOID, ObjectIdGetDatum(collation));
	Form_pg_collation form = (Form_pg_collation) GETSTRUCT(row);
	char *name = quote_qualified_identifier(get_namespace_name(form->collnamespace),
											NameStr(form->collname));

	ReleaseSysCache(row);
	return name;
}

static void
declare_add_column(StringInfo sql, const char *name, Oid type, int32 typmod, Oid collation)
{
	appendStringInfo(sql, "%s %s", name,
					 format_type_extended(type, typmod,
										  FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY));
	if (OidIsValid(collation) && OidIsValid(get_typcollation(type)))
		appendStringInfo(sql, " COLLATE %s", declare_collation(collation));
}

/* CREATE TABLE of the read table. */
char *
es_declare_make_read(const EsAnalysis *analysis, const char *table)
{
	StringInfoData sql;
	int i;

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE TABLE %s (", table);
	for (i = 0; i < analysis->column_count; i++)
	{
		const EsColumn *column = &analysis->columns[i];

		declare_add_column(&sql, quote_identifier(column->name), column->type, column->typmod,
						   column->collation);
		appendStringInfoString(&sql, ", ");
	}
	appendStringInfoString(&sql, "PRIMARY KEY (");
	for (i = 0; i < analysis->key_count; i++)
		appendStringInfo(&sql, "%s%s", i == 0 ? "" : ", ",
						 quote_identifier(analysis->keys[i]->name));
	appendStringInfo(&sql, ")) WITH (fillfactor = %d)", DECLARE_FILLFACTOR);
	return sql.data;
}

/* Whether a part has a second column, q1 ... */
static bool
declare_has_position(const EsPart *part)
{
	return part->kind >= ES_PART_FIRST;
}

/* CREATE TABLE of the state table. */
char *
es_declare_make_state(const EsAnalysis *analysis, const char *table)
{
	StringInfoData sql;
	int i;

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE TABLE %s (", table);
	for (i = 0; i < analysis->key_count; i++)
	{
		const EsColumn *key = analysis->keys[i];

		declare_add_column(&sql, psprintf("k%d", i + 1), key->type, key->typmod, key->collation);
		appendStringInfoString(&sql, ", ");
	}
	for (i = 0; i < analysis->part_count; i++)
	{
		const EsPart *part = &analysis->parts[i];

		declare_add_column(&sql, psprintf("p%d", i + 1), part->type, part->typmod, part->collation);
		appendStringInfoString(&sql, ", ");
		if (declare_has_position(part))
			appendStringInfo(&sql, "q%d %s, ", i + 1,
							 part->kind == ES_PART_LATEST ? "pg_catalog.jsonb" : "pg_catalog.int8");
	}
	appendStringInfoString(&sql, "PRIMARY KEY (");
	for (i = 0; i < analysis->key_count; i++)
		appendStringInfo(&sql, "%sk%d", i == 0 ? "" : ", ", i + 1);
	appendStringInfo(&sql, ")) WITH (fillfactor = %d)", DECLARE_FILLFACTOR);
	return sql.data;
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
 * A batch's parts
 * ----------------------------------------------------------------------
 */

/* " FILTER (WHERE a1)", or "" */
static char *
declare_filter(const EsPart *part)
{
	return part->filter == 0 ? "" : psprintf(" FILTER (WHERE a%d)", part->filter);
}

/* The part of a group of rows. */
static void
declare_add_group(StringInfo sql, const EsPart *part, int number)
{
	const char *filter = declare_filter(part);

	switch (part->kind)
	{
		case ES_PART_COUNT:
			if (part->argument == 0)
			{
				appendStringInfo(sql, "%s(*)%s AS p%d", part->aggregate, filter, number);
				break;
			}
			/* FALLTHROUGH */
		case ES_PART_SUM:
		case ES_PART_COMBINE:
			appendStringInfo(sql, "%s(a%d)%s AS p%d", part->aggregate, part->argument, filter,
							 number);
			break;
		case ES_PART_FIRST:
		case ES_PART_LAST:
			appendStringInfo(sql, "%s(a%d, position)%s AS p%d, pg_catalog.%s(position)%s AS q%d",
							 part->aggregate, part->argument, filter, number,
							 part->kind == ES_PART_LAST ? "max" : "min", filter, number);
			break;
		case ES_PART_LATEST:
			appendStringInfo(sql,
							 "%s(a%d, a%d ORDER BY position)%s AS p%d, "
							 "%s(a%d, position ORDER BY position)%s AS q%d",
							 part->aggregate, part->argument, part->second_argument, filter, number,
							 part->aggregate, part->argument, filter, number);
			break;
	}
}

/* The part of a group of one row. */
static void
declare_add_single(StringInfo sql, const EsPart *part, int number)
{
	char *when = part->filter == 0 ? "true" : psprintf("a%d", part->filter);
	char *type = format_type_extended(part->type, part->typmod,
									  FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);

	switch (part->kind)
	{
		case ES_PART_COUNT:
			if (part->argument != 0)
				/* Not IS NOT NULL, which of a row asks for each of its fields. */
				when = psprintf("%s AND a%d IS DISTINCT FROM NULL", when, part->argument);
			appendStringInfo(sql,
							 "CASE WHEN %s THEN 1::pg_catalog.int8 ELSE 0::pg_catalog.int8 END",
							 when);
			break;
		case ES_PART_SUM:
			appendStringInfo(sql, "CASE WHEN %s THEN a%d::%s END", when, part->argument, type);
			break;
		default:
			appendStringInfo(sql, "CASE WHEN %s THEN a%d END", when, part->argument);
			break;
	}
	appendStringInfo(sql, " AS p%d", number);
	if (declare_has_position(part))
		appendStringInfo(sql, ", CASE WHEN %s THEN position END AS q%d", when, number);
}

/* Whether a single row's parts can be written without aggregates. */
static bool
declare_is_single(const EsAnalysis *analysis)
{
	int i;

	if (!analysis->is_one_to_one)
		return false;
	for (i = 0; i < analysis->part_count; i++)
		if (analysis->parts[i].kind == ES_PART_LATEST ||
			(analysis->parts[i].kind == ES_PART_COMBINE && !analysis->parts[i].starts_with_input))
			return false;
	return true;
}

/* "k1, k2", each with a prefix */
static char *
declare_keys(const EsAnalysis *analysis, const char *prefix)
{
	StringInfoData sql;
	int i;

	initStringInfo(&sql);
	for (i = 0; i < analysis->key_count; i++)
		appendStringInfo(&sql, "%s%sk%d", i == 0 ? "" : ", ", prefix, i + 1);
	return sql.data;
}

/* SELECT of keys and parts, from "events". */
static void
declare_add_batch(StringInfo sql, const EsAnalysis *analysis, bool is_single)
{
	char *keys = declare_keys(analysis, "");
	int i;

	appendStringInfo(sql, "SELECT %s", keys);
	for (i = 0; i < analysis->part_count; i++)
	{
		appendStringInfoString(sql, ", ");
		if (is_single)
			declare_add_single(sql, &analysis->parts[i], i + 1);
		else
			declare_add_group(sql, &analysis->parts[i], i + 1);
	}
	appendStringInfo(sql, " FROM (%s) r", analysis->rows);
	if (!is_single)
		appendStringInfo(sql, " GROUP BY %s ORDER BY %s", keys, keys);
}

/* ----------------------------------------------------------------------
 * Merging
 * ----------------------------------------------------------------------
 */

/* q1 ... of what is stored, and of the batch; nulls have no position. */
static void
declare_merge_pick(StringInfo sql, const EsPart *part, const char *p, const char *q)
{
	const char *operator= part->kind == ES_PART_LAST ? ">" : "<";

	appendStringInfo(sql,
					 "%s = CASE WHEN s.%s IS NULL OR excluded.%s OPERATOR(pg_catalog.%s) s.%s "
					 "THEN excluded.%s ELSE s.%s END, %s = %s(s.%s, excluded.%s)",
					 p, q, q, operator, q, p, p, q,
					 part->kind == ES_PART_LAST ? "GREATEST" : "LEAST", q, q);
}

/*
 * The batch's entries of column, without those whose key has a higher position
 * in what is stored.
 */
static char *
declare_newer(const char *column, const char *q)
{
	return psprintf("COALESCE((SELECT pg_catalog.jsonb_object_agg(d.key, d.value) "
					"FROM pg_catalog.jsonb_each(excluded.%s) AS d "
					"WHERE (s.%s OPERATOR(pg_catalog.->) d.key) IS NULL "
					"OR (excluded.%s OPERATOR(pg_catalog.->) d.key) OPERATOR(pg_catalog.>) "
					"(s.%s OPERATOR(pg_catalog.->) d.key)), '{}'::pg_catalog.jsonb)",
					column, q, q, q);
}

static void
declare_merge_latest(StringInfo sql, const char *p, const char *q)
{
	const char *columns[] = {p, q};
	int i;

	for (i = 0; i < lengthof(columns); i++)
		appendStringInfo(sql, "%s%s = COALESCE(s.%s OPERATOR(pg_catalog.||) %s, s.%s, excluded.%s)",
						 i == 0 ? "" : ", ", columns[i], columns[i], declare_newer(columns[i], q),
						 columns[i], columns[i]);
}

/*
 * An assignment that merges the batch's part into the stored one.
 *
 * p: the column's name.
 */
static void
declare_add_merge(StringInfo sql, const EsPart *part, const char *p, int number)
{
	switch (part->kind)
	{
		case ES_PART_COUNT:
			appendStringInfo(sql, "%s = s.%s OPERATOR(pg_catalog.+) excluded.%s", p, p, p);
			break;
		case ES_PART_SUM:
			appendStringInfo(sql,
							 "%s = COALESCE(s.%s OPERATOR(pg_catalog.+) excluded.%s, s.%s, excluded.%s)",
							 p, p, p, p, p);
			break;
		case ES_PART_COMBINE:
			appendStringInfo(sql, "%s = COALESCE(%s(s.%s, excluded.%s), s.%s, excluded.%s)", p,
							 part->combine, p, p, p, p);
			break;
		case ES_PART_FIRST:
		case ES_PART_LAST:
			declare_merge_pick(sql, part, p, psprintf("q%d", number));
			break;
		case ES_PART_LATEST:
			declare_merge_latest(sql, p, psprintf("q%d", number));
			break;
	}
}

/* ON CONFLICT into the state table. */
static void
declare_add_state_conflict(StringInfo sql, const EsAnalysis *analysis)
{
	int i;

	appendStringInfo(sql, " ON CONFLICT (%s) DO UPDATE SET ", declare_keys(analysis, ""));
	/* Without any part, so that RETURNING returns the row. */
	if (analysis->part_count == 0)
		appendStringInfoString(sql, "k1 = s.k1");
	for (i = 0; i < analysis->part_count; i++)
	{
		if (i > 0)
			appendStringInfoString(sql, ", ");
		declare_add_merge(sql, &analysis->parts[i], psprintf("p%d", i + 1), i + 1);
	}
}

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
			declare_add_merge(sql, &analysis->parts[column->part - 1], name, column->part);
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

	appendStringInfoString(sql, declare_keys(analysis, ""));
	for (i = 0; i < analysis->part_count; i++)
	{
		appendStringInfo(sql, ", p%d", i + 1);
		if (declare_has_position(&analysis->parts[i]))
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
	const char *with = "WITH ";
	StringInfoData sql;

	if (is_single && !declare_is_single(analysis))
		return NULL;

	initStringInfo(&sql);
	if (events != NULL)
	{
		appendStringInfo(&sql, "%sevents AS NOT MATERIALIZED (%s)", with, events);
		with = ", ";
	}
	if (es_declare_needs_state(analysis))
	{
		appendStringInfo(&sql, "%smerged AS (INSERT INTO %s AS s (", with, tables->state);
		declare_add_state_names(&sql, analysis);
		appendStringInfoString(&sql, ") ");
		declare_add_batch(&sql, analysis, is_single);
		declare_add_state_conflict(&sql, analysis);
		appendStringInfoString(&sql, " RETURNING s.*)");
	}
	else
	{
		appendStringInfo(&sql, "%smerged AS NOT MATERIALIZED (", with);
		declare_add_batch(&sql, analysis, is_single);
		appendStringInfoChar(&sql, ')');
	}
	appendStringInfo(&sql, " INSERT INTO %s AS s (", tables->read);
	declare_add_names(&sql, analysis, false);
	appendStringInfo(&sql, ") %s", analysis->output);
	if (!is_single)
		appendStringInfo(&sql, " ORDER BY %s", declare_keys(analysis, "merged."));
	declare_add_read_conflict(&sql, analysis, es_declare_needs_state(analysis));
	return sql.data;
}
