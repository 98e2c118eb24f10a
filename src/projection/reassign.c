/*-------------------------------------------------------------------------
 *
 * reassign.c
 *		es_reassign_projection: another role owns a projection.
 *
 * What ALTER TABLE ... OWNER TO is to a table.  The tables of a declaration go
 * with it, by that very command and with the caller's rights.  A projection
 * that has lost its owner gets one again so.
 *
 * Memory: the function call's context.  Locks: the projection's, to the end of
 * the transaction; those of ALTER TABLE.  Calls: apply, projection, readtable,
 * transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "order/transaction.h"
#include "projection/apply.h"
#include "projection/definition.h"
#include "projection/projection.h"
#include "projection/readtable.h"

PG_FUNCTION_INFO_V1(es_reassign_projection);

static void
reassign_check_call(void)
{
	PreventCommandIfReadOnly("es_reassign_projection()");
	PreventCommandIfParallelMode("es_reassign_projection()");
	if (es_apply_current() != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("es_reassign_projection() can not be called by the SQL of a projection")));
}

/* Give a table of a declaration to the new owner, if it is there and is not his. */
static void
reassign_table(const char *table, Oid owner)
{
	Oid oid = es_readtable_find(table);
	Relation rel = OidIsValid(oid) ? try_relation_open(oid, AccessShareLock) : NULL;
	bool has_owner = rel == NULL || rel->rd_rel->relowner == owner;
	char *sql;

	if (rel != NULL)
		relation_close(rel, NoLock);
	if (has_owner)
		return;
	sql = psprintf("ALTER TABLE %s OWNER TO %s", table,
				   quote_identifier(GetUserNameFromId(owner, false)));
	SPI_connect();
	if (SPI_execute(sql, false, 0) < 0)
		elog(ERROR, "could not execute \"%s\"", sql);
	SPI_finish();
	CommandCounterIncrement();
}

/*
 * es_reassign_projection(name text, owner regrole) -> void
 */
Datum
es_reassign_projection(PG_FUNCTION_ARGS)
{
	EsProjection *projection;
	char *name;
	ListCell *cell;
	Oid owner;

	es_arguments_check_not_null(fcinfo, 0, "name");
	es_arguments_check_not_null(fcinfo, 1, "owner");
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	owner = PG_GETARG_OID(1);
	reassign_check_call();
	es_transaction_change_projection();
	es_projection_lock(name);
	projection = es_projection_get(name);
	es_projection_check_owner(projection);
	/* Also raises if there is no such role. */
	(void) GetUserNameFromId(owner, false);
	es_compat_check_can_be(GetUserId(), owner);
	es_definition_reassign(projection, owner);
	if (es_projection_owns_table(projection))
		foreach (cell, projection->tables)
			reassign_table(lfirst(cell), owner);
	PG_RETURN_VOID();
}
