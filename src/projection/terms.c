/*-------------------------------------------------------------------------
 *
 * terms.c
 *		What a projection's verbs are told: their arguments.
 *
 * Memory: the function call's context.  Locks: none, but what looking up tables by
 * name takes.  Calls: environment, projection, readtable.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "projection/environment.h"
#include "projection/projection.h"
#include "projection/readtable.h"
#include "projection/terms.h"

void
es_terms_check_not_null(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name)));
}

char *
es_terms_get_text(FunctionCallInfo fcinfo, int argument, const char *name)
{
	es_terms_check_not_null(fcinfo, argument, name);
	return text_to_cstring(PG_GETARG_TEXT_PP(argument));
}

/* Whether a word is the first of two that it has to be one of. */
static bool
terms_choose(const char *value, const char *name, const char *first, const char *second)
{
	if (strcmp(value, first) != 0 && strcmp(value, second) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown %s \"%s\"", name, value),
				 errhint("It is \"%s\" or \"%s\".", first, second)));
	return strcmp(value, first) == 0;
}

/* An argument that has to be one of two words; returns whether it is the first. */
bool
es_terms_get_choice(FunctionCallInfo fcinfo, int argument, const char *name, const char *first,
					const char *second)
{
	return terms_choose(es_terms_get_text(fcinfo, argument, name), name, first, second);
}

/* Raise where a projection can not have a name. */
void
es_terms_check_name(const char *name)
{
	if (name[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("projection name must not be empty")));
	if (strlen(name) > ES_MAX_PROJECTION_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("projection name is too long"),
				 errdetail("It has %zu bytes; the limit is %d.", strlen(name), ES_MAX_PROJECTION_BYTES)));
}

char *
es_terms_get_name(FunctionCallInfo fcinfo)
{
	char *name = es_terms_get_text(fcinfo, 0, "name");

	es_terms_check_name(name);
	return name;
}

/* Elements of an array argument without nulls; at least one. */
static Datum *
terms_get_array(FunctionCallInfo fcinfo, int argument, const char *name, int *count)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(argument);
	Oid type = ARR_ELEMTYPE(array);
	bool *nulls;
	Datum *elements;
	int16 length;
	bool by_value;
	char align;
	int i;

	get_typlenbyvalalign(type, &length, &by_value, &align);
	if (ARR_NDIM(array) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be a one-dimensional array with at least one element", name),
				 errhint("NULL stands for no restriction.")));
	deconstruct_array(array, type, length, by_value, align, &elements, &nulls, count);
	for (i = 0; i < *count; i++)
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s must not contain nulls", name)));
	return elements;
}

void
es_terms_get_filter(FunctionCallInfo fcinfo, int argument, const char *name, EsFilter *filter)
{
	Datum *elements;
	int i;

	if (PG_ARGISNULL(argument))
		return;
	elements = terms_get_array(fcinfo, argument, name, &filter->count);
	filter->is_on = true;
	filter->names = palloc(sizeof(text *) * filter->count);
	for (i = 0; i < filter->count; i++)
		filter->names[i] = DatumGetTextPP(elements[i]);
}

/*
 * Tables, as the user named them.
 *
 * name: of the argument; what: what a table can not be that is none.
 */
List *
es_terms_get_tables(FunctionCallInfo fcinfo, int argument, const char *name, const char *what)
{
	List *result = NIL;
	ListCell *cell;
	Datum *elements;
	int count;
	int i;

	if (PG_ARGISNULL(argument))
		return NIL;
	elements = terms_get_array(fcinfo, argument, name, &count);
	for (i = 0; i < count; i++)
	{
		char *table = es_readtable_check(DatumGetObjectId(elements[i]), what);

		if (list_member(result, makeString(table)))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("%s names %s twice", name, table)));
		result = lappend(result, makeString(table));
	}
	foreach (cell, result)
		lfirst(cell) = strVal(lfirst(cell));
	return result;
}

/* An async projection has no append to fail: it stops. */
EsOnError
es_terms_get_on_error(FunctionCallInfo fcinfo, bool is_inline)
{
	const char *value = es_terms_get_text(fcinfo, 6, "on_error");

	if (is_inline)
		return terms_choose(value, "on_error of an inline projection", "fail", "stop")
			? ES_ON_ERROR_FAIL
			: ES_ON_ERROR_STOP;
	if (strcmp(value, "fail") == 0)
		return ES_ON_ERROR_STOP;
	return terms_choose(value, "on_error of an async projection", "skip", "stop")
		? ES_ON_ERROR_SKIP
		: ES_ON_ERROR_STOP;
}

/*
 * What is said of every new projection, the name in the first argument.
 *
 * mode, categories, types: numbers of these arguments, from 0.
 */
EsProjection *
es_terms_read(FunctionCallInfo fcinfo, int mode, int categories, int types)
{
	EsProjection *projection = palloc0(sizeof(EsProjection));

	projection->name = es_terms_get_name(fcinfo);
	projection->is_inline = es_terms_get_choice(fcinfo, mode, "mode", "inline", "async");
	es_terms_get_filter(fcinfo, categories, "categories", &projection->categories);
	es_terms_get_filter(fcinfo, types, "types", &projection->types);
	projection->role = GetUserId();
	projection->owner = GetUserNameFromId(projection->role, false);
	projection->settings = es_environment_describe();
	return projection;
}
