/*-------------------------------------------------------------------------
 *
 * redefine.c
 *		Definitions of projections that change.
 *
 * Another query, another name, tables that have moved.  Each is a change of the
 * projection's row, whose trigger tells every session, and of what is kept under
 * its name elsewhere.  The caller holds the projection's lock and, of an inline
 * one, has raised the barrier.
 *
 * Memory: SPI's own.  Locks: RowExclusive on the tables of the store.  Calls:
 * catalog, mark, sql, whole, witness.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "base/catalog.h"
#include "base/sql.h"
#include "projection/mark.h"
#include "projection/redefine.h"
#include "projection/whole.h"
#include "projection/witness.h"

/* The same for one that writes the projection's row. */
static void
redefine_run_one(EsSql *statement, Datum *values, const char *nulls)
{
	if (es_sql_run_as_owner(statement, values, nulls) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent update")));
}

static Datum
redefine_make_array(Datum *elements, int count)
{
	return PointerGetDatum(construct_array(elements, count, TEXTOID, -1, false, TYPALIGN_INT));
}

static Datum
redefine_make_list(const List *names)
{
	Datum *elements = palloc(sizeof(Datum) * Max(list_length(names), 1));
	const ListCell *cell;

	foreach (cell, names)
		elements[foreach_current_index(cell)] = CStringGetTextDatum(lfirst(cell));
	return redefine_make_array(elements, list_length(names));
}

static Datum
redefine_make_filter(const EsFilter *filter)
{
	Datum *elements = palloc(sizeof(Datum) * Max(filter->count, 1));
	int i;

	for (i = 0; i < filter->count; i++)
		elements[i] = PointerGetDatum(filter->names[i]);
	return redefine_make_array(elements, filter->count);
}

/* Forget what a projection's tables had; it is written down anew. */
static void
redefine_forget_needs(const char *projection)
{
	static EsSql statement =
		ES_SQL("DELETE FROM eventstore.projection_needs n WHERE n.projection OPERATOR(pg_catalog.=) $1",
			   TEXTOID);
	Datum values[] = {CStringGetTextDatum(projection)};

	(void) es_sql_run_as_owner(&statement, values, NULL);
}

/* Save what defines a projection, but for its name, its mode and the like. */
void
es_redefine_save(const EsProjection *projection)
{
	static EsSql statement =
		ES_SQL("UPDATE eventstore.projections p SET query = $2, tables = $3, categories = $4, types = $5, "
			   "lookups = $6, settings = $7 WHERE p.name OPERATOR(pg_catalog.=) $1",
			   TEXTOID, TEXTOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
			   TEXTARRAYOID);
	Datum values[] = {CStringGetTextDatum(projection->name),
					  CStringGetTextDatum(projection->query),
					  redefine_make_list(projection->tables),
					  redefine_make_filter(&projection->categories),
					  redefine_make_filter(&projection->types),
					  redefine_make_list(projection->lookups),
					  redefine_make_list(projection->settings)};
	char nulls[] = {' ', ' ', ' ', ' ', ' ', ' ', ' '};

	if (!projection->categories.is_on)
		nulls[3] = 'n';
	if (!projection->types.is_on)
		nulls[4] = 'n';
	redefine_run_one(&statement, values, nulls);
	redefine_forget_needs(projection->name);
	es_whole_note(projection, NIL);
	/* Whatever died of the old SQL. */
	es_witness_forget(projection->name);
}

/*
 * Give a projection another name, which is free, everywhere.  What belongs to the
 * row goes with it: eventstore.projection_needs, eventstore.local_projections.
 */
void
es_redefine_rename(const char *projection, const char *new_name)
{
	static EsSql statements[] =
		{ES_SQL("UPDATE eventstore.projections p SET name = $2 WHERE p.name OPERATOR(pg_catalog.=) $1",
				TEXTOID, TEXTOID),
		 ES_SQL("UPDATE eventstore.projection_appends p SET projection = $2 WHERE p.projection OPERATOR(pg_catalog.=) $1",
				TEXTOID, TEXTOID),
		 ES_SQL("UPDATE eventstore.skipped_events p SET projection = $2 WHERE p.projection OPERATOR(pg_catalog.=) $1",
				TEXTOID, TEXTOID),
		 ES_SQL("UPDATE eventstore.projection_missed p SET projection = $2 WHERE p.projection OPERATOR(pg_catalog.=) $1",
				TEXTOID, TEXTOID),
		 ES_SQL("UPDATE eventstore.stale_projections p SET projection = $2 WHERE p.projection OPERATOR(pg_catalog.=) $1",
				TEXTOID, TEXTOID),
		 ES_SQL("UPDATE eventstore.intact_projections p SET projection = $2 WHERE p.projection OPERATOR(pg_catalog.=) $1",
				TEXTOID, TEXTOID),
		 ES_SQL("UPDATE eventstore.projection_needs p SET object = $2 WHERE p.projection OPERATOR(pg_catalog.=) $2 "
				"AND p.kind OPERATOR(pg_catalog.=) 'list' AND p.object OPERATOR(pg_catalog.=) $1",
				TEXTOID, TEXTOID)};
	Datum values[] = {CStringGetTextDatum(projection), CStringGetTextDatum(new_name)};
	int i;

	redefine_run_one(&statements[0], values, NULL);
	for (i = 1; i < lengthof(statements); i++)
		(void) es_sql_run_as_owner(&statements[i], values, NULL);
	es_mark_rename(projection, new_name);
	es_witness_rename(projection, new_name);
}

/* A table that a projection writes or looks up has another name by now. */
void
es_redefine_move_table(const char *projection, const char *table, const char *now)
{
	static EsSql statement =
		ES_SQL("UPDATE eventstore.projections p SET tables = pg_catalog.array_replace(p.tables, $2, $3), "
			   "lookups = pg_catalog.array_replace(p.lookups, $2, $3) "
			   "WHERE p.name OPERATOR(pg_catalog.=) $1",
			   TEXTOID, TEXTOID, TEXTOID);
	static EsSql needs =
		ES_SQL("UPDATE eventstore.projection_needs n SET of_table = $3, "
			   "object = CASE WHEN n.kind OPERATOR(pg_catalog.=) 'table' THEN $3 ELSE n.object END "
			   "WHERE n.projection OPERATOR(pg_catalog.=) $1 AND n.of_table OPERATOR(pg_catalog.=) $2",
			   TEXTOID, TEXTOID, TEXTOID);
	Datum values[] = {CStringGetTextDatum(projection), CStringGetTextDatum(table),
					  CStringGetTextDatum(now)};

	redefine_run_one(&statement, values, NULL);
	(void) es_sql_run_as_owner(&needs, values, NULL);
}

/* The reducer of a state projection has another qualified name by now. */
void
es_redefine_move_reducer(const char *projection, const char *now)
{
	static EsSql statement =
		ES_SQL("UPDATE eventstore.projections p SET reducer = $2 WHERE p.name OPERATOR(pg_catalog.=) $1",
			   TEXTOID, TEXTOID);
	static EsSql needs =
		ES_SQL("UPDATE eventstore.projection_needs n SET object = $2 "
			   "WHERE n.projection OPERATOR(pg_catalog.=) $1 AND n.kind OPERATOR(pg_catalog.=) 'function'",
			   TEXTOID, TEXTOID);
	Datum values[] = {CStringGetTextDatum(projection), CStringGetTextDatum(now)};

	redefine_run_one(&statement, values, NULL);
	values[1] = CStringGetTextDatum(es_whole_function(now));
	(void) es_sql_run_as_owner(&needs, values, NULL);
}

/* The search_path that a projection's SQL runs with, as its first setting has it. */
void
es_redefine_set_path(const char *projection, const char *setting)
{
	static EsSql statement =
		ES_SQL("UPDATE eventstore.projections p SET settings[1] = $2 WHERE p.name OPERATOR(pg_catalog.=) $1",
			   TEXTOID, TEXTOID);
	Datum values[] = {CStringGetTextDatum(projection), CStringGetTextDatum(setting)};

	redefine_run_one(&statement, values, NULL);
}
