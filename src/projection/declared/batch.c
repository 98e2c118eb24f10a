/*-------------------------------------------------------------------------
 *
 * batch.c
 *		The SQL that computes the parts of a batch.
 *
 * From the rows that are grouped, keys k1 ... and parts p1 ... with what stands
 * beside them (merge.c).  A batch of one event, which most appends are, does
 * without aggregates.
 *
 * count(DISTINCT) has a table for its values, a set: those of the batch that are
 * new there are put into it, and are what is counted.  Sets are written before
 * everything else, one after the other, each in the order of its key: so appends
 * lock their rows in one order.
 *
 * Memory: the current context.  Locks: none.  Calls: callable.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/typcache.h"

#include "projection/declared/batch.h"
#include "projection/declared/callable.h"

/* Whether a part has a second column, q1 ... */
bool
es_batch_has_position(const EsPart *part)
{
	return part->kind >= ES_PART_FIRST;
}

/* Whether it has a third one, b1 ... */
bool
es_batch_has_by(const EsPart *part)
{
	return part->kind == ES_PART_FIRST_BY || part->kind == ES_PART_LAST_BY;
}

/* "k1, k2", each with a prefix */
char *
es_batch_keys(const EsAnalysis *analysis, const char *prefix)
{
	StringInfoData sql;
	int i;

	initStringInfo(&sql);
	for (i = 0; i < analysis->key_count; i++)
		appendStringInfo(&sql, "%s%sk%d", i == 0 ? "" : ", ", prefix, i + 1);
	return sql.data;
}

static char *
batch_type(Oid type, int32 typmod)
{
	return format_type_extended(type, typmod, FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);
}

/* ----------------------------------------------------------------------
 * Groups of rows
 * ----------------------------------------------------------------------
 */

/* " FILTER (WHERE a1)", or "" */
static char *
batch_filter(const EsPart *part)
{
	return part->filter == 0 ? "" : psprintf(" FILTER (WHERE a%d)", part->filter);
}

/* By what es_last goes: compared as the query would. */
static char *
batch_by(const EsPart *part)
{
	if (!OidIsValid(part->by_collation))
		return psprintf("a%d", part->second_argument);
	return psprintf("(a%d COLLATE %s)", part->second_argument,
					es_callable_collation(part->by_collation));
}

/* " FILTER (WHERE ...)" of a list */
static char *
batch_list_filter(const EsPart *part)
{
	if (!part->skips_nulls)
		return batch_filter(part);
	return psprintf(" FILTER (WHERE %sa%d IS NOT NULL)",
					part->filter == 0 ? "" : psprintf("a%d AND ", part->filter), part->argument);
}

/* The part of a group of rows. */
static void
batch_add_group(StringInfo sql, const EsPart *part, int number)
{
	const char *filter = batch_filter(part);
	int i;

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
		case ES_PART_DISTINCT:
			/* Comes of its set. */
			break;
		case ES_PART_FIRST:
		case ES_PART_LAST:
			appendStringInfo(sql, "%s(a%d, position)%s AS p%d, pg_catalog.%s(position)%s AS q%d",
							 part->aggregate, part->argument, filter, number,
							 part->kind == ES_PART_LAST ? "max" : "min", filter, number);
			break;
		case ES_PART_FIRST_BY:
		case ES_PART_LAST_BY:
			for (i = 0; i < 3; i++)
				appendStringInfo(sql, "%s%s(%s, %s, position)%s AS %c%d", i == 0 ? "" : ", ",
								 part->aggregate,
								 i == 0       ? psprintf("a%d", part->argument)
									 : i == 1 ? batch_by(part)
											  : "position",
								 batch_by(part), filter, "pbq"[i], number);
			break;
		case ES_PART_LATEST:
			appendStringInfo(sql,
							 "%s(a%d, a%d ORDER BY position)%s AS p%d, "
							 "%s(a%d, position ORDER BY position)%s AS q%d",
							 part->aggregate, part->argument, part->second_argument, filter, number,
							 part->aggregate, part->argument, filter, number);
			break;
		case ES_PART_LIST:
			filter = batch_list_filter(part);
			appendStringInfo(sql,
							 "%s(a%d ORDER BY position)%s AS p%d, "
							 "%s(position ORDER BY position)%s AS q%d",
							 part->aggregate, part->argument, filter, number, part->aggregate,
							 filter, number);
			break;
	}
}

/* A SELECT of the groups: keys, and all parts that do not come of a set. */
static void
batch_add_groups(StringInfo sql, const EsAnalysis *analysis)
{
	char *keys = es_batch_keys(analysis, "");
	int i;

	appendStringInfo(sql, "SELECT %s", keys);
	for (i = 0; i < analysis->part_count; i++)
	{
		if (analysis->parts[i].kind == ES_PART_DISTINCT)
			continue;
		appendStringInfoString(sql, ", ");
		batch_add_group(sql, &analysis->parts[i], i + 1);
	}
	appendStringInfo(sql, " FROM (%s) r GROUP BY %s", analysis->rows, keys);
}

/* ----------------------------------------------------------------------
 * One row
 * ----------------------------------------------------------------------
 */

/* When a row counts for a part, apart from what nulls do. */
static char *
batch_when(const EsPart *part)
{
	char *when = part->filter == 0 ? "true" : psprintf("a%d", part->filter);

	/* Not IS NOT NULL, which of a row asks for each of its fields. */
	if (part->skips_nulls || (part->kind == ES_PART_COUNT && part->argument != 0))
		return psprintf("%s AND a%d IS DISTINCT FROM NULL", when, part->argument);
	if (es_batch_has_by(part))
		return psprintf("%s AND a%d IS DISTINCT FROM NULL", when, part->second_argument);
	return when;
}

/* The part of a group of one row. */
static void
batch_add_single(StringInfo sql, const EsPart *part, int number)
{
	char *when = batch_when(part);
	char *type = batch_type(part->type, part->typmod);

	switch (part->kind)
	{
		case ES_PART_COUNT:
			appendStringInfo(sql,
							 "CASE WHEN %s THEN 1::pg_catalog.int8 ELSE 0::pg_catalog.int8 END",
							 when);
			break;
		case ES_PART_SUM:
			appendStringInfo(sql, "CASE WHEN %s THEN a%d::%s END", when, part->argument, type);
			break;
		case ES_PART_DISTINCT:
			appendStringInfo(sql, "(SELECT pg_catalog.count(*) FROM set%d)", number);
			break;
		case ES_PART_LIST:
			appendStringInfo(sql,
							 "CASE WHEN %s THEN ARRAY[a%d]::%s END AS p%d, "
							 "CASE WHEN %s THEN ARRAY[position] END AS q%d",
							 when, part->argument, type, number, when, number);
			return;
		default:
			appendStringInfo(sql, "CASE WHEN %s THEN a%d END", when, part->argument);
			break;
	}
	appendStringInfo(sql, " AS p%d", number);
	if (es_batch_has_by(part))
		appendStringInfo(sql, ", CASE WHEN %s THEN a%d END AS b%d", when, part->second_argument,
						 number);
	if (es_batch_has_position(part))
		appendStringInfo(sql, ", CASE WHEN %s THEN position END AS q%d", when, number);
}

/* Whether a single row's parts can be written without aggregates. */
bool
es_batch_can_be_single(const EsAnalysis *analysis)
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

static void
batch_add_one(StringInfo sql, const EsAnalysis *analysis)
{
	int i;

	appendStringInfo(sql, "SELECT %s", es_batch_keys(analysis, ""));
	for (i = 0; i < analysis->part_count; i++)
	{
		appendStringInfoString(sql, ", ");
		batch_add_single(sql, &analysis->parts[i], i + 1);
	}
	appendStringInfo(sql, " FROM (%s) r", analysis->rows);
}

/* ----------------------------------------------------------------------
 * Sets
 * ----------------------------------------------------------------------
 */

/*
 * A WITH that puts a batch's new values into the set of a part; it returns their
 * keys.
 *
 * before: the number of the part whose set has to be done by then; 0: none.
 */
static void
batch_add_set(StringInfo sql, const EsAnalysis *analysis, int number, const char *set, int before,
			  bool is_single)
{
	const EsPart *part = &analysis->parts[number - 1];
	char *keys = es_batch_keys(analysis, "");
	char *value = psprintf("a%d", part->argument);

	appendStringInfo(
		sql,
		"set%d AS (INSERT INTO %s (%s, v) SELECT %s%s, %s FROM (%s) r WHERE %s IS DISTINCT FROM NULL%s",
		number, set, keys, is_single ? "" : "DISTINCT ", keys, value, analysis->rows, value,
		part->filter == 0 ? "" : psprintf(" AND a%d", part->filter));
	/* Always true, but known only when all of that is written. */
	if (before > 0)
		appendStringInfo(
			sql,
			" AND (SELECT pg_catalog.count(*) FROM set%d) OPERATOR(pg_catalog.>=) 0::pg_catalog.int8",
			before);
	if (!is_single)
		appendStringInfo(sql, " ORDER BY %s, %s", keys, value);
	appendStringInfo(sql, " ON CONFLICT (%s, v) DO NOTHING RETURNING %s), ", keys, keys);
}

/*
 * The WITHs that have to stand before es_batch_add.
 *
 * sets: names of the tables, of each part that has one.
 */
void
es_batch_add_sets(StringInfo sql, const EsAnalysis *analysis, const List *sets, bool is_single)
{
	int next = 0;
	int before = 0;
	int i;

	for (i = 0; i < analysis->part_count; i++)
	{
		if (analysis->parts[i].kind != ES_PART_DISTINCT)
			continue;
		batch_add_set(sql, analysis, i + 1, list_nth(sets, next++), before, is_single);
		before = i + 1;
	}
}

/* Whether a group of the batch is that of a set; nulls are a key, too. */
static char *
batch_match(const EsAnalysis *analysis, int number)
{
	StringInfoData sql;
	int i;

	initStringInfo(&sql);
	for (i = 0; i < analysis->key_count; i++)
	{
		const EsColumn *key = analysis->keys[i];

		if (i > 0)
			appendStringInfoString(&sql, " AND ");
		if (key->is_nullable)
			appendStringInfo(&sql,
							 "ROW(g.k%d)::pg_catalog.record OPERATOR(pg_catalog.=) "
							 "ROW(set%d.k%d)::pg_catalog.record",
							 i + 1, number, i + 1);
		else
			appendStringInfo(&sql, "g.k%d %s set%d.k%d", i + 1,
							 es_callable_operator(
								 lookup_type_cache(key->type, TYPECACHE_EQ_OPR)->eq_opr),
							 number, i + 1);
	}
	return sql.data;
}

/* A SELECT of the groups, with the parts that come of sets. */
static void
batch_add_counted(StringInfo sql, const EsAnalysis *analysis)
{
	char *keys = es_batch_keys(analysis, "");
	StringInfoData from;
	int i;

	initStringInfo(&from);
	appendStringInfo(sql, "SELECT %s", es_batch_keys(analysis, "g."));
	for (i = 0; i < analysis->part_count; i++)
	{
		const EsPart *part = &analysis->parts[i];
		int number = i + 1;

		if (part->kind != ES_PART_DISTINCT)
			appendStringInfo(sql, ", g.p%d", number);
		else
		{
			appendStringInfo(sql, ", COALESCE(set%d.n, 0::pg_catalog.int8) AS p%d", number, number);
			appendStringInfo(
				&from,
				" LEFT JOIN (SELECT %s, pg_catalog.count(*) AS n FROM set%d GROUP BY %s) set%d ON %s",
				keys, number, keys, number, batch_match(analysis, number));
		}
		if (es_batch_has_by(part))
			appendStringInfo(sql, ", g.b%d", number);
		if (es_batch_has_position(part))
			appendStringInfo(sql, ", g.q%d", number);
	}
	appendStringInfoString(sql, " FROM (");
	batch_add_groups(sql, analysis);
	appendStringInfo(sql, ") g%s ORDER BY %s", from.data, es_batch_keys(analysis, "g."));
}

static bool
batch_has_set(const EsAnalysis *analysis)
{
	int i;

	for (i = 0; i < analysis->part_count; i++)
		if (analysis->parts[i].kind == ES_PART_DISTINCT)
			return true;
	return false;
}

/*
 * SELECT of keys and parts, from "events", in the order of the keys.
 *
 * is_single: there is one row at the most.
 */
void
es_batch_add(StringInfo sql, const EsAnalysis *analysis, bool is_single)
{
	if (is_single)
		batch_add_one(sql, analysis);
	else if (batch_has_set(analysis))
		batch_add_counted(sql, analysis);
	else
	{
		batch_add_groups(sql, analysis);
		appendStringInfo(sql, " ORDER BY %s", es_batch_keys(analysis, ""));
	}
}
