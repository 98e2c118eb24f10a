/*-------------------------------------------------------------------------
 *
 * target.c
 *		Tables that a handler writes: what would stop it later.
 *
 * Some tables can not be written by a projection, or not in every session, and
 * some statements never succeed.  Who makes the projection should be told so,
 * not who appends the first event.
 *
 * Memory: the current context.  Locks: AccessShare on the tables, to the end of
 * the transaction.  Calls: nothing of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "projection/target.h"

/* ----------------------------------------------------------------------
 * Constraints
 * ----------------------------------------------------------------------
 */

/*
 * Refuse a constraint that is deferred, and warn of one that can be.  One that
 * another table has, as a foreign key to this one, matters for some rows only.
 */
static void
target_check_constraint(Relation table, Form_pg_constraint constraint)
{
	bool is_refused = constraint->condeferred && constraint->conrelid == RelationGetRelid(table);
	char *owner = get_rel_name(constraint->conrelid);
	char *name = pstrdup(NameStr(constraint->conname));
	char *way_out = constraint->contype == CONSTRAINT_FOREIGN
		? psprintf("ALTER TABLE %s ALTER CONSTRAINT %s NOT DEFERRABLE",
				   quote_qualified_identifier(get_namespace_name(
												  get_rel_namespace(constraint->conrelid)),
											  owner),
				   quote_identifier(name))
		: "Drop it, and make it anew, NOT DEFERRABLE";

	ereport(is_refused ? ERROR : WARNING,
			(errcode(is_refused ? ERRCODE_INVALID_TABLE_DEFINITION : ERRCODE_WARNING),
			 errmsg("constraint \"%s\" of table \"%s\" %s", name, owner,
					constraint->condeferred ? "is deferred" : "can be deferred"),
			 errdetail(
				 "A projection's SQL is a security-restricted operation, in which nothing can be deferred: %s.",
				 is_refused ? "every append would fail"
							: "an append fails where it would have to be checked and is deferred"),
			 errhint("%s.", way_out)));
}

static void
target_check_constraints(Relation table, List **checked)
{
	int count = table->trigdesc == NULL ? 0 : table->trigdesc->numtriggers;
	List *seen = NIL;
	int i;

	if (list_member_oid(*checked, RelationGetRelid(table)))
		return;
	*checked = lappend_oid(*checked, RelationGetRelid(table));
	for (i = 0; i < count; i++)
	{
		const Trigger *trigger = &table->trigdesc->triggers[i];
		HeapTuple row;

		if (!trigger->tgdeferrable || !OidIsValid(trigger->tgconstraint) ||
			trigger->tgenabled == TRIGGER_DISABLED || list_member_oid(seen, trigger->tgconstraint))
			continue;
		seen = lappend_oid(seen, trigger->tgconstraint);
		row = SearchSysCache1(CONSTROID, ObjectIdGetDatum(trigger->tgconstraint));
		if (!HeapTupleIsValid(row))
			continue;
		target_check_constraint(table, (Form_pg_constraint) GETSTRUCT(row));
		ReleaseSysCache(row);
	}
}

/* ----------------------------------------------------------------------
 * Columns
 * ----------------------------------------------------------------------
 */

static bool
target_has_entry(const List *entries, AttrNumber column)
{
	const ListCell *cell;

	foreach (cell, entries)
		if (!lfirst_node(TargetEntry, cell)->resjunk &&
			lfirst_node(TargetEntry, cell)->resno == column)
			return true;
	return false;
}

/* Refuse an INSERT that leaves out a column which can not be null. */
static void
target_check_columns(Relation table, const List *entries)
{
	TupleDesc desc = RelationGetDescr(table);
	int i;

	/* What such a trigger sets is not known. */
	if (table->trigdesc != NULL && table->trigdesc->trig_insert_before_row)
		return;
	for (i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);

		if (column->attisdropped || !column->attnotnull || column->atthasdef ||
			column->attidentity != '\0' || get_typdefault(column->atttypid) != NULL ||
			target_has_entry(entries, column->attnum))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_NOT_NULL_VIOLATION),
				 errmsg("column \"%s\" of table \"%s\" can not be null, and the query does not set it",
						NameStr(column->attname), RelationGetRelationName(table)),
				 errhint("Set it in the query, or give it a default.")));
	}
}

static void
target_check_query(const Query *query, List **checked)
{
	Relation table;
	ListCell *cell;

	if (query->resultRelation == 0)
		return;
	table = relation_open(rt_fetch(query->resultRelation, query->rtable)->relid, AccessShareLock);
	if (table->rd_rel->relkind == RELKIND_RELATION ||
		table->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
	{
		target_check_constraints(table, checked);
		if (query->commandType == CMD_INSERT)
			target_check_columns(table, query->targetList);
		foreach (cell, query->mergeActionList)
		{
			MergeAction *action = lfirst_node(MergeAction, cell);

			if (action->commandType == CMD_INSERT)
				target_check_columns(table, action->targetList);
		}
	}
	relation_close(table, NoLock);
}

/* ----------------------------------------------------------------------
 * All of it
 * ----------------------------------------------------------------------
 */

/* Other sessions have no temporary table, or another one, of the name. */
static void
target_check_temporary(const Query *query)
{
	ListCell *cell;

	foreach (cell, query->rtable)
	{
		const RangeTblEntry *rte = lfirst_node(RangeTblEntry, cell);

		if (rte->rtekind == RTE_RELATION && get_rel_persistence(rte->relid) == RELPERSISTENCE_TEMP)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
					 errmsg("the query uses temporary table \"%s\"", get_rel_name(rte->relid)),
					 errdetail("Other sessions, which apply the projection, do not have it.")));
	}
}

/* checked: receives the OIDs of tables whose constraints have been checked. */
static bool
target_walk(Node *node, void *checked)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		target_check_temporary((Query *) node);
		target_check_query((Query *) node, checked);
		return query_tree_walker((Query *) node, target_walk, checked, 0);
	}
	return expression_tree_walker(node, target_walk, checked);
}

/*
 * Check what a handler writes: its own text, and tables (OIDs) that are said to
 * be written.  Raises 42P16, or 23502; warns of what may come.
 */
void
es_target_check(Query *handler, const List *tables)
{
	List *checked = NIL;
	const ListCell *cell;

	(void) target_walk((Node *) handler, &checked);
	foreach (cell, tables)
	{
		Relation table = relation_open(lfirst_oid(cell), AccessShareLock);

		target_check_constraints(table, &checked);
		relation_close(table, NoLock);
	}
}
