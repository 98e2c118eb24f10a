/*-------------------------------------------------------------------------
 *
 * merge.c
 *		The SQL that merges a batch's parts into what is stored.
 *
 * Of a part, p1 ... is the value.  Beside it stand, in the state table, q1 ...:
 * the position or positions that it comes of; and b1 ...: by what es_last goes.
 * What is stored is called s, the batch is called excluded.
 *
 * Batches come in any order, so whatever depends on the order of events is
 * merged by positions.  Where a batch is behind all that is stored, which is the
 * usual case, that is cheap.
 *
 * Memory: the current context.  Locks: none.  Calls: nothing of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "projection/declared/merge.h"

/* q1 ... of what is stored, and of the batch; nulls have no position. */
static void
merge_pick(StringInfo sql, const EsPart *part, const char *p, const char *q)
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
merge_newer(const char *column, const char *q)
{
	return psprintf("COALESCE((SELECT pg_catalog.jsonb_object_agg(d.key, d.value) "
					"FROM pg_catalog.jsonb_each(excluded.%s) AS d "
					"WHERE (s.%s OPERATOR(pg_catalog.->) d.key) IS NULL "
					"OR (excluded.%s OPERATOR(pg_catalog.->) d.key) OPERATOR(pg_catalog.>) "
					"(s.%s OPERATOR(pg_catalog.->) d.key)), '{}'::pg_catalog.jsonb)",
					column, q, q, q);
}

static void
merge_latest(StringInfo sql, const char *p, const char *q)
{
	const char *columns[] = {p, q};
	int i;

	for (i = 0; i < lengthof(columns); i++)
		appendStringInfo(sql, "%s%s = COALESCE(s.%s OPERATOR(pg_catalog.||) %s, s.%s, excluded.%s)",
						 i == 0 ? "" : ", ", columns[i], columns[i], merge_newer(columns[i], q),
						 columns[i], columns[i]);
}

/* The batch's value goes by something that comes before, or later: it replaces p, b and q. */
static void
merge_pick_by(StringInfo sql, const EsPart *part, const char *p, int number)
{
	const char *columns[] = {p, psprintf("b%d", number), psprintf("q%d", number)};
	const char *b = columns[1];
	const char *q = columns[2];
	char *condition =
		psprintf("s.%s IS NULL OR excluded.%s %s s.%s "
				 "OR (excluded.%s %s s.%s AND excluded.%s OPERATOR(pg_catalog.%s) s.%s)",
				 q, b, part->by_before, b, b, part->by_equals, b, q,
				 part->kind == ES_PART_LAST_BY ? ">" : "<", q);
	int i;

	for (i = 0; i < lengthof(columns); i++)
		appendStringInfo(sql, "%s%s = CASE WHEN %s THEN excluded.%s ELSE s.%s END",
						 i == 0 ? "" : ", ", columns[i], condition, columns[i], columns[i]);
}

/* The values of both lists, or their positions, in the order of positions. */
static char *
merge_sorted(const char *p, const char *q, const char *wanted)
{
	return psprintf("(SELECT pg_catalog.array_agg(m.%s ORDER BY m.q) FROM ("
					"SELECT pg_catalog.unnest(s.%s) AS p, pg_catalog.unnest(s.%s) AS q UNION ALL "
					"SELECT pg_catalog.unnest(excluded.%s), pg_catalog.unnest(excluded.%s)) AS m)",
					wanted, p, q, p, q);
}

static void
merge_list(StringInfo sql, const char *p, const char *q)
{
	const char *columns[] = {p, q};
	int i;

	for (i = 0; i < lengthof(columns); i++)
		appendStringInfo(sql,
						 "%s%s = CASE WHEN excluded.%s IS NULL THEN s.%s WHEN s.%s IS NULL THEN excluded.%s "
						 "WHEN s.%s[pg_catalog.cardinality(s.%s)] OPERATOR(pg_catalog.<) excluded.%s[1] "
						 "THEN s.%s OPERATOR(pg_catalog.||) excluded.%s ELSE %s END",
						 i == 0 ? "" : ", ", columns[i], q, columns[i], q, columns[i], q, q, q,
						 columns[i], columns[i], merge_sorted(p, q, i == 0 ? "p" : "q"));
}

/*
 * An assignment that merges the batch's part into the stored one.
 *
 * column: its name; number: of the part, from 1.
 */
void
es_merge_add(StringInfo sql, const EsPart *part, const char *column, int number)
{
	const char *p = column;

	switch (part->kind)
	{
		case ES_PART_COUNT:
		case ES_PART_DISTINCT:
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
			merge_pick(sql, part, p, psprintf("q%d", number));
			break;
		case ES_PART_FIRST_BY:
		case ES_PART_LAST_BY:
			merge_pick_by(sql, part, p, number);
			break;
		case ES_PART_LATEST:
			merge_latest(sql, p, psprintf("q%d", number));
			break;
		case ES_PART_LIST:
			merge_list(sql, p, psprintf("q%d", number));
			break;
	}
}
