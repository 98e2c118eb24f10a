/*-------------------------------------------------------------------------
 *
 * definition.c
 *		Arguments that define a subscription, checked: for es_create_subscription,
 *		es_alter_subscription and es_reset_subscription.
 *
 * Memory: results in the current context.  Locks: none.  Calls: arguments,
 * names, order, partition.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/names.h"
#include "base/partition.h"
#include "order/order.h"
#include "subscription/definition.h"

/* 1 to ES_MAX_PARTITIONS. */
int
es_definition_get_partitions(FunctionCallInfo fcinfo, int argument)
{
	return (int) es_arguments_get_number(fcinfo, argument, "partitions", 1, ES_MAX_PARTITIONS);
}

/* At least 0, with room to count one more. */
int
es_definition_get_max_retries(FunctionCallInfo fcinfo, int argument)
{
	es_arguments_check_not_null(fcinfo, argument, "max_retries");
	if (PG_GETARG_INT64(argument) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_retries must not be negative")));
	return (int) Min(PG_GETARG_INT64(argument), PG_INT32_MAX - 1);
}

/* An interval that leads to a time after now. */
Datum
es_definition_get_lease(FunctionCallInfo fcinfo, int argument)
{
	TimestampTz now = GetCurrentTimestamp();

	if (es_arguments_get_time_after(fcinfo, argument, "lease", now) == now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("lease must be greater than zero")));
	return PG_GETARG_DATUM(argument);
}

/* The text pass or block_stream. */
Datum
es_definition_get_park_policy(FunctionCallInfo fcinfo, int argument)
{
	char *policy;

	es_arguments_check_not_null(fcinfo, argument, "park_policy");
	policy = text_to_cstring(PG_GETARG_TEXT_PP(argument));
	if (strcmp(policy, "pass") != 0 && strcmp(policy, "block_stream") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown park policy \"%s\"", policy),
				 errhint("The policies are pass and block_stream.")));
	return PG_GETARG_DATUM(argument);
}

/* A text; (Datum) 0 where it is null. */
Datum
es_definition_get_category(FunctionCallInfo fcinfo, int argument)
{
	if (PG_ARGISNULL(argument))
		return (Datum) 0;
	es_names_check_category(PG_GETARG_TEXT_PP(argument));
	return PG_GETARG_DATUM(argument);
}

/* A text that a stream's tenant can be; (Datum) 0 where it is null. */
Datum
es_definition_get_tenant(FunctionCallInfo fcinfo, int argument)
{
	text *tenant;

	if (PG_ARGISNULL(argument))
		return (Datum) 0;
	tenant = PG_GETARG_TEXT_PP(argument);
	es_names_check_tenant(tenant);
	return PointerGetDatum(tenant);
}

/* A text[] without lower bounds of its own; (Datum) 0 where it is null. */
Datum
es_definition_get_types(FunctionCallInfo fcinfo, int argument)
{
	ArrayType *types;
	Datum *items;
	bool *nulls;
	int count;
	int i;

	if (PG_ARGISNULL(argument))
		return (Datum) 0;
	types = PG_GETARG_ARRAYTYPE_P(argument);
	if (ARR_NDIM(types) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 ARR_NDIM(types) == 0 ? errmsg("types must not be empty")
									  : errmsg("types must be a one-dimensional array"),
				 ARR_NDIM(types) == 0 ? errhint("Null stands for all types.") : 0));
	deconstruct_array(types, TEXTOID, -1, false, TYPALIGN_INT, &items, &nulls, &count);
	for (i = 0; i < count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("types must not contain nulls")));
		es_names_check_type(DatumGetTextPP(items[i]));
	}
	return PointerGetDatum(construct_array(items, count, TEXTOID, -1, false, TYPALIGN_INT));
}

/* Whether an argument of es_alter_subscription says: of all categories. */
bool
es_definition_is_all_categories(FunctionCallInfo fcinfo, int argument)
{
	return !PG_ARGISNULL(argument) && VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(argument)) == 0;
}

/* The same for all tenants. */
bool
es_definition_is_all_tenants(FunctionCallInfo fcinfo, int argument)
{
	return es_definition_is_all_categories(fcinfo, argument);
}

/* The same for all types. */
bool
es_definition_is_all_types(FunctionCallInfo fcinfo, int argument)
{
	return !PG_ARGISNULL(argument) && ARR_NDIM(PG_GETARG_ARRAYTYPE_P(argument)) == 0;
}

/*
 * A position, 0 to the head; -1 stands for the head.
 *
 * Beyond it nothing would be delivered until the store has grown that far, and
 * what came until then never.
 */
int64
es_definition_get_after_position(FunctionCallInfo fcinfo, int argument)
{
	int64 after;
	int64 head;

	es_arguments_check_not_null(fcinfo, argument, "after_position");
	after = PG_GETARG_INT64(argument);
	if (after < -1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("after_position must not be less than -1"),
				 errhint("-1 stands for the head.")));
	head = es_order_head(NULL);
	if (after > head)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("after_position %lld is beyond the head", (long long) after),
				 errdetail("The head is at %lld.", (long long) head),
				 errhint("-1 stands for the head. A position that this store does not have yet may "
						 "come from another one, or from before a restore; appends in flight hold the "
						 "head back until they end.")));
	return after == -1 ? head : after;
}
