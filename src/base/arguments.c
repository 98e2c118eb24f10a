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
