/*-------------------------------------------------------------------------
 *
 * sql.c
 *		Statements in SQL, for what is not worth C.
 *
 * They run under a snapshot of their own, the newest, at every isolation
 * level; where they meet a row that has been changed since, READ COMMITTED
 * goes on with the new one and the others raise 40001.  They need the rights
 * of the store's owner: the functions that use them are SECURITY DEFINER, with
 * a pinned search_path, or have them run as the owner.
 *
 * Memory: SPI's own; the plans for the session.  Locks: what the statements
 * take.  Calls: catalog.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/catalog.h"
#include "base/ranges.h"
#include "base/sql.h"

/* Run a statement; to be ended by SPI_finish(). */
static void
sql_execute(EsSql *statement, Datum *values, const char *nulls)
{
	Snapshot snapshot;

	SPI_connect();
	if (statement->plan == NULL)
	{
		SPIPlanPtr plan = SPI_prepare(statement->text, statement->argument_count, statement->types);

		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare: %s", statement->text);
		statement->plan = plan;
	}
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	/* It may be about eventstore.events, made of ranges that others have made since. */
	es_ranges_hear();
	if (SPI_execute_snapshot(statement->plan, values, nulls, snapshot, InvalidSnapshot, false, true,
							 0) < 0)
		elog(ERROR, "could not run: %s", statement->text);
	UnregisterSnapshot(snapshot);
}

/*
 * Run a statement.
 *
 * nulls: a character each, 'n' for null; NULL: none is.
 *
 * Returns how many rows it found or wrote.
 */
int64
es_sql_run(EsSql *statement, Datum *values, const char *nulls)
{
	int64 count;

	sql_execute(statement, values, nulls);
	count = (int64) SPI_processed;
	SPI_finish();
	return count;
}

/*
 * The same as the owner of the store, with a pinned search_path, for a function
 * that anybody may call.  What has changed is seen by the next command.
 */
int64
es_sql_run_as_owner(EsSql *statement, Datum *values, const char *nulls)
{
	Relation rel = es_catalog_open(ES_PROJECTIONS, AccessShareLock);
	int level = NewGUCNestLevel();
	int security;
	int64 count;
	Oid user;

	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(rel->rd_rel->relowner, security | SECURITY_LOCAL_USERID_CHANGE);
	count = es_sql_run(statement, values, nulls);
	SetUserIdAndSecContext(user, security);
	AtEOXact_GUC(false, level);
	relation_close(rel, NoLock);
	CommandCounterIncrement();
	return count;
}

/*
 * Run a statement for a number.
 *
 * Returns the first column of the first row, a bigint; 0 where there is no row,
 * or it is null.
 */
int64
es_sql_number(EsSql *statement, Datum *values, const char *nulls)
{
	bool is_null = true;
	Datum value = (Datum) 0;

	sql_execute(statement, values, nulls);
	if (SPI_processed > 0 && SPI_tuptable != NULL)
		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null);
	SPI_finish();
	return is_null ? 0 : DatumGetInt64(value);
}
