/*-------------------------------------------------------------------------
 *
 * whole.c
 *		Whether everything is there that a projection needs, after a restore.
 *
 * pg_restore brings the rows of all tables, then sequences, then indexes,
 * constraints and triggers, and a worker that is alive would not wait for it.
 * A projection that is applied in between meets a table without the key that
 * its ON CONFLICT names, or an identity that begins anew.
 *
 * What a projection's tables have is written down while it runs, in
 * eventstore.projection_needs, which a dump carries.  Those that were made in
 * this database stand in eventstore.local_projections, which it does not.
 * Another one has come by a restore: it waits until all that any such projection
 * needs is there, and no pg_restore is connected any more.  From then on they
 * are local, all at once, and nobody looks again: a DBA may drop an index here.
 * es_resume_projection() makes one local at once.
 *
 * No projection at all is applied while positions are behind the events: a
 * restore has not come to the sequence yet, or somebody has to repair it.
 *
 * Memory: SPI's own.  Locks: what the statements take.  Calls: catalog, order,
 * projection, sql.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/sql.h"
#include "order/order.h"
#include "projection/whole.h"

static Datum
whole_make_array(List *names)
{
	Datum *elements = palloc(sizeof(Datum) * Max(list_length(names), 1));
	ListCell *cell;

	foreach (cell, names)
		elements[foreach_current_index(cell)] = CStringGetTextDatum(lfirst(cell));
	return PointerGetDatum(
		construct_array(elements, list_length(names), TEXTOID, -1, false, TYPALIGN_INT));
}

/* A reducer, as it is written down. */
char *
es_whole_function(const char *reducer)
{
	return psprintf("%s(pg_catalog.jsonb,eventstore.event)", reducer);
}

/*
 * Write down what a projection's tables have, and its reducer.
 *
 * targets: of char *: qualified names of tables that its SQL writes, beside
 * those that it was made with.
 */
void
es_whole_note(const EsProjection *projection, List *targets)
{
	static EsSql tables =
		ES_SQL("INSERT INTO eventstore.projection_needs (projection, kind, of_table, object) "
			   "SELECT $1, 'list', '', $1 UNION "
			   "SELECT $1, 'table', t, t FROM pg_catalog.unnest($2 OPERATOR(pg_catalog.||) $3) t UNION "
			   "SELECT $1, 'function', '', f FROM pg_catalog.unnest($4) f "
			   "ON CONFLICT DO NOTHING",
			   TEXTOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID);
	static EsSql facts =
		ES_SQL("INSERT INTO eventstore.projection_needs (projection, kind, of_table, object) "
			   "SELECT f.projection, f.kind, f.of_table, f.object FROM eventstore.projection_facts f "
			   "WHERE f.projection OPERATOR(pg_catalog.=) $1 ON CONFLICT DO NOTHING",
			   TEXTOID);
	List *functions = projection->reducer == NULL
		? NIL
		: list_make1(es_whole_function(projection->reducer));
	Datum values[] = {CStringGetTextDatum(projection->name), whole_make_array(projection->tables),
					  whole_make_array(targets), whole_make_array(functions)};

	(void) es_sql_run_as_owner(&tables, values, NULL);
	(void) es_sql_run_as_owner(&facts, values, NULL);
}

/* A projection counts as whole from now on. */
void
es_whole_accept(const char *name)
{
	static EsSql statement =
		ES_SQL("INSERT INTO eventstore.local_projections (projection) VALUES ($1) ON CONFLICT DO NOTHING",
			   TEXTOID);
	Datum values[] = {CStringGetTextDatum(name)};

	(void) es_sql_run_as_owner(&statement, values, NULL);
}

/* A projection was made here. */
void
es_whole_begin(const EsProjection *projection)
{
	es_whole_note(projection, NIL);
	es_whole_accept(projection->name);
}

/* Whether there are projections that have come by a restore, and wait. */
static bool
whole_has_strangers(void)
{
	static EsSql statement =
		ES_SQL("SELECT FROM eventstore.projections p WHERE $1 AND NOT EXISTS "
			   "(SELECT FROM eventstore.local_projections l WHERE l.projection OPERATOR(pg_catalog.=) p.name)",
			   BOOLOID);
	Datum values[] = {BoolGetDatum(true)};

	return es_sql_run_as_owner(&statement, values, NULL) > 0;
}

static bool
whole_is_local(const char *name)
{
	static EsSql statement =
		ES_SQL("SELECT FROM eventstore.local_projections l WHERE l.projection OPERATOR(pg_catalog.=) $1",
			   TEXTOID);
	Datum values[] = {CStringGetTextDatum(name)};

	return es_sql_run_as_owner(&statement, values, NULL) > 0;
}

/* Whether something is missing of what they need. */
static bool
whole_waits(void)
{
	static EsSql statement = ES_SQL("SELECT FROM eventstore.projection_waits WHERE $1", BOOLOID);
	Datum values[] = {BoolGetDatum(true)};

	return es_sql_run_as_owner(&statement, values, NULL) > 0;
}

static void
whole_accept_all(void)
{
	static EsSql statement =
		ES_SQL("INSERT INTO eventstore.local_projections (projection) "
			   "SELECT p.name FROM eventstore.projections p WHERE $1 ON CONFLICT DO NOTHING",
			   BOOLOID);
	Datum values[] = {BoolGetDatum(true)};

	(void) es_sql_run_as_owner(&statement, values, NULL);
}

/*
 * Whether a projection may be applied, for all that a restore has to bring.
 * Where it finds that nothing is missing any more, it writes that down.
 *
 * pause_ms: what was missing is missing for so long; not to look all the time.
 */
bool
es_whole_is(const char *name, int pause_ms)
{
	static uint64 all_at = PG_UINT64_MAX; /* es_catalog_generation() at which all were local */
	static TimestampTz looked_at = 0;     /* when something was missing */
	uint64 generation = es_catalog_generation();
	TimestampTz now = GetCurrentTimestamp();

	if (es_order_is_behind())
		return false;
	if (generation == all_at)
		return true;
	if (!whole_has_strangers())
	{
		all_at = generation;
		return true;
	}
	if (whole_is_local(name))
		return true;
	if (!TimestampDifferenceExceeds(looked_at, now, pause_ms))
		return false;
	looked_at = now;
	if (whole_waits())
		return false;
	whole_accept_all();
	return true;
}
