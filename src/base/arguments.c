/*-------------------------------------------------------------------------
 *
 * arguments.c
 *		Arguments that several verbs take.
 *
 * Memory: results in the current context.  Locks: none.  Calls: names.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/names.h"

/* Raise 22004 if an argument is null. */
void
es_arguments_check_not_null(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name)));
}

static int64
arguments_check_not_negative(int64 value, const char *name)
{
	if (value < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be negative", name)));
	return value;
}

/* A position, or a version; 0 = before the first. */
int64
es_arguments_get_position(FunctionCallInfo fcinfo, int argument, const char *name)
{
	es_arguments_check_not_null(fcinfo, argument, name);
	return arguments_check_not_negative(PG_GETARG_INT64(argument), name);
}

/*
 * A number from least to most.  Those that are kept as an int are bigint here,
 * too: drivers send either, and PostgreSQL makes a bigint of an int by itself,
 * but not the other way round.
 */
int64
es_arguments_get_number(FunctionCallInfo fcinfo, int argument, const char *name, int64 least,
						int64 most)
{
	int64 number;

	es_arguments_check_not_null(fcinfo, argument, name);
	number = PG_GETARG_INT64(argument);
	if (number < least || number > most)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be between %lld and %lld", name, (long long) least,
						(long long) most)));
	return number;
}

/* How many rows are wanted at the most; null = all. */
int64
es_arguments_get_max_count(FunctionCallInfo fcinfo, int argument)
{
	if (PG_ARGISNULL(argument))
		return PG_INT64_MAX;
	return arguments_check_not_negative(PG_GETARG_INT64(argument), "max_count");
}

/* Whether to read backward. */
ScanDirection
es_arguments_get_direction(FunctionCallInfo fcinfo, int argument)
{
	es_arguments_check_not_null(fcinfo, argument, "backward");
	return PG_GETARG_BOOL(argument) ? BackwardScanDirection : ForwardScanDirection;
}

/* The name of a stream. */
text *
es_arguments_get_stream(FunctionCallInfo fcinfo, int argument)
{
	text *stream;

	es_arguments_check_not_null(fcinfo, argument, "stream");
	stream = PG_GETARG_TEXT_PP(argument);
	es_names_check_stream(stream);
	return stream;
}

/* The name of a subscription. */
text *
es_arguments_get_subscription(FunctionCallInfo fcinfo, int argument, const char *name)
{
	text *subscription;

	es_arguments_check_not_null(fcinfo, argument, name);
	subscription = PG_GETARG_TEXT_PP(argument);
	es_names_check_subscription(subscription);
	return subscription;
}

/*
 * The name of a consumer; where it is null, that of this session, which no
 * other session of this server has.
 */
text *
es_arguments_get_consumer(FunctionCallInfo fcinfo, int argument)
{
	text *consumer;

	if (PG_ARGISNULL(argument))
		return cstring_to_text(psprintf("session %lx.%x", (long) MyStartTime, MyProcPid));
	consumer = PG_GETARG_TEXT_PP(argument);
	es_names_check_consumer(consumer);
	return consumer;
}

/*
 * The time that an interval, which must not be negative, leads to from now;
 * without end from PostgreSQL 17 on, if the interval is.
 */
TimestampTz
es_arguments_get_time_after(FunctionCallInfo fcinfo, int argument, const char *name, TimestampTz now)
{
	TimestampTz then;

	es_arguments_check_not_null(fcinfo, argument, name);
	then = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(now),
												   PG_GETARG_DATUM(argument)));
	if (then < now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be negative", name)));
	return then;
}
