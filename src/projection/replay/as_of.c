/*-------------------------------------------------------------------------
 *
 * as_of.c
 *		es_projection_as_of: a projection's table as it was.
 *
 * The projection is applied to the events up to a position, or that were
 * recorded up to a time, and what comes of it goes into a new table, which
 * belongs to the caller.  Never beyond the head, so the same call gives the
 * same table again.
 *
 * The new table gets columns, rows and key, and nothing that could run
 * code of the projection's owner with the rights of the caller.  The other way
 * round, reader.c sees to it that nothing of the caller's runs as the owner.
 *
 * Memory: the function call's context.  Locks: AccessShare on the tables; those
 * of CREATE TABLE.  Calls: advance, difference, order, projection, reader,
 * replay, shadow.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "order/order.h"
#include "projection/advance.h"
#include "projection/replay/difference.h"
#include "projection/replay/gone.h"
#include "projection/replay/reader.h"
#include "projection/replay/replay.h"

PG_FUNCTION_INFO_V1(es_projection_as_of);

/*
 * The new tables' qualified names: for the projection's first table the one that
 * was given, for others that and their own.
 */
static List *
as_of_names(const EsProjection *projection, const char *into)
{
	List *result = NIL;
	ListCell *cell;

	foreach (cell, projection->tables)
	{
		RangeVar *name = makeRangeVarFromNameList(es_compat_name_list(into));
		RangeVar *own = makeRangeVarFromNameList(es_compat_name_list(lfirst(cell)));
		Oid schema;

		if (result != NIL)
			name->relname = psprintf("%s_%s", name->relname, own->relname);
		schema = RangeVarGetAndCheckCreationNamespace(name, NoLock, NULL);
		if (strlen(name->relname) >= NAMEDATALEN)
			ereport(ERROR,
					(errcode(ERRCODE_NAME_TOO_LONG),
					 errmsg("table name \"%s\" is too long", name->relname)));
		if (OidIsValid(get_relname_relid(name->relname, schema)))
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_TABLE),
					 errmsg("relation \"%s\" already exists", name->relname)));
		result = lappend(result,
						 quote_qualified_identifier(get_namespace_name(schema), name->relname));
		if (projection->is_declared)
			break;
	}
	return result;
}

static void
as_of_read_bounds(FunctionCallInfo fcinfo, int64 *position, TimestampTz *until)
{
	*position = PG_ARGISNULL(2) ? PG_INT64_MAX : PG_GETARG_INT64(2);
	*until = PG_ARGISNULL(3) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(3);
	if (*position < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("position must not be negative")));
	/* 0 is a time, too, but none at which an event was recorded. */
	if (*until == 0)
		*until = -1;
	if (*until == DT_NOEND)
		*until = 0;
}

static void
as_of_execute(const char *sql)
{
	SPI_connect();
	if (SPI_execute(sql, false, 0) < 0)
		elog(ERROR, "could not execute \"%s\"", sql);
	SPI_finish();
}

/*
 * Make a table of a copy's rows.  Not from the copy itself: who reads that
 * evaluates expressions of its indexes.
 */
static void
as_of_store(const EsShadow *shadow, const char *into)
{
	const EsDifference *difference = es_difference_make(shadow);
	char *key = es_difference_key(difference);
	char *rows = es_shadow_extract(shadow, "*");

	es_shadow_grant(shadow, rows, GetUserId());
	as_of_execute(psprintf("CREATE TABLE %s AS SELECT * FROM %s", into, rows));
	es_shadow_drop(shadow, rows);
	if (key != NULL)
		as_of_execute(psprintf("ALTER TABLE %s ADD %s", into, key));
}

/* Apply the projection; returns to how many events. */
static int64
as_of_replay(EsReplay *replay, int64 position)
{
	EsView view;
	int64 upto;
	int64 count;

	es_order_begin_view(&view);
	upto = Min(position, view.head);
	replay->projection.seen_by = view.snapshot;
	if (replay->projection.is_declared)
	{
		es_replay_select(replay, view.snapshot, upto);
		count = es_advance_count(&replay->projection, 0, upto);
	}
	else
	{
		es_replay_advance(replay, upto);
		count = replay->projection.events_applied;
	}
	es_order_end_view(&view);
	return count;
}

static Datum
as_of_call(PG_FUNCTION_ARGS)
{
	EsProjection *projection = es_replay_get_any(fcinfo, "es_projection_as_of()");
	EsReplay *replay;
	TimestampTz until;
	int64 position;
	int64 count;
	List *names;
	ListCell *name;
	ListCell *shadow;

	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("into_table must not be null")));
	as_of_read_bounds(fcinfo, &position, &until);
	if (!es_projection_is_own(projection))
		es_reader_check(projection);
	names = as_of_names(projection, text_to_cstring(PG_GETARG_TEXT_PP(1)));

	replay = es_replay_begin(projection);
	replay->projection.recorded_until = until;
	count = as_of_replay(replay, position);
	es_gone_tell(&replay->projection, position);
	forboth(name, names, shadow, replay->shadows) as_of_store(lfirst(shadow), lfirst(name));
	es_replay_end(replay);
	PG_RETURN_INT64(count);
}

/*
 * es_projection_as_of(name text, into_table text, position bigint = NULL,
 *					   at timestamptz = NULL) -> bigint
 */
Datum
es_projection_as_of(PG_FUNCTION_ARGS)
{
	return es_replay_call(as_of_call, fcinfo);
}
