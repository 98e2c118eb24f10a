/*-------------------------------------------------------------------------
 *
 * statement.c
 *		Insertion into eventstore.events, as one INSERT does it.
 *
 * What one INSERT statement does, without planner and executor: defaults of
 * columns that users added, generated columns, constraints, all indexes, and
 * triggers of every kind, transition tables included.  The contract is that
 * of CopyFrom() in PostgreSQL's copyfrom.c; events go in through
 * table_multi_insert unless there is one alone, or a BEFORE ROW trigger that
 * might look at the table in between.
 *
 * Where the table is made of ranges of positions, rows go straight into theirs,
 * which almost always is one, the newest; as CopyFrom() does it, triggers for
 * statements and transition tables are those of eventstore.events.
 *
 * Memory: the executor state's own contexts, gone at the end.  Locks: the caller
 * holds RowExclusive on the table; RowExclusive on the indexes until the end of
 * the statement.  Calls: before, catalog, conceal, foreign, provide, ranges, rows.
 * User code runs in triggers, under row locks only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "rewrite/rewriteHandler.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "append/before.h"
#include "append/foreign.h"
#include "append/rows.h"
#include "append/statement.h"
#include "base/catalog.h"
#include "base/compat.h"
#include "base/conceal.h"
#include "base/ranges.h"
#include "partition/provide.h"

typedef struct Statement
{
	Relation events;
	EState *estate;
	ResultRelInfo *root; /* of eventstore.events */

	/* Where rows go: the same, or a range. */
	Relation table; /* NULL: none yet */
	ResultRelInfo *info;
	int64 upto; /* it takes positions below */
	int event_count;

	TransitionCaptureState *capture; /* NULL: no trigger wants it */
	bool has_before_row;
	bool has_generated;

	/* Whose constraints, generated columns or index entries are computed; or NULL. */
	TupleTableSlot *computed;

	/* Defaults of columns after the store's own; NULL where there is none. */
	ExprState **defaults;

	int slot_limit;
	TupleTableSlot **slots;
	int slot_count; /* filled, not yet in the table */
} Statement;

/* ----------------------------------------------------------------------
 * Rows
 * ----------------------------------------------------------------------
 */

/* Columns that users added get their default, as in any INSERT. */
static void
statement_set_defaults(Statement *statement, TupleTableSlot *slot)
{
	ExprContext *context = GetPerTupleExprContext(statement->estate);
	int natts = slot->tts_tupleDescriptor->natts;
	int i;

	for (i = Natts_event; i < natts; i++)
	{
		slot->tts_values[i] = (Datum) 0;
		slot->tts_isnull[i] = true;
		if (statement->defaults != NULL && statement->defaults[i] != NULL)
			slot->tts_values[i] = ExecEvalExprSwitchContext(statement->defaults[i], context,
															&slot->tts_isnull[i]);
	}
}

/* ----------------------------------------------------------------------
 * Table and indexes
 * ----------------------------------------------------------------------
 */

/* Put the filled slots into the table and its indexes. */
static void
statement_flush(Statement *statement)
{
	EState *estate = statement->estate;
	CommandId cid = GetCurrentCommandId(true);
	MemoryContext caller;
	int i;

	if (statement->slot_count == 0)
		return;

	/* table_multi_insert leaks. */
	caller = MemoryContextSwitchTo(GetPerTupleMemoryContext(estate));
	if (statement->slot_count == 1)
		table_tuple_insert(statement->table, statement->slots[0], cid, 0, NULL);
	else
		table_multi_insert(statement->table, statement->slots, statement->slot_count, cid, 0, NULL);
	MemoryContextSwitchTo(caller);

	for (i = 0; i < statement->slot_count; i++)
	{
		TupleTableSlot *slot = statement->slots[i];
		List *recheck = NIL;

		statement->computed = slot;
		if (statement->info->ri_NumIndices > 0)
			recheck = es_compat_add_entries(statement->info, slot, estate);
		/* Only whether they are to fire at the end is computed here. */
		ExecARInsertTriggers(estate, statement->info, slot, recheck, statement->capture);
		statement->computed = NULL;
		list_free(recheck);
		ExecClearTuple(slot);
	}
	statement->slot_count = 0;
	ResetPerTupleExprContext(estate);
}

static void
statement_add(Statement *statement, const EsAppend *append, EsEvent *event)
{
	TupleTableSlot **slot = &statement->slots[statement->slot_count];

	if (*slot == NULL)
		*slot = table_slot_create(statement->table, &statement->estate->es_tupleTable);
	ExecClearTuple(*slot);
	es_rows_fill(*slot, append, event);
	statement_set_defaults(statement, *slot);
	ExecStoreVirtualTuple(*slot);
	(*slot)->tts_tableOid = RelationGetRelid(statement->table);
	if (statement->has_before_row)
		es_before_fire(statement->estate, statement->info, *slot, append, event);
	statement->computed = *slot;
	if (statement->has_generated)
		ExecComputeStoredGenerated(statement->info, statement->estate, *slot, CMD_INSERT);
	if (statement->table->rd_att->constr != NULL)
		ExecConstraints(statement->info, *slot, statement->estate);
	if (statement->table->rd_rel->relispartition)
		(void) ExecPartitionCheck(statement->info, *slot, statement->estate, true);
	statement->computed = NULL;

	if (++statement->slot_count == statement->slot_limit)
		statement_flush(statement);
}

/* ----------------------------------------------------------------------
 * One statement
 * ----------------------------------------------------------------------
 */

static ExprState **
statement_find_defaults(Relation events, EState *estate)
{
	TupleDesc desc = RelationGetDescr(events);
	ExprState **defaults;
	int i;

	if (desc->natts == Natts_event)
		return NULL;

	defaults = palloc0(sizeof(ExprState *) * desc->natts);
	for (i = Natts_event; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);
		Node *expression;

		if (column->attisdropped || column->attgenerated)
			continue;
		expression = build_column_default(events, i + 1);
		if (expression != NULL)
			defaults[i] = ExecPrepareExpr((Expr *) expression, estate);
	}
	return defaults;
}

/* Have rows go to a table: eventstore.events, or one of its ranges. */
static void
statement_enter(Statement *statement, Relation table, int64 upto)
{
	MemoryContext caller = MemoryContextSwitchTo(statement->estate->es_query_cxt);
	bool is_range = table != statement->events;
	TriggerDesc *triggers;
	TupleConstr *constraints;

	statement->table = table;
	statement->upto = upto;
	statement->info = statement->root;
	if (is_range)
	{
		statement->info = makeNode(ResultRelInfo);
		InitResultRelInfo(statement->info, table, 0, statement->root, 0);
		statement->estate->es_opened_result_relations =
			lappend(statement->estate->es_opened_result_relations, statement->info);
	}
	ExecOpenIndices(statement->info, false);

	/* The copy: locking the indexes may have rebuilt the relcache entry. */
	triggers = statement->info->ri_TrigDesc;
	if (triggers != NULL)
		es_foreign_allow(triggers);
	constraints = table->rd_att->constr;

	statement->has_before_row = triggers != NULL && triggers->trig_insert_before_row;
	statement->has_generated = constraints != NULL && constraints->has_generated_stored;
	statement->defaults = statement_find_defaults(table, statement->estate);
	statement->slot_limit = statement->has_before_row ? 1
													  : Min(statement->event_count, ES_ROWS_BATCH);
	statement->slots = palloc0(sizeof(TupleTableSlot *) * statement->slot_limit);
	statement->slot_count = 0;
	MemoryContextSwitchTo(caller);
}

/* Have rows go to the range that a position is in. */
static void
statement_enter_range(Statement *statement, int64 position)
{
	EsRange range = es_provide_range(statement->events, position);

	statement_flush(statement);
	statement_enter(statement, table_open(range.table, RowExclusiveLock), range.upto);
}

static void
statement_begin(Statement *statement, Relation events, int event_count)
{
	MemoryContext caller;

	statement->events = events;
	statement->event_count = event_count;
	statement->estate = CreateExecutorState();
	caller = MemoryContextSwitchTo(statement->estate->es_query_cxt);
	statement->root = makeNode(ResultRelInfo);
	InitResultRelInfo(statement->root, events, 0, NULL, 0);
	/* So that triggers find it, rather than open the table once more. */
	statement->estate->es_opened_result_relations = list_make1(statement->root);
	if (es_ranges_are_of(events))
		statement->upto = PG_INT64_MIN;
	else
		statement_enter(statement, events, PG_INT64_MAX);
	if (statement->root->ri_TrigDesc != NULL)
		es_foreign_allow(statement->root->ri_TrigDesc);

	AfterTriggerBeginQuery();
	statement->capture = MakeTransitionCaptureState(statement->root->ri_TrigDesc,
													RelationGetRelid(events), CMD_INSERT);
	ExecBSInsertTriggers(statement->estate, statement->root);
	MemoryContextSwitchTo(caller);
}

/* Close the ranges that rows went to. */
static void
statement_close_ranges(Statement *statement)
{
	ListCell *cell;

	foreach (cell, statement->estate->es_opened_result_relations)
	{
		ResultRelInfo *info = lfirst(cell);

		if (info != statement->root)
			table_close(info->ri_RelationDesc, NoLock);
	}
}

static void
statement_end(Statement *statement)
{
	EState *estate = statement->estate;

	ExecASInsertTriggers(estate, statement->root, statement->capture);
	AfterTriggerEndQuery(estate);
	ExecResetTupleTable(estate->es_tupleTable, false);
	ExecCloseResultRelations(estate);
	statement_close_ranges(statement);
	FreeExecutorState(estate);
}

static void
statement_run(Statement *statement, Relation events, EsRows *rows, int event_count)
{
	EsEvent *event;

	statement_begin(statement, events, event_count);
	while ((event = es_rows_peek(rows, PG_INT64_MAX)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (event->position >= statement->upto)
			statement_enter_range(statement, event->position);
		statement_add(statement, rows->appends[rows->append], event);
		rows->event++;
	}
	statement_flush(statement);
	statement_end(statement);
}

/* What a message may tell of the event that was being put into the table; NULL: it is not known. */
static const char *
statement_describe(TupleTableSlot *slot)
{
	if (slot == NULL)
		return NULL;
	slot_getsomeattrs(slot, Anum_events_type);
	if (slot->tts_isnull[Anum_events_type - 1])
		return NULL;
	return psprintf("It is an event of type \"%s\" for version %lld of stream \"%s\".",
					TextDatumGetCString(slot->tts_values[Anum_events_type - 1]),
					(long long) DatumGetInt64(slot->tts_values[Anum_events_version - 1]),
					TextDatumGetCString(slot->tts_values[Anum_events_stream - 1]));
}

/*
 * Insert the events of a call that come next, all that are left.
 *
 * events: the table, which may be made of ranges.
 */
void
es_statement_insert(Relation events, EsRows *rows, int event_count)
{
	MemoryContext caller = CurrentMemoryContext;
	Statement *statement = palloc0(sizeof(Statement));

	PG_TRY();
	{
		statement_run(statement, events, rows, event_count);
	}
	PG_CATCH();
	{
		EsConceal conceal = {.table = events,
							 .own_columns = Natts_event,
							 .is_expression = statement->computed != NULL};

		MemoryContextSwitchTo(caller);
		conceal.row = statement_describe(statement->computed);
		es_conceal_rethrow(&conceal, caller);
	}
	PG_END_TRY();
	pfree(statement);
}
