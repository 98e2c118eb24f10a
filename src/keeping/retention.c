/*-------------------------------------------------------------------------
 *
 * retention.c
 *		How long events are kept: es_set_retention, es_apply_retention, and
 *		what the worker does of it.
 *
 * es_apply_retention does it all in one transaction (retain.c).  The worker goes
 * on, in small transactions, from where it was: RETENTION_SLICE events or
 * RETENTION_STREAMS streams at a time.  When it is through all rules, it rests for
 * eventstore.retention_interval.  Where a transaction of somebody else is in the
 * way, it gives up on that stream after RETENTION_PATIENCE; an error is told the
 * log.
 *
 * Memory: the function call's context; the worker's place is static.  Locks:
 * userlock "custody", and those of retain.c.  Calls: arguments, attempt, custody,
 * forget, names, retain, settings.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/attempt.h"
#include "base/compat.h"
#include "base/settings.h"
#include "keeping/custody.h"
#include "keeping/forget.h"
#include "keeping/retain.h"
#include "keeping/retention.h"

PG_FUNCTION_INFO_V1(es_set_retention);
PG_FUNCTION_INFO_V1(es_apply_retention);

/* What the worker does in one transaction: some milliseconds. */
#define RETENTION_SLICE    100 /* events */
#define RETENTION_STREAMS  200 /* that are looked at */
#define RETENTION_PATIENCE "10ms"

/* So many failures are told the log each time. */
#define RETENTION_TOLD 10

/* ----------------------------------------------------------------------
 * The verbs
 * ----------------------------------------------------------------------
 */

static void
retention_check_age(FunctionCallInfo fcinfo)
{
	Interval zero = {0};

	if (PG_ARGISNULL(1))
		return;
	if (DatumGetBool(DirectFunctionCall2(interval_lt, PG_GETARG_DATUM(1), IntervalPGetDatum(&zero))))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_age must not be negative")));
	/* Raises where that is out of the range of times. */
	(void) es_retain_oldest(PG_GETARG_DATUM(1));
}

static void
retention_check_count(FunctionCallInfo fcinfo)
{
	if (!PG_ARGISNULL(2) && PG_GETARG_INT64(2) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_count must be positive"),
				 errhint("To forget all events of a stream, call es_delete_stream().")));
}

/*
 * es_set_retention(stream_or_category text, max_age interval = NULL, max_count bigint = NULL) -> void
 */
Datum
es_set_retention(PG_FUNCTION_ARGS)
{
	static EsSql set =
		ES_SQL("INSERT INTO eventstore.retention AS r (name, max_age, max_count) VALUES ($1, $2, $3) "
			   "ON CONFLICT (name) DO UPDATE SET max_age = excluded.max_age, max_count = excluded.max_count",
			   TEXTOID, INTERVALOID, INT8OID);
	static EsSql unset = ES_SQL("DELETE FROM eventstore.retention WHERE name = $1", TEXTOID);
	Datum values[3] = {0};
	char nulls[] = "   ";
	int i;

	es_arguments_check_not_null(fcinfo, 0, "stream_or_category");
	es_names_check_category(PG_GETARG_TEXT_PP(0));
	retention_check_age(fcinfo);
	retention_check_count(fcinfo);
	PreventCommandIfReadOnly("es_set_retention()");
	PreventCommandIfParallelMode("es_set_retention()");

	for (i = 0; i < lengthof(values); i++)
	{
		if (PG_ARGISNULL(i))
			nulls[i] = 'n';
		else
			values[i] = PG_GETARG_DATUM(i);
	}
	(void) es_forget_run(PG_ARGISNULL(1) && PG_ARGISNULL(2) ? &unset : &set, values, nulls);
	PG_RETURN_VOID();
}

/*
 * es_apply_retention() -> bigint
 */
Datum
es_apply_retention(PG_FUNCTION_ARGS)
{
	EsRetainPlace place = {0};
	EsRetainWalk walk = {.place = &place, .slice = PG_INT64_MAX, .streams = PG_INT64_MAX};

	PreventCommandIfReadOnly("es_apply_retention()");
	PreventCommandIfParallelMode("es_apply_retention()");
	es_custody_alter();
	(void) es_retain_walk(&walk);
	PG_RETURN_INT64(walk.gone);
}

/* ----------------------------------------------------------------------
 * The worker
 * ----------------------------------------------------------------------
 */

static EsRetainPlace retention_place = {0};

/* When the worker has begun last, and whether it has come to the end since. */
static TimestampTz retention_begun = 0;
static bool retention_is_through = true;

/* Since then: how often it failed; and how many steps to come are of one stream only. */
static int retention_failures = 0;
static int retention_single_steps = 0;

static void
retention_step(void *argument)
{
	EsRetainWalk walk = {.place = &retention_place,
						 .slice = RETENTION_SLICE,
						 .streams = retention_single_steps > 0 ? 1 : RETENTION_STREAMS};
	int level = NewGUCNestLevel();

	(void) set_config_option("lock_timeout", RETENTION_PATIENCE, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	/* A seal may be waiting for somebody else who removes events. */
	if (es_custody_try_alter())
		retention_is_through = es_retain_walk(&walk);
	else
		retention_is_through = true;
	AtEOXact_GUC(false, level);
}

/*
 * In how many milliseconds the worker has something to do about retention: 0:
 * now.
 */
long
es_retention_due(void)
{
	if (es_guc_retention_interval == 0)
		return LONG_MAX;
	if (!retention_is_through)
		return 0;
	return TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
										   TimestampTzPlusMilliseconds(retention_begun,
																	   es_guc_retention_interval *
																		   INT64CONST(1000)));
}

/* Tell the log; not of each stream, if it is many. */
static void
retention_tell(const ErrorData *error)
{
	if (retention_failures++ >= RETENTION_TOLD)
		return;
	ereport(LOG,
			(errcode(error->sqlerrcode),
			 errmsg("could not apply the retention of \"%s\" to stream \"%s\": %s",
					retention_place.rule, retention_place.has_stream ? retention_place.stream : "",
					error->message),
			 errdetail("It is tried again after %d seconds.", es_guc_retention_interval),
			 retention_failures == RETENTION_TOLD
				 ? errhint("More of these are not told until then.")
				 : 0));
}

/*
 * A step has failed, and all that it did is taken back: where it may have been
 * several streams, they are gone through one by one, so that those before the one
 * that fails are done; else that one is left alone until the next time.
 *
 * before: where the step began.
 */
static void
retention_fail(const EsRetainPlace *before, const ErrorData *error)
{
	bool has_moved;

	/* Nothing of a stream is gone by it. */
	memcpy(retention_place.part, before->part, sizeof(before->part));
	retention_place.reached = before->reached;
	has_moved = memcmp(before, &retention_place, offsetof(EsRetainPlace, part)) != 0;
	if (has_moved && retention_single_steps == 0)
	{
		retention_place = *before;
		retention_single_steps = RETENTION_STREAMS;
		return;
	}
	retention_single_steps = 0;
	retention_tell(error);
	if (has_moved)
		return;
	/* Of no stream at all: leave the rule alone, and if that is none either, the rest. */
	if (!retention_place.has_rule || retention_place.is_past)
		retention_is_through = true;
	retention_place.is_past = true;
}

/*
 * The worker's part: apply the rules a bit further, in a transaction of its own.
 * An error is told the log, and the stream left alone until the next time.
 */
void
es_retention_work(void)
{
	EsRetainPlace before;
	ErrorData *error;

	if (retention_is_through)
	{
		memset(&retention_place, 0, sizeof(retention_place));
		retention_begun = GetCurrentTimestamp();
		retention_is_through = false;
		retention_failures = retention_single_steps = 0;
	}
	before = retention_place;
	error = es_attempt(retention_step, NULL);
	if (error != NULL)
		retention_fail(&before, error);
	else if (retention_single_steps > 0)
		retention_single_steps--;
}
