/*-------------------------------------------------------------------------
 *
 * callable.c
 *		Functions and aggregates that a declared table can use.
 *
 * A declared table has to come out the same whenever its events are applied.
 * So its functions have to be immutable, or of those of PostgreSQL's stable
 * ones that depend on nothing but settings: with these a projection always runs
 * as they were at its creation.
 *
 * Memory: results in the current context.  Locks: none.  Calls: catalog.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_aggregate.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "projection/declared/callable.h"
#include "projection/declared/refuse.h"

/* ----------------------------------------------------------------------
 * Functions
 * ----------------------------------------------------------------------
 */

/* Stable functions of PostgreSQL that depend on settings only; sorted. */
static const char *const callable_settled[] = {
	"anytextcat",
	"array_in",
	"array_out",
	"array_to_json",
	"array_to_string",
	"array_to_text_null",
	"cash_in",
	"cash_out",
	"concat",
	"concat_ws",
	"date",
	"date_eq_timestamptz",
	"date_ge_timestamptz",
	"date_gt_timestamptz",
	"date_in",
	"date_le_timestamptz",
	"date_lt_timestamptz",
	"date_ne_timestamptz",
	"date_out",
	"date_part",
	"date_trunc",
	"enum_in",
	"enum_out",
	"extract",
	"float4out",
	"float8out",
	"format",
	"generate_series",
	"interval_in",
	"interval_out",
	"interval_pl_timestamptz",
	"json_build_array",
	"json_build_object",
	"jsonb_build_array",
	"jsonb_build_object",
	"jsonb_populate_record",
	"jsonb_to_record",
	"jsonb_to_recordset",
	"make_timestamptz",
	"money",
	"numeric",
	"overlaps",
	"record_out",
	"row_to_json",
	"textanycat",
	"time",
	"time_in",
	"timestamp",
	"timestamp_eq_timestamptz",
	"timestamp_ge_timestamptz",
	"timestamp_gt_timestamptz",
	"timestamp_in",
	"timestamp_le_timestamptz",
	"timestamp_lt_timestamptz",
	"timestamp_ne_timestamptz",
	"timestamp_out",
	"timestamptz",
	"timestamptz_eq_date",
	"timestamptz_eq_timestamp",
	"timestamptz_ge_date",
	"timestamptz_ge_timestamp",
	"timestamptz_gt_date",
	"timestamptz_gt_timestamp",
	"timestamptz_in",
	"timestamptz_le_date",
	"timestamptz_le_timestamp",
	"timestamptz_lt_date",
	"timestamptz_lt_timestamp",
	"timestamptz_mi_interval",
	"timestamptz_ne_date",
	"timestamptz_ne_timestamp",
	"timestamptz_out",
	"timestamptz_pl_interval",
	"timetz",
	"timetz_in",
	"timetz_out",
	"timezone",
	"to_char",
	"to_date",
	"to_json",
	"to_jsonb",
	"to_number",
	"to_timestamp",
};

static int
callable_compare(const void *key, const void *entry)
{
	return strcmp(key, *(const char *const *) entry);
}

static bool
callable_is_settled(const char *name)
{
	return bsearch(name, callable_settled, lengthof(callable_settled), sizeof(char *),
				   callable_compare) != NULL;
}

/*
 * Raise 0A000 unless a function's result is always the same.
 *
 * Returns false: go on; for check_functions_in_node.
 */
bool
es_callable_check(Oid function, void *context)
{
	char volatility = func_volatile(function);
	char *name;

	if (volatility == PROVOLATILE_IMMUTABLE)
		return false;
	name = get_func_name(function);
	if (volatility == PROVOLATILE_STABLE && get_func_namespace(function) == PG_CATALOG_NAMESPACE &&
		callable_is_settled(name))
		return false;
	es_refuse(errdetail("It calls function \"%s\", which is %s: its result may be another the next time.",
						name, volatility == PROVOLATILE_STABLE ? "stable" : "volatile"),
			  errhint("Use immutable functions of the event's columns."));
	return true;
}

/* A function's name, qualified and quoted. */
char *
es_callable_name(Oid function)
{
	return quote_qualified_identifier(get_namespace_name(get_func_namespace(function)),
									  get_func_name(function));
}

/* An operator as it stands between two expressions: OPERATOR(schema.name) */
char *
es_callable_operator(Oid operator)
{
	HeapTuple row = SearchSysCache1(OPEROID, ObjectIdGetDatum(operator));
	Form_pg_operator form = (Form_pg_operator) GETSTRUCT(row);
	char *name = psprintf("OPERATOR(%s.%s)",
						  quote_identifier(get_namespace_name(form->oprnamespace)),
						  NameStr(form->oprname));

	ReleaseSysCache(row);
	return name;
}

/* A collation's name, qualified and quoted. */
char *
es_callable_collation(Oid collation)
{
	HeapTuple row = SearchSysCache1(COLLOID, ObjectIdGetDatum(collation));
	Form_pg_collation form = (Form_pg_collation) GETSTRUCT(row);
	char *name = quote_qualified_identifier(get_namespace_name(form->collnamespace),
											NameStr(form->collname));

	ReleaseSysCache(row);
	return name;
}

/* ----------------------------------------------------------------------
 * Aggregates
 * ----------------------------------------------------------------------
 */

static bool
callable_is_ours(Oid function, const char *name)
{
	return strcmp(get_func_name(function), name) == 0 &&
		getExtensionOfObject(ProcedureRelationId, function) == get_extension_oid(ES_SCHEMA, true);
}

/* The qualified name of es_first or es_last, wherever they stand. */
char *
es_callable_pick_name(bool is_last)
{
	const char *name = is_last ? "es_last" : "es_first";
	CatCList *functions = SearchSysCacheList1(PROCNAMEARGSNSP, CStringGetDatum(name));
	char *result = NULL;
	int i;

	for (i = 0; i < functions->n_members && result == NULL; i++)
	{
		Form_pg_proc form = (Form_pg_proc) GETSTRUCT(&functions->members[i]->tuple);

		if (callable_is_ours(form->oid, name))
			result = es_callable_name(form->oid);
	}
	ReleaseCatCacheList(functions);
	if (result == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("aggregate \"%s\" does not exist", name),
				 errhint("The extension \"eventstore\" is damaged.")));
	return result;
}

/* Which of the aggregates with a way of their own it is. */
EsCallable
es_callable_which(Oid aggregate)
{
	char *name = get_func_name(aggregate);

	if (get_func_namespace(aggregate) == PG_CATALOG_NAMESPACE)
	{
		if (strcmp(name, "count") == 0)
			return ES_CALLABLE_COUNT;
		if (strcmp(name, "sum") == 0)
			return ES_CALLABLE_SUM;
		if (strcmp(name, "avg") == 0)
			return ES_CALLABLE_AVG;
		if (strcmp(name, "jsonb_object_agg") == 0)
			return ES_CALLABLE_LATEST;
		if (strcmp(name, "array_agg") == 0)
			return ES_CALLABLE_LIST;
		if (strcmp(name, "jsonb_agg") == 0)
			return ES_CALLABLE_JSONB_LIST;
		if (aggregate == F_STRING_AGG_TEXT_TEXT)
			return ES_CALLABLE_STRING_LIST;
		return ES_CALLABLE_OTHER;
	}
	if (callable_is_ours(aggregate, "es_first"))
		return ES_CALLABLE_FIRST;
	if (callable_is_ours(aggregate, "es_last"))
		return ES_CALLABLE_LAST;
	return ES_CALLABLE_OTHER;
}

/* PostgreSQL's own aggregates that are told best what to write in their place. */
static const char *
callable_hint(Oid aggregate)
{
	static const char *const moments[] = {"stddev",   "stddev_pop", "stddev_samp",
										  "variance", "var_pop",    "var_samp"};
	const char *name = get_func_name(aggregate);
	int i;

	if (get_func_namespace(aggregate) != PG_CATALOG_NAMESPACE)
		return NULL;
	for (i = 0; i < lengthof(moments); i++)
		if (strcmp(name, moments[i]) == 0)
			return "Declare count(x), sum(x) and sum(x * x), and compute it when you query the read table.";
	if (strncmp(name, "json_agg", 8) == 0)
		return "Write jsonb_agg(value ORDER BY position).";
	if (strncmp(name, "json_object_agg", 15) == 0 || strncmp(name, "jsonb_object_agg", 16) == 0)
		return "Write jsonb_object_agg(key, value ORDER BY position): the latest value.";
	if (strncmp(name, "jsonb_agg", 9) == 0)
		return "Write jsonb_agg(value ORDER BY position), with a FILTER.";
	return NULL;
}

/* Why two results of an aggregate can not be merged; NULL: they can. */
static const char *
callable_find_obstacle(Form_pg_aggregate form, const char **hint)
{
	Oid function = form->aggcombinefn;

	if (OidIsValid(form->aggfinalfn) || form->aggtranstype == INTERNALOID)
		return "its state is not its result";
	if (!OidIsValid(function))
	{
		*hint = "Give it a combine function (COMBINEFUNC), which merges two results.";
		return "it has no combine function";
	}
	if (!func_strict(function))
	{
		*hint = "A strict one is never given nulls, which stand for no value yet.";
		return psprintf("its combine function \"%s\" is not strict", get_func_name(function));
	}
	if (func_volatile(function) != PROVOLATILE_IMMUTABLE)
		return psprintf("its combine function \"%s\" is not immutable", get_func_name(function));
	if (func_volatile(form->aggtransfn) != PROVOLATILE_IMMUTABLE)
		return psprintf("its function \"%s\" is not immutable", get_func_name(form->aggtransfn));
	return NULL;
}

/*
 * How to merge two results of an aggregate.  Returns false if there is no way:
 * its state is not its result, or it was not made to be merged.
 */
bool
es_callable_find_combine(Oid aggregate, EsCallableCombine *combine)
{
	HeapTuple row = SearchSysCache1(AGGFNOID, ObjectIdGetDatum(aggregate));
	Form_pg_aggregate form = (Form_pg_aggregate) GETSTRUCT(row);
	bool has_no_initial;

	combine->hint = callable_hint(aggregate);
	combine->reason = callable_find_obstacle(form, &combine->hint);
	(void) SysCacheGetAttr(AGGFNOID, row, Anum_pg_aggregate_agginitval, &has_no_initial);
	if (combine->reason == NULL)
	{
		combine->name = es_callable_name(form->aggcombinefn);
		combine->starts_with_input = has_no_initial && func_strict(form->aggtransfn);
	}
	ReleaseSysCache(row);
	return combine->reason == NULL;
}
