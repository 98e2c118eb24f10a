/*-------------------------------------------------------------------------
 *
 * apply.c
 *		Running a projection's SQL over events.
 *
 * The events come as a tuplestore, which is the relation "events" of the
 * query; for declared tables also as parameters (one event) or as a range of
 * eventstore.events, where the planner reads the table itself.  A handler runs
 * for one of them after the other, unless it is made for batches.  What a state
 * projection does with its events is states.c's.
 *
 * The SQL runs as the projection's owner, in a security-restricted operation:
 * what the owner wrote must not get hold of the session of who appends, and
 * that one needs no right on the read tables.  It runs with the settings of the
 * projection's creation (environment.c).
 *
 * Plans are saved, and live as long as the memory context of their EsApplier,
 * however that ends.
 *
 * Memory: the applier's own context; execution in SPI's.  Locks: what the SQL
 * takes.  Calls: analyze, catalog, declare, environment, projection, scan, see,
 * separable, states.  User code runs here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "parser/parsetree.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/queryenvironment.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "projection/apply.h"
#include "projection/declared/analyze.h"
#include "projection/separable.h"
#include "rights/see.h"

static EsApplyScope *apply_scope = NULL;

/* ----------------------------------------------------------------------
 * Whose SQL is running
 * ----------------------------------------------------------------------
 */

/* The projection whose SQL is running, the innermost one; NULL: none. */
const EsApplyScope *
es_apply_current(void)
{
	return apply_scope;
}

/*
 * Run as a projection's SQL does, until es_apply_leave; and where an error
 * leaves before, call es_apply_leave in PG_FINALLY.
 */
void
es_apply_enter(EsApplyScope *scope, const EsApplier *applier)
{
	scope->applier = applier;
	scope->outer = apply_scope;
	scope->depth = apply_scope == NULL ? 1 : apply_scope->depth + 1;
	GetUserIdAndSecContext(&scope->user, &scope->security);
	scope->guc_level = NewGUCNestLevel();
	SetUserIdAndSecContext(applier->owner,
						   scope->security | SECURITY_LOCAL_USERID_CHANGE |
							   SECURITY_RESTRICTED_OPERATION);
	if (applier->environment == NULL || !es_environment_is(applier->environment))
		es_environment_set(applier->projection->settings);
	apply_scope = scope;
}

void
es_apply_leave(EsApplyScope *scope)
{
	apply_scope = scope->outer;
	SetUserIdAndSecContext(scope->user, scope->security);
	AtEOXact_GUC(false, scope->guc_level);
}

/* ----------------------------------------------------------------------
 * Making
 * ----------------------------------------------------------------------
 */

static void
apply_add_names(StringInfo sql, const char *column, const EsFilter *filter)
{
	int i;

	if (!filter->is_on)
		return;
	appendStringInfo(sql, " AND %s OPERATOR(pg_catalog.=) ANY (ARRAY[", column);
	for (i = 0; i < filter->count; i++)
		appendStringInfo(sql, "%s%s", i == 0 ? "" : ", ",
						 quote_literal_cstr(text_to_cstring(filter->names[i])));
	appendStringInfoString(sql, "]::pg_catalog.text[])");
}

/* What an event has to fulfil for a projection, as SQL: " AND ..." */
char *
es_apply_range_condition(const EsProjection *projection)
{
	StringInfoData sql;

	initStringInfo(&sql);
	apply_add_names(&sql, "category", &projection->categories);
	apply_add_names(&sql, "type", &projection->types);
	return sql.data;
}

/* The SQL of a declared table. */
static void
apply_analyze(EsApplier *applier, const EsDeclareTables *tables)
{
	const EsProjection *projection = applier->projection;
	const char *condition = es_apply_range_condition(projection);
	EsAnalysis *analysis = es_analyze_query(projection->query, projection->lookups);
	EsSource source;

	applier->analysis = analysis;
	if (!analysis->is_declared || tables == NULL)
		return;
	for (source = 0; source < ES_SOURCE_COUNT; source++)
		applier->sql[source] = es_declare_merge(analysis, tables, source, condition);
}

/* The memory context goes: so do the plans, which are in contexts of their own. */
static void
apply_free_plans(void *context)
{
	EsApplier *applier = context;
	EsSource source;

	for (source = 0; source < ES_SOURCE_COUNT; source++)
		if (applier->plans[source] != NULL)
			SPI_freeplan(applier->plans[source]);
}

/*
 * A projection's SQL for other tables than its own.
 *
 * tables: of a declared table; NULL: it is only to be analysed.  handler: the
 * text of a handler.
 */
EsApplier *
es_apply_make_for(const EsProjection *projection, const EsDeclareTables *tables, const char *handler)
{
	EsApplier *applier = palloc0(sizeof(EsApplier));
	EsApplyScope scope;

	applier->projection = projection;
	applier->owner = es_projection_owner(projection);
	applier->sql[ES_SOURCE_BATCH] = pstrdup(handler);
	applier->on_reset.func = apply_free_plans;
	applier->on_reset.arg = applier;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &applier->on_reset);
	es_apply_enter(&scope, applier);
	PG_TRY();
	{
		applier->environment = es_environment_read();
		if (projection->is_declared)
			apply_analyze(applier, tables);
		if (projection->reducer != NULL)
			applier->states = es_states_make(projection);
	}
	PG_FINALLY();
	{
		es_apply_leave(&scope);
	}
	PG_END_TRY();
	return applier;
}

/* A projection's SQL, for its own tables. */
EsApplier *
es_apply_make(const EsProjection *projection)
{
	EsDeclareTables tables = {NULL, NIL};

	if (projection->is_declared)
	{
		tables.read = linitial(projection->tables);
		tables.sides = list_copy_tail(projection->tables, 1);
	}
	return es_apply_make_for(projection, &tables, projection->query);
}

/*
 * Whether an error is not the SQL's fault, so that the same may well succeed the
 * next time: conflicts, cancels, lack of resources.
 */
bool
es_apply_is_passing(int code)
{
	int category = ERRCODE_TO_CATEGORY(code);

	return category == ERRCODE_TO_CATEGORY(ERRCODE_T_R_SERIALIZATION_FAILURE) ||
		category == ERRCODE_TO_CATEGORY(ERRCODE_QUERY_CANCELED) ||
		category == ERRCODE_TO_CATEGORY(ERRCODE_OUT_OF_MEMORY) ||
		category == ERRCODE_TO_CATEGORY(ERRCODE_IO_ERROR) || code == ERRCODE_LOCK_NOT_AVAILABLE;
}

/*
 * Have a scan of events, before it begins and with all its keys, see only what
 * row security lets the projection's owner see: a projection is no way round it.
 * Whether row security is on is not for who appends to set.
 */
void
es_apply_see(const EsProjection *projection, EsScan *scan)
{
	EsApplier applier = {.projection = projection, .owner = projection->role};
	EsApplyScope scope;

	if (!scan->table->rd_rel->relrowsecurity || !OidIsValid(projection->role) ||
		es_see_is_free(scan->table, projection->role))
		return;
	es_apply_enter(&scope, &applier);
	PG_TRY();
	{
		es_see_as(scan, projection->role, ForwardScanDirection);
	}
	PG_FINALLY();
	{
		es_apply_leave(&scope);
	}
	PG_END_TRY();
}

/* ----------------------------------------------------------------------
 * Running
 * ----------------------------------------------------------------------
 */

/*
 * Make a batch known to SPI as relation "events".  Another one can take its place
 * in what is returned.
 */
static EphemeralNamedRelation
apply_register(EsApplier *applier, Tuplestorestate *events)
{
	EphemeralNamedRelation relation = palloc0(sizeof(EphemeralNamedRelationData));

	relation->md.name = "events";
	relation->md.tupdesc = applier->event_desc;
	relation->md.enrtype = ENR_NAMED_TUPLESTORE;
	relation->md.enrtuples = (double) tuplestore_tuple_count(events);
	relation->reldata = events;
	if (SPI_register_relation(relation) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register relation \"events\"");
	return relation;
}

static SPIPlanPtr
apply_get_plan(EsApplier *applier, EsSource source)
{
	static const Oid one[] = {INT8OID, TEXTOID,  TEXTOID,  INT8OID,      UUIDOID,
							  TEXTOID, JSONBOID, JSONBOID, TEXTARRAYOID, TIMESTAMPTZOID};
	static const Oid range[] = {INT8OID, INT8OID};
	static const struct
	{
		const Oid *types;
		int count;
		int options;
	} parameters[] = {[ES_SOURCE_BATCH] = {NULL, 0, 0},
					  [ES_SOURCE_ONE] = {one, lengthof(one), CURSOR_OPT_GENERIC_PLAN},
					  [ES_SOURCE_RANGE] = {range, lengthof(range), CURSOR_OPT_CUSTOM_PLAN}};
	SPIPlanPtr plan = applier->plans[source];

	if (plan != NULL)
		return plan;
	plan = SPI_prepare_cursor(applier->sql[source], parameters[source].count,
							  unconstify(Oid *, parameters[source].types),
							  parameters[source].options);
	if (plan == NULL)
		elog(ERROR, "could not prepare a projection: %s", SPI_result_code_string(SPI_result));
	SPI_keepplan(plan);
	applier->plans[source] = plan;
	return plan;
}

/* Add the qualified names of the tables that a query writes. */
static void
apply_add_targets(List **names, const Query *query)
{
	ListCell *cell;

	if (query->resultRelation > 0)
	{
		Oid table = rt_fetch(query->resultRelation, query->rtable)->relid;

		*names = lappend(*names,
						 quote_qualified_identifier(get_namespace_name(get_rel_namespace(table)),
													get_rel_name(table)));
	}
	foreach (cell, query->cteList)
	{
		const CommonTableExpr *expression = lfirst(cell);

		if (IsA(expression->ctequery, Query))
			apply_add_targets(names, (const Query *) expression->ctequery);
	}
}

/*
 * The tables that a projection's own text writes, not the functions that it
 * calls, as far as it has been run: a list of qualified names.
 */
List *
es_apply_targets(const EsApplier *applier)
{
	List *names = NIL;
	EsSource source;

	for (source = 0; source < ES_SOURCE_COUNT; source++)
	{
		ListCell *cell;

		if (applier->plans[source] == NULL)
			continue;
		foreach (cell, SPI_plan_get_plan_sources(applier->plans[source]))
		{
			const CachedPlanSource *plan = lfirst(cell);
			ListCell *query;

			foreach (query, plan->query_list)
				apply_add_targets(&names, lfirst(query));
		}
	}
	return names;
}

static void
apply_execute(EsApplier *applier, EsSource source, Datum *values, const char *nulls)
{
	SPIExecuteOptions options = {0};
	SPIPlanPtr plan = apply_get_plan(applier, source);
	int result;

	if (source != ES_SOURCE_BATCH)
		result = SPI_execute_plan(plan, values, nulls, false, 0);
	else
	{
		/* A handler may be a SELECT, whose rows nobody wants. */
		options.dest = None_Receiver;
		result = SPI_execute_plan_extended(plan, &options);
	}
	if (result < 0)
		elog(ERROR, "could not execute a projection: %s", SPI_result_code_string(result));
}

/*
 * Whether all events can be applied at once.  A handler runs for one after the
 * other, but where that is the same.
 */
static bool
apply_is_at_once(EsApplier *applier, Tuplestorestate *events)
{
	if (!applier->projection->is_by_event || tuplestore_tuple_count(events) == 1)
		return true;
	if (!applier->is_looked_at)
		applier->separable = es_separable_find(applier->sql[ES_SOURCE_BATCH]);
	applier->is_looked_at = true;
	return OidIsValid(applier->separable) && es_separable_is_plain(applier->separable);
}

/*
 * Apply one event after the other, as long as there is time.
 *
 * Each has a tuplestore to itself: every scan of one leaves something in it.
 */
static void
apply_each(EsApplier *applier, Tuplestorestate *events)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(applier->event_desc, &TTSOpsMinimalTuple);
	EphemeralNamedRelation relation = NULL;
	bool is_null;

	while (tuplestore_gettupleslot(events, true, false, slot))
	{
		Tuplestorestate *one = tuplestore_begin_heap(false, false, work_mem);

		tuplestore_puttupleslot(one, slot);
		if (relation == NULL)
			relation = apply_register(applier, one);
		relation->reldata = one;
		apply_execute(applier, ES_SOURCE_BATCH, NULL, NULL);
		tuplestore_end(one);
		applier->applied++;
		if (applier->until != 0 && GetCurrentTimestamp() >= applier->until)
			break;
	}
	if (!TTS_EMPTY(slot))
		applier->last = DatumGetInt64(slot_getattr(slot, Anum_events_position, &is_null));
	ExecDropSingleTupleTableSlot(slot);
}

static void
apply_events(EsApplier *applier, Tuplestorestate *events)
{
	if (applier->event_desc == NULL)
	{
		MemoryContext caller = MemoryContextSwitchTo(GetMemoryChunkContext(applier));

		applier->event_desc = es_analyze_event_desc();
		MemoryContextSwitchTo(caller);
	}
	applier->is_each = !apply_is_at_once(applier, events);
	if (applier->is_each)
	{
		apply_each(applier, events);
		return;
	}
	(void) apply_register(applier, events);
	apply_execute(applier, ES_SOURCE_BATCH, NULL, NULL);
	applier->applied = tuplestore_tuple_count(events);
}

/* Fold events, or one of them, into the states of their streams. */
static void
apply_fold(EsStates *states, Datum *values, const char *nulls, Tuplestorestate *events)
{
	bool is_null[Natts_event];
	int i;

	if (events != NULL)
	{
		es_states_apply(states, events);
		return;
	}
	for (i = 0; i < Natts_event; i++)
		is_null[i] = nulls[i] == 'n';
	es_states_apply_one(states, values, is_null);
}

/* How far a state projection has come, in events. */
static void
apply_note_folded(EsApplier *applier)
{
	const EsStates *states = applier->states;

	applier->applied = states->applied;
	applier->last = states->last;
	applier->is_each = states->is_folding;
}

static void
apply_run(EsApplier *applier, EsSource source, Datum *values, const char *nulls,
		  Tuplestorestate *events)
{
	EsApplyScope scope;

	applier->applied = 0;
	applier->is_each = false;
	if (applier->states != NULL)
		es_states_reset(applier->states, applier->until);
	es_apply_enter(&scope, applier);
	PG_TRY();
	{
		SPI_connect();
		if (applier->states != NULL)
			apply_fold(applier->states, values, nulls, events);
		else if (events != NULL)
			apply_events(applier, events);
		else
			apply_execute(applier, source, values, nulls);
		SPI_finish();
	}
	PG_FINALLY();
	{
		es_apply_leave(&scope);
		if (applier->states != NULL)
			apply_note_folded(applier);
	}
	PG_END_TRY();
}

/* Whether es_apply_one is there for one event; else it is a batch as any. */
bool
es_apply_takes_one(const EsApplier *applier)
{
	return applier->states != NULL || applier->sql[ES_SOURCE_ONE] != NULL;
}

/* Apply one event; es_apply_takes_one says so. */
void
es_apply_one(EsApplier *applier, Datum *values, const char *nulls)
{
	apply_run(applier, ES_SOURCE_ONE, values, nulls, NULL);
}

/*
 * Apply the events of a tuplestore, in the order of their positions; some of
 * them only, where applier->until says so: see applier->applied.
 */
void
es_apply_batch(EsApplier *applier, Tuplestorestate *events)
{
	apply_run(applier, ES_SOURCE_BATCH, NULL, NULL, events);
}

/*
 * Apply the events after a position and up to another that pass the filters;
 * applier->sql[ES_SOURCE_RANGE] is there.  All of them are settled.
 */
void
es_apply_range(EsApplier *applier, int64 after, int64 upto)
{
	Datum values[2];

	values[0] = Int64GetDatum(after);
	values[1] = Int64GetDatum(upto);
	apply_run(applier, ES_SOURCE_RANGE, values, "  ", NULL);
}
