/*-------------------------------------------------------------------------
 *
 * forget.c
 *		Taking events from a stream, from its first one on.
 *
 * An event goes by a DELETE in SQL, so that triggers, foreign keys and
 * publications of the table know, and leaves a row in
 * eventstore.removed_events: its id stays known, and its digest says what it
 * was; and one in eventstore.tally_removals for who counts events.  It runs as the table's owner, without regard to row security: the right
 * to call the verb is the right to do it.
 *
 * Nothing here is waited for by an append.  Who comes in between finds the
 * events, or finds them gone: both are an order that could have been.
 *
 * Memory: SPI's own.  Locks: what the statements take; the caller holds the
 * userlocks "custody" and "keeps".  Calls: immutability, sql.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/rel.h"

#include "base/catalog.h"
#include "base/conceal.h"
#include "keeping/forget.h"

/* A statement to be run, and its result. */
typedef struct ForgetCall
{
	EsSql *statement;
	Datum *values;
	const char *nulls;
	int64 result;
} ForgetCall;

static void
forget_run(void *argument)
{
	ForgetCall *call = argument;

	call->result = es_sql_number(call->statement, call->values, call->nulls);
}

/* As the owner of the tables; an error does not show what is in the events. */
static void
forget_run_as_owner(ForgetCall *call, const EsPermit *permit)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	MemoryContext caller = CurrentMemoryContext;
	Oid user;
	int security;

	GetUserIdAndSecContext(&user, &security);
	/* The worker is a superuser, as whom nothing of the owner's may be run later. */
	SetUserIdAndSecContext(RelationGetForm(events)->relowner,
						   security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS |
							   (MyBackendType == B_BG_WORKER ? SECURITY_RESTRICTED_OPERATION : 0));
	PG_TRY();
	{
		if (permit == NULL)
			forget_run(call);
		else
			es_immutability_except(permit, forget_run, call);
	}
	PG_CATCH();
	{
		EsConceal conceal = {.table = events, .own_columns = Natts_event};

		es_conceal_rethrow(&conceal, caller);
	}
	PG_END_TRY();
	SetUserIdAndSecContext(user, security);
	relation_close(events, NoLock);
}

/*
 * Run a statement as the owner of the tables.  Returns the number in the first
 * column of its first row; 0 if there is none.
 */
int64
es_forget_run(EsSql *statement, Datum *values, const char *nulls)
{
	return es_forget_change(statement, values, nulls, NULL);
}

/*
 * The same of one that changes events.
 *
 * permit: which, and how; NULL: it changes none.
 */
int64
es_forget_change(EsSql *statement, Datum *values, const char *nulls, const EsPermit *permit)
{
	ForgetCall call = {statement, values, nulls, 0};

	forget_run_as_owner(&call, permit);
	return call.result;
}

/*
 * Take the events of some versions from a stream.  Returns how many are gone.
 */
int64
es_forget_events(const text *stream, int64 first, int64 last)
{
	static EsSql statement = ES_SQL(
		"WITH gone AS (DELETE FROM eventstore.events e "
		"WHERE e.stream = $1 AND e.version BETWEEN $2 AND $3 RETURNING e.position, e.stream, e.category, e.version, "
		"e.id, e.type, e.data, e.metadata, e.tags, e.recorded_at), "
		"noted AS (INSERT INTO eventstore.removed_events "
		"(id, position, stream, version, type, recorded_at, removed_at, digest) "
		"SELECT g.id, g.position, g.stream, g.version, g.type, g.recorded_at, pg_catalog.clock_timestamp(), "
		"eventstore.event_digest(ROW(g.position, g.stream, g.category, g.version, g.id, g.type, g.data, g.metadata, "
		"g.tags, g.recorded_at)::eventstore.event) FROM gone g ON CONFLICT DO NOTHING), "
		"tallied AS (INSERT INTO eventstore.tally_removals (stream, type, positions) "
		"SELECT g.stream, g.type, pg_catalog.array_agg(g.position) FROM gone g "
		"WHERE pg_catalog.current_setting('session_replication_role') OPERATOR(pg_catalog.<>) 'replica' "
		"GROUP BY g.stream, g.type) "
		"SELECT pg_catalog.count(*) FROM gone",
		TEXTOID, INT8OID, INT8OID);
	EsPermit permit = {ES_CHANGE_REMOVE, stream, first, last};
	Datum values[] = {PointerGetDatum(stream), Int64GetDatum(first), Int64GetDatum(last)};

	return es_forget_change(&statement, values, NULL, &permit);
}

/* Throw away the snapshots of some versions of a stream. */
void
es_forget_snapshots(const text *stream, int64 first, int64 last)
{
	static EsSql statement = ES_SQL("DELETE FROM eventstore.snapshots "
									"WHERE stream = $1 AND version BETWEEN $2 AND $3",
									TEXTOID, INT8OID, INT8OID);
	Datum values[] = {PointerGetDatum(stream), Int64GetDatum(first), Int64GetDatum(last)};

	(void) es_forget_run(&statement, values, NULL);
}
