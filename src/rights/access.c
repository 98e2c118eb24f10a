/*-------------------------------------------------------------------------
 *
 * access.c
 *		What sql/40_access.sql needs: es_tenant, and what the store's own policies
 *		on eventstore.events ask.
 *
 * Policies ask as the role that selects, so PUBLIC may execute these: they tell
 * a role nothing but what it may see itself.
 *
 * Row security is switched without ALTER TABLE and ALTER POLICY, which would
 * wait for everybody who reads or appends, consumers that wait for hours among
 * them, and have all others wait behind.  What runs meanwhile goes on as it
 * began, and may: nobody has a right yet that depends on it.
 *
 * Memory: the function call's context.  Locks: userlock "grants"; AccessShare on eventstore.events;
 * to switch, ShareUpdateExclusive, and RowExclusive on two catalogues; to give partitions
 * to another owner, AccessExclusive on them.  Calls: arguments, bound, catalog, names,
 * ranges, rights, sql.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_policy.h"
#include "commands/event_trigger.h"
#include "commands/tablecmds.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "rewrite/rowsecurity.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/arguments.h"
#include "base/catalog.h"
#include "base/compat.h"
#include "base/names.h"
#include "base/ranges.h"
#include "base/sql.h"
#include "base/userlock.h"
#include "rights/rights.h"
#include "rights/see.h"

PG_FUNCTION_INFO_V1(es_tenant);
PG_FUNCTION_INFO_V1(es_sees_all);
PG_FUNCTION_INFO_V1(es_sees);
PG_FUNCTION_INFO_V1(es_is_everyone_let_in);
PG_FUNCTION_INFO_V1(es_switch_row_security);
PG_FUNCTION_INFO_V1(es_level_partitions);
PG_FUNCTION_INFO_V1(es_lock_grants);

/*
 * es_tenant(stream text) -> text
 */
Datum
es_tenant(PG_FUNCTION_ARGS)
{
	text *tenant = es_bound_tenant(es_arguments_get_stream(fcinfo, 0));

	if (tenant == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(tenant);
}

/*
 * Whether a role that has no level may read the table, as a DBA has said by
 * GRANT.  Who may not reads it through somebody else's view, or cursor, which
 * PostgreSQL has checked: the owner may be bound, and here nobody knows who he is.
 */
static bool
access_may_read_table(Oid role)
{
	Oid events = es_catalog_oid(ES_EVENTS);

	return pg_class_aclcheck(events, role, ACL_SELECT) == ACLCHECK_OK ||
		pg_attribute_aclcheck_all(events, role, ACL_SELECT, ACLMASK_ANY) == ACLCHECK_OK;
}

static bool
access_sees_all(const EsRights *rights)
{
	return rights->is_unbound || (rights->sees.has_all && access_may_read_table(rights->role));
}

/*
 * eventstore.sees_all() -> boolean
 */
Datum
es_sees_all(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(access_sees_all(es_rights_of(GetUserId())));
}

/*
 * eventstore.sees(stream text) -> boolean
 */
Datum
es_sees(PG_FUNCTION_ARGS)
{
	text *stream = PG_GETARG_TEXT_PP(0);
	const EsRights *rights = es_rights_of(GetUserId());

	PG_RETURN_BOOL(rights->sees.has_all ? access_sees_all(rights)
										: es_rights_has(&rights->sees, stream));
}

/*
 * eventstore.is_everyone_let_in() -> boolean
 *
 * Whether nobody has put a permissive policy of his own on eventstore.events.
 */
Datum
es_is_everyone_let_in(PG_FUNCTION_ARGS)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	bool result = true;
	ListCell *cell;

	if (events->rd_rsdesc != NULL)
		foreach (cell, events->rd_rsdesc->policies)
		{
			const RowSecurityPolicy *policy = lfirst(cell);

			if (policy->permissive && strcmp(policy->policy_name, ES_EVERYONE_POLICY) != 0)
				result = false;
		}
	relation_close(events, NoLock);
	PG_RETURN_BOOL(result);
}

/* ----------------------------------------------------------------------
 * The switch
 * ----------------------------------------------------------------------
 */

static void
access_switch_table(Oid table, bool is_on)
{
	Relation classes = table_open(RelationRelationId, RowExclusiveLock);
	HeapTuple row = SearchSysCacheCopy1(RELOID, ObjectIdGetDatum(table));
	Form_pg_class class;

	if (!HeapTupleIsValid(row))
		elog(ERROR, "cache lookup failed for relation %u", table);
	class = (Form_pg_class) GETSTRUCT(row);
	/* A foreign table in a partition's place cannot have it. */
	if (class->relrowsecurity != is_on && class->relkind != RELKIND_FOREIGN_TABLE)
	{
		class->relrowsecurity = is_on;
		CatalogTupleUpdate(classes, &row->t_self, row);
	}
	heap_freetuple(row);
	table_close(classes, RowExclusiveLock);
}

/*
 * Who may name a partition, as roles of PostgreSQL's may that read all tables,
 * sees nothing in it while there are bounds or policies of a DBA's: it has none of its own.
 */
static void
access_switch_ranges(Relation events, bool is_on)
{
	int i;

	for (i = 0; es_ranges_are_of(events) && i < es_ranges_count(events); i++)
		access_switch_table(es_ranges_get(events, i).table, is_on);
}

/* Have a policy count for a kind of command. */
static void
access_switch_policy(Oid table, const char *name, char command)
{
	Relation policies = table_open(PolicyRelationId, RowExclusiveLock);
	NameData policy;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple found;

	namestrcpy(&policy, name);
	ScanKeyInit(&keys[0], Anum_pg_policy_polrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(table));
	ScanKeyInit(&keys[1], Anum_pg_policy_polname, BTEqualStrategyNumber, F_NAMEEQ,
				NameGetDatum(&policy));
	scan = systable_beginscan(policies, PolicyPolrelidPolnameIndexId, true, NULL, 2, keys);
	found = systable_getnext(scan);
	if (!HeapTupleIsValid(found))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("policy \"%s\" for table \"%s.events\" does not exist", name, ES_SCHEMA)));
	found = heap_copytuple(found);
	((Form_pg_policy) GETSTRUCT(found))->polcmd = command;
	CatalogTupleUpdate(policies, &found->t_self, found);
	systable_endscan(scan);
	heap_freetuple(found);
	table_close(policies, RowExclusiveLock);
}

/*
 * eventstore.switch_row_security(is_on boolean, lets_everyone_in boolean) -> void
 */
Datum
es_switch_row_security(PG_FUNCTION_ARGS)
{
	Relation events;

	es_arguments_check_not_null(fcinfo, 0, "is_on");
	es_arguments_check_not_null(fcinfo, 1, "lets_everyone_in");
	events = es_catalog_open(ES_EVENTS, ShareUpdateExclusiveLock);
	access_switch_table(RelationGetRelid(events), PG_GETARG_BOOL(0));
	access_switch_ranges(events, PG_GETARG_BOOL(0));
	access_switch_policy(RelationGetRelid(events), ES_EVERYONE_POLICY,
						 PG_GETARG_BOOL(1) ? '*' : ACL_DELETE_CHR);
	CacheInvalidateRelcache(events);
	relation_close(events, NoLock);
	CommandCounterIncrement();
	PG_RETURN_VOID();
}

/*
 * Raise 42501 where the owner of eventstore.events could not make partitions, or
 * write down what is known of them: else an append would be the first to tell.
 */
static void
access_check_owner(Oid owner)
{
	static EsSql statement = ES_SQL(
		"SELECT pg_catalog.count(*) FROM pg_catalog.pg_namespace n WHERE n.nspname OPERATOR(pg_catalog.=) 'eventstore' AND NOT ("
		"pg_catalog.has_schema_privilege($1, n.oid, 'USAGE') AND pg_catalog.has_schema_privilege($1, n.oid, 'CREATE') AND "
		"(SELECT pg_catalog.bool_and(pg_catalog.has_function_privilege($1, t.tgfoid, 'EXECUTE')) FROM pg_catalog.pg_trigger t "
		"WHERE t.tgrelid OPERATOR(pg_catalog.=) $2 AND NOT t.tgisinternal) AND "
		"(SELECT pg_catalog.bool_and(pg_catalog.has_table_privilege($1, c.oid, p)) FROM pg_catalog.pg_class c, "
		"pg_catalog.unnest('{SELECT,INSERT,UPDATE,DELETE}'::pg_catalog.text[]) p "
		"WHERE c.relnamespace OPERATOR(pg_catalog.=) n.oid AND c.relkind OPERATOR(pg_catalog.=) 'r' AND "
		"c.relname OPERATOR(pg_catalog.=) ANY ('{partitioning,partition_ids,archived_ranges,removed_events}')))",
		OIDOID, OIDOID);
	Datum values[] = {ObjectIdGetDatum(owner), ObjectIdGetDatum(es_catalog_oid(ES_EVENTS))};

	if (es_sql_number(&statement, values, NULL) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("role \"%s\" cannot own \"%s.events\", which is partitioned",
						GetUserNameFromId(owner, false), ES_SCHEMA),
				 errdetail("It may not make partitions, as the owner has to."),
				 errhint("GRANT it USAGE and CREATE on schema \"%s\", all on the tables in it, and EXECUTE on its functions, first.",
						 ES_SCHEMA)));
}

/* Have ranges belong to the table's owner. */
static void
access_give_ranges(Relation events)
{
	Oid owner = RelationGetForm(events)->relowner;
	bool is_checked = false;
	int i;

	for (i = 0; es_ranges_are_of(events) && i < es_ranges_count(events); i++)
	{
		Oid range = es_ranges_get(events, i).table;
		HeapTuple row = SearchSysCache1(RELOID, ObjectIdGetDatum(range));
		bool is_others;

		if (!HeapTupleIsValid(row))
			elog(ERROR, "cache lookup failed for relation %u", range);
		is_others = ((Form_pg_class) GETSTRUCT(row))->relowner != owner;
		ReleaseSysCache(row);
		if (!is_others)
			continue;
		if (!is_checked)
			access_check_owner(owner);
		is_checked = true;
		ATExecChangeOwner(range, owner, true, AccessExclusiveLock);
	}
}

/* Whether a table is eventstore.events, or one of its partitions. */
static bool
access_is_events(Oid table)
{
	return OidIsValid(table) &&
		(table == es_catalog_oid(ES_EVENTS) ||
		 (get_rel_relispartition(table) &&
		  get_partition_parent(table, true) == es_catalog_oid(ES_EVENTS)));
}

/* Whether a command may leave eventstore.events and its partitions at odds. */
static bool
access_is_about_events(const AlterTableStmt *command)
{
	ListCell *cell;

	foreach (cell, command->cmds)
	{
		AlterTableType type = lfirst_node(AlterTableCmd, cell)->subtype;

		if (type == AT_EnableRowSecurity || type == AT_DisableRowSecurity ||
			type == AT_AttachPartition || type == AT_ChangeOwner)
			return es_catalog_has(ES_EVENTS) &&
				access_is_events(RangeVarGetRelid(command->relation, NoLock, true));
	}
	return false;
}

/*
 * eventstore.level_partitions() -> event_trigger
 *
 * When somebody has switched row security on eventstore.events or one of its
 * partitions, has given it another owner, or has attached a partition.
 */
Datum
es_level_partitions(PG_FUNCTION_ARGS)
{
	EventTriggerData *trigger = (EventTriggerData *) fcinfo->context;
	Relation events;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"level_partitions\" was not called as an event trigger")));
	if (!IsA(trigger->parsetree, AlterTableStmt) ||
		!access_is_about_events((AlterTableStmt *) trigger->parsetree))
		PG_RETURN_NULL();

	events = es_catalog_open(ES_EVENTS, ShareUpdateExclusiveLock);
	access_switch_ranges(events, RelationGetForm(events)->relrowsecurity);
	CommandCounterIncrement();
	access_give_ranges(events);
	relation_close(events, NoLock);
	PG_RETURN_NULL();
}

/*
 * eventstore.lock_grants() -> void
 *
 * To the end of the transaction.  An advisory lock anybody could hold.
 */
Datum
es_lock_grants(PG_FUNCTION_ARGS)
{
	LOCKTAG tag = es_userlock_tag(ES_USERLOCK_GRANTS, 0);

	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	PG_RETURN_VOID();
}
