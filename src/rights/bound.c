/*-------------------------------------------------------------------------
 *
 * bound.c
 *		A bound of a grant: a category, a tenant, or both, and which streams
 *		are within it.
 *
 * Memory: results in the current context.  Locks: none.  Calls: names.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "base/compat.h"
#include "base/names.h"
#include "rights/bound.h"

/* What a bound's mark consists of, beside the bound: SELECT '["category", "tenant"]' */
#define BOUND_BEGIN "SELECT '"
#define BOUND_END   '\''

/* The tenant of a stream; NULL: it has none. */
text *
es_bound_tenant(const text *stream)
{
	Size size;
	const char *tenant = es_names_find_tenant(stream, &size);

	return tenant == NULL ? NULL : cstring_to_text_with_len(tenant, (int) size);
}

/* Whether a stream is a tenant's. */
bool
es_bound_has_tenant(const text *stream, const text *tenant)
{
	Size size;
	const char *found = es_names_find_tenant(stream, &size);

	return found != NULL && size == VARSIZE_ANY_EXHDR(tenant) &&
		memcmp(found, VARDATA_ANY(tenant), size) == 0;
}

/* Whether a stream is of a category. */
static bool
bound_has_category(const text *stream, const text *category)
{
	Size size = VARSIZE_ANY_EXHDR(category);
	const char *name = VARDATA_ANY(stream);

	return VARSIZE_ANY_EXHDR(stream) >= size && memcmp(name, VARDATA_ANY(category), size) == 0 &&
		(VARSIZE_ANY_EXHDR(stream) == size || name[size] == '-');
}

/* Whether a stream is within a bound. */
bool
es_bound_fits(const EsBound *bound, const text *stream)
{
	return (bound->category == NULL || bound_has_category(stream, bound->category)) &&
		(bound->tenant == NULL || es_bound_has_tenant(stream, bound->tenant));
}

/*
 * Whether all streams of a category and a tenant are within a bound.
 *
 * category, tenant: NULL: all there are.
 */
bool
es_bound_covers(const EsBound *bound, const text *category, const text *tenant)
{
	return (bound->category == NULL ||
			(category != NULL && es_names_equal(bound->category, category))) &&
		(bound->tenant == NULL || (tenant != NULL && es_names_equal(bound->tenant, tenant)));
}

/* ----------------------------------------------------------------------
 * From a mark
 * ----------------------------------------------------------------------
 */

/* An element of an array; returns false if it is neither a string nor null. */
static bool
bound_get_part(JsonbContainer *array, uint32 number, text **part)
{
	JsonbValue *value = getIthJsonbValueFromContainer(array, number);

	*part = NULL;
	if (value == NULL || (value->type != jbvString && value->type != jbvNull))
		return false;
	if (value->type == jbvString)
		*part = cstring_to_text_with_len(value->val.string.val, value->val.string.len);
	return true;
}

/*
 * Read a bound from the source of its mark, as eventstore.mark_of_bound has made
 * it.  Returns false if it is not of that form, or bounds nothing.
 */
bool
es_bound_read(EsBound *bound, const char *source)
{
	Size size = strlen(source);
	Size begin = strlen(BOUND_BEGIN);
	StringInfoData json;
	Jsonb *array;
	Size i;

	if (size < begin + 2 || strncmp(source, BOUND_BEGIN, begin) != 0 ||
		source[size - 1] != BOUND_END || source[begin] != '[')
		return false;
	initStringInfo(&json);
	for (i = begin; i < size - 1; i++)
	{
		appendStringInfoChar(&json, source[i]);
		/* A quote stands there twice. */
		if (source[i] == BOUND_END)
			i++;
	}
	array = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data)));
	return bound_get_part(&array->root, 0, &bound->category) &&
		bound_get_part(&array->root, 1, &bound->tenant) &&
		(bound->category != NULL || bound->tenant != NULL);
}
