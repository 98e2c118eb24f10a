/*-------------------------------------------------------------------------
 *
 * difference.c
 *		The difference between a table and its copy.
 *
 * Rows are told apart by the primary key, or by a unique index on columns that
 * are not null, or for which nulls are not distinct.  A table with neither is compared as a bag of rows.
 *
 * Values are compared byte by byte where they are written.  For a report, what
 * SQL holds equal is no difference: 1.0 and 1.00, 'a' and 'A' where the
 * collation says so.  Values of types without equality are compared as JSON.
 *
 * Memory: the current context.  Locks: none that the caller has not.  Calls:
 * shadow.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_operator.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "base/compat.h"
#include "projection/replay/difference.h"

/* A column of the key, and the operator that its index compares by. */
typedef struct EsDifferenceKey
{
	char *column;   /* quoted */
	char *operator; /* as it stands between two columns */
	char *wrapper;  /* "": it is never null; else what makes nulls compare: ARRAY[%s], say */
} EsDifferenceKey;

/* ----------------------------------------------------------------------
 * Keys
 * ----------------------------------------------------------------------
 */

static bool
difference_has(const List *names, const char *name)
{
	const ListCell *cell;

	foreach (cell, names)
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	return false;
}

static char *
difference_operator(Oid operator)
{
	HeapTuple row = SearchSysCache1(OPEROID, ObjectIdGetDatum(operator));
	Form_pg_operator form = (Form_pg_operator) GETSTRUCT(row);
	char *name = psprintf("OPERATOR(%s.%s)",
						  quote_identifier(get_namespace_name(form->oprnamespace)),
						  NameStr(form->oprname));

	ReleaseSysCache(row);
	return name;
}

/*
 * Whether an index tells all rows apart, at every moment: where columns can be
 * null, nulls are not distinct for it.  Its expressions are not asked for: to get
 * them from the cache would evaluate them, as the caller.
 */
static bool
difference_is_key(Relation table, Relation index)
{
	Form_pg_index form = index->rd_index;
	int i;

	if (!form->indisunique || !form->indimmediate || !form->indisvalid ||
		!heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL) ||
		!heap_attisnull(index->rd_indextuple, Anum_pg_index_indexprs, NULL))
		return false;
	for (i = 0; i < form->indnkeyatts; i++)
		if (!form->indnullsnotdistinct &&
			!TupleDescAttr(RelationGetDescr(table), form->indkey.values[i] - 1)->attnotnull)
			return false;
	return true;
}

/*
 * What makes of a value that can be null one that "=" compares, NULL being equal
 * to NULL.  Not IS NOT DISTINCT FROM, which no FULL JOIN can go by.  Arrays hash,
 * but NULL in an array of arrays is the same as an empty one.
 */
static char *
difference_wrapper(Oid type)
{
	return OidIsValid(get_array_type(type)) && !type_is_array_domain(type)
		? "ARRAY[%s]"
		: "ROW(%s)::pg_catalog.record";
}

/* Whether an operator is what "=" means for a type, in arrays and rows, too. */
static bool
difference_is_default(Oid operator, Oid type)
{
	return lookup_type_cache(type, TYPECACHE_EQ_OPR)->eq_opr == operator;
}

/* The columns of an index; NIL if it is none to tell rows apart by. */
static List *
difference_read_key(Relation table, Oid oid, const List *columns)
{
	Relation index = index_open(oid, AccessShareLock);
	List *keys = NIL;
	int i;

	for (i = 0; difference_is_key(table, index) && i < index->rd_index->indnkeyatts; i++)
	{
		AttrNumber number = index->rd_index->indkey.values[i];
		Oid type = index->rd_opcintype[i];
		Oid operator= get_opfamily_member(index->rd_opfamily[i], type, type, BTEqualStrategyNumber);
		EsDifferenceKey *key = palloc(sizeof(EsDifferenceKey));
		Form_pg_attribute column = TupleDescAttr(RelationGetDescr(table), number - 1);

		key->column = pstrdup(quote_identifier(NameStr(column->attname)));
		key->wrapper = column->attnotnull ? "" : difference_wrapper(column->atttypid);
		if (!OidIsValid(operator) || !difference_has(columns, key->column) ||
			(!column->attnotnull && !difference_is_default(operator, column->atttypid)))
		{
			keys = NIL;
			break;
		}
		key->operator= difference_operator(operator);
		keys = lappend(keys, key);
	}
	index_close(index, NoLock);
	return keys;
}

static List *
difference_find_key(Relation table, const List *columns)
{
	List *indexes = RelationGetIndexList(table);
	Oid primary = es_compat_primary_key(table);
	List *keys = NIL;
	ListCell *cell;

	if (OidIsValid(primary))
		keys = difference_read_key(table, primary, columns);
	foreach (cell, indexes)
	{
		if (keys != NIL)
			break;
		keys = difference_read_key(table, lfirst_oid(cell), columns);
	}
	return keys;
}

/* Columns that UPDATE may set: not those that are always made by the system. */
static List *
difference_find_updatable(Relation table, List *columns)
{
	TupleDesc desc = RelationGetDescr(table);
	List *result = list_copy(columns);
	int i;

	for (i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);
		ListCell *cell;

		if (column->attisdropped || column->attidentity != ATTRIBUTE_IDENTITY_ALWAYS)
			continue;
		foreach (cell, result)
			if (strcmp(lfirst(cell), quote_identifier(NameStr(column->attname))) == 0)
				result = foreach_delete_current(result, cell);
	}
	return result;
}

static char *
difference_collation(Oid collation)
{
	HeapTuple row = SearchSysCache1(COLLOID, ObjectIdGetDatum(collation));
	Form_pg_collation form = (Form_pg_collation) GETSTRUCT(row);
	char *name = quote_qualified_identifier(get_namespace_name(form->collnamespace),
											NameStr(form->collname));

	ReleaseSysCache(row);
	return name;
}

/*
 * The casts of the copy's columns to the types and collations of the table's:
 * somebody may have altered those of a declared table.
 */
static List *
difference_find_casts(const EsShadow *shadow, const List *columns)
{
	List *result = NIL;
	const ListCell *cell;

	foreach (cell, columns)
	{
		List *parts = es_compat_name_list(lfirst(cell));
		const char *name = strVal(linitial(parts));
		AttrNumber here = get_attnum(shadow->table, name);
		AttrNumber there = get_attnum(shadow->oid, name);
		Oid types[2];
		int32 typmods[2];
		Oid collations[2];
		char *cast = "";

		if (here != InvalidAttrNumber)
		{
			get_atttypetypmodcoll(shadow->table, here, &types[0], &typmods[0], &collations[0]);
			get_atttypetypmodcoll(shadow->oid, there, &types[1], &typmods[1], &collations[1]);
			if (types[0] != types[1] || typmods[0] != typmods[1])
				cast = psprintf("::%s",
								format_type_extended(types[0], typmods[0],
													 FORMAT_TYPE_TYPEMOD_GIVEN |
														 FORMAT_TYPE_FORCE_QUALIFY));
			if (collations[0] != collations[1] && OidIsValid(collations[0]))
				cast = psprintf("%s COLLATE %s", cast, difference_collation(collations[0]));
		}
		result = lappend(result, cast);
	}
	return result;
}

/* How a table and its copy are compared. */
EsDifference *
es_difference_make(const EsShadow *shadow)
{
	EsDifference *difference = palloc0(sizeof(EsDifference));
	Relation table = relation_open(shadow->table, AccessShareLock);

	difference->shadow = shadow;
	difference->columns = es_shadow_columns(shadow->oid);
	difference->casts = difference_find_casts(shadow, difference->columns);
	difference->updatable = difference_find_updatable(table, difference->columns);
	difference->keys = difference_find_key(table, difference->columns);
	relation_close(table, NoLock);
	return difference;
}

/* ----------------------------------------------------------------------
 * Pieces of SQL; the table is es_t, its copy es_c: every alias begins with es_,
 * as an alias that is also a column's name would mean the column
 * ----------------------------------------------------------------------
 */

/* The columns, each with a prefix. */
char *
es_difference_list(const List *columns, const char *prefix)
{
	StringInfoData sql;
	const ListCell *cell;

	initStringInfo(&sql);
	foreach (cell, columns)
		appendStringInfo(&sql, "%s%s%s", cell == list_head(columns) ? "" : ", ", prefix,
						 (char *) lfirst(cell));
	return sql.data;
}

/* A column of the copy, as the table would have it. */
static char *
difference_cast(const EsDifference *difference, const char *column)
{
	const ListCell *name;
	const ListCell *cast;

	forboth(name, difference->columns, cast, difference->casts)
	{
		if (strcmp(lfirst(name), column) == 0)
			return psprintf("es_c.%s%s", column, (char *) lfirst(cast));
	}
	return psprintf("es_c.%s", column);
}

/* Columns of the copy, each as the table would have it. */
static char *
difference_cast_list(const EsDifference *difference, const List *columns)
{
	List *result = NIL;
	const ListCell *cell;

	foreach (cell, columns)
		result = lappend(result, difference_cast(difference, lfirst(cell)));
	return es_difference_list(result, "");
}

/* The key as a table's constraint, for SQL; NULL: there is none. */
char *
es_difference_key(const EsDifference *difference)
{
	const char *kind = "PRIMARY KEY";
	List *columns = NIL;
	ListCell *cell;

	foreach (cell, difference->keys)
	{
		const EsDifferenceKey *key = lfirst(cell);

		columns = lappend(columns, key->column);
		if (key->wrapper[0] != '\0')
			kind = "UNIQUE NULLS NOT DISTINCT";
	}
	return columns == NIL ? NULL : psprintf("%s (%s)", kind, es_difference_list(columns, ""));
}

/* A value of a key, as it is compared. */
static char *
difference_wrap(const EsDifferenceKey *key, char *value)
{
	const char *place = strstr(key->wrapper, "%s");

	if (place == NULL)
		return value;
	return psprintf("%.*s%s%s", (int) (place - key->wrapper), key->wrapper, value,
					place + strlen("%s"));
}

/* Whether rows have the same key. */
char *
es_difference_match(const EsDifference *difference)
{
	StringInfoData sql;
	const ListCell *cell;

	initStringInfo(&sql);
	foreach (cell, difference->keys)
	{
		const EsDifferenceKey *key = lfirst(cell);

		appendStringInfo(&sql, "%s%s %s %s", cell == list_head(difference->keys) ? "" : " AND ",
						 difference_wrap(key, psprintf("es_t.%s", key->column)),
						 key->wrapper[0] == '\0' ? key->operator: "OPERATOR(pg_catalog.=)",
						 difference_wrap(key, difference_cast(difference, key->column)));
	}
	return sql.data;
}

/* Whether rows of the same key are different: a value has other bytes. */
char *
es_difference_differs(const EsDifference *difference, const List *columns)
{
	return psprintf("ROW(%s)::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(%s)::pg_catalog.record",
					es_difference_list(columns, "es_t."),
					difference_cast_list(difference, columns));
}

/* A row as JSON. */
static char *
difference_json(const char *columns)
{
	return psprintf("(SELECT pg_catalog.to_jsonb(es_row) FROM (SELECT %s) AS es_row)", columns);
}

/* ----------------------------------------------------------------------
 * Telling it
 * ----------------------------------------------------------------------
 */

/* The key as JSON: of whichever row there is. */
static char *
difference_json_key(const EsDifference *difference, bool names_table)
{
	StringInfoData sql;
	const ListCell *cell;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "(SELECT pg_catalog.to_jsonb(es_row) FROM (SELECT ");
	foreach (cell, difference->keys)
	{
		const char *column = ((EsDifferenceKey *) lfirst(cell))->column;

		appendStringInfo(&sql, "%sCOALESCE(es_t.%s, %s) AS %s",
						 cell == list_head(difference->keys) ? "" : ", ", column,
						 difference_cast(difference, column), column);
	}
	appendStringInfoString(&sql, ") AS es_row)");
	if (names_table)
		return psprintf("pg_catalog.jsonb_build_object(%s, %s)",
						quote_literal_cstr(difference->shadow->table_name), sql.data);
	return sql.data;
}

static bool
difference_is_in_key(const EsDifference *difference, const char *column)
{
	const ListCell *cell;

	foreach (cell, difference->keys)
		if (strcmp(((EsDifferenceKey *) lfirst(cell))->column, column) == 0)
			return true;
	return false;
}

/* The operator that SQL compares values of a column by; NULL: there is none. */
static char *
difference_equality(const EsDifference *difference, const char *column)
{
	List *parts = es_compat_name_list(column);
	AttrNumber number = get_attnum(difference->shadow->table, strVal(linitial(parts)));
	Oid type = number == InvalidAttrNumber ? InvalidOid
										   : get_atttype(difference->shadow->table, number);
	Oid operator;

	/* A row that has nulls only is null to SQL, and is no null. */
	if (!OidIsValid(type) || type_is_rowtype(getBaseType(type)))
		return NULL;
	operator= lookup_type_cache(type, TYPECACHE_EQ_OPR)->eq_opr;
	return OidIsValid(operator) ? difference_operator(operator) : NULL;
}

/* Whether values of a column are different, to SQL. */
static char *
difference_differs_in(const EsDifference *difference, const char *column)
{
	char *t = psprintf("es_t.%s", column);
	char *c = difference_cast(difference, column);
	char *operator= difference_equality(difference, column);

	if (operator== NULL)
	{
		t = psprintf("pg_catalog.to_jsonb(%s)", t);
		c = psprintf("pg_catalog.to_jsonb(%s)", c);
		operator= "OPERATOR(pg_catalog.=)";
	}
	return psprintf("(%s %s %s) IS NOT TRUE AND (%s IS NOT NULL OR %s IS NOT NULL)", t, operator, c,
					t, c);
}

/* Whether rows of the same key are different, to SQL. */
static char *
difference_differs_to_sql(const EsDifference *difference)
{
	StringInfoData sql;
	const ListCell *cell;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "false");
	foreach (cell, difference->columns)
		if (!difference_is_in_key(difference, lfirst(cell)))
			appendStringInfo(&sql, " OR (%s)", difference_differs_in(difference, lfirst(cell)));
	return sql.data;
}

static char *
difference_report_keyed(const EsDifference *difference, bool names_table)
{
	const EsShadow *shadow = difference->shadow;
	char *t = difference_json(es_difference_list(difference->columns, "es_t."));
	char *c = difference_json(difference_cast_list(difference, difference->columns));

	return psprintf(
		"SELECT CASE WHEN es_t.tableoid IS NULL THEN 'missing' WHEN es_c.tableoid IS NULL THEN 'extra' ELSE 'different' END, "
		"%s, CASE WHEN es_t.tableoid IS NOT NULL THEN %s END, CASE WHEN es_c.tableoid IS NOT NULL THEN %s END "
		"FROM %s AS es_t FULL JOIN %s AS es_c ON %s "
		"WHERE CASE WHEN es_t.tableoid IS NULL OR es_c.tableoid IS NULL THEN true WHEN %s THEN %s ELSE false END "
		"ORDER BY 2",
		difference_json_key(difference, names_table), t, c, shadow->table_name, shadow->name,
		es_difference_match(difference), es_difference_differs(difference, difference->columns),
		difference_differs_to_sql(difference));
}

/* Rows numbered among those that are the same. */
static char *
difference_bag(const EsDifference *difference, const char *table)
{
	return psprintf(
		"(SELECT r, pg_catalog.row_number() OVER (PARTITION BY r) AS n "
		"FROM (SELECT pg_catalog.to_jsonb(es_row) AS r FROM (SELECT %s FROM %s) AS es_row) AS es_rows)",
		es_difference_list(difference->columns, ""), table);
}

static char *
difference_report_bag(const EsDifference *difference, bool names_table)
{
	const EsShadow *shadow = difference->shadow;
	char *key = names_table ? psprintf("pg_catalog.jsonb_build_object(%s, NULL)",
									   quote_literal_cstr(shadow->table_name))
							: "NULL::pg_catalog.jsonb";

	return psprintf("SELECT CASE WHEN es_t.r IS NULL THEN 'missing' ELSE 'extra' END, %s, es_t.r, es_c.r "
					"FROM %s AS es_t FULL JOIN %s AS es_c ON es_t.r OPERATOR(pg_catalog.=) es_c.r AND es_t.n OPERATOR(pg_catalog.=) es_c.n "
					"WHERE es_t.r IS NULL OR es_c.r IS NULL ORDER BY 3, 4",
					key, difference_bag(difference, shadow->table_name),
					difference_bag(difference, shadow->name));
}

/*
 * All rows count, whatever row security hides from the tables' owner: not even
 * where it is forced on him.  Where it hides some from somebody else, 42501 is
 * raised.  Until the security context and the GUC nest level end.
 */
void
es_difference_see_all(void)
{
	Oid user;
	int security;

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(user, security | SECURITY_NOFORCE_RLS);
	(void) set_config_option("row_security", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
}

/*
 * SELECT of the difference: kind, key, the stored row and the one of the copy.
 *
 * names_table: the key says of which table it is.
 */
char *
es_difference_report(const EsDifference *difference, bool names_table)
{
	if (difference->keys == NIL)
		return difference_report_bag(difference, names_table);
	return difference_report_keyed(difference, names_table);
}
