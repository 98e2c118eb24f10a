/*-------------------------------------------------------------------------
 *
 * depends.c
 *		What a projection's SQL depends on: names of tables and of their columns.
 *
 * What a projection's own text names can not be followed when it is renamed: a
 * running handler's tables, columns of the query, tables that are looked up.  There
 * the command is refused before it does anything, rather than have appends fail
 * later.  What cannot be told beforehand is found out afterwards: SQL that was valid
 * has to be so still.
 *
 * Memory: the caller's context.  Locks: none beyond those of looking at the SQL.
 * Calls: attempt, projection, readtable, statetable.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/attempt.h"
#include "projection/depends.h"
#include "projection/readtable.h"
#include "projection/statetable.h"

static bool
depends_is_running(const EsProjection *projection)
{
	return projection->state == ES_PROJECTION_RUNNING && !projection->is_stale;
}

/* The place of a table among some; -1: it is not. */
int
es_depends_place(const List *names, Oid table)
{
	const ListCell *cell;

	foreach (cell, names)
		if (es_readtable_find(lfirst(cell)) == table)
			return foreach_current_index(cell);
	return -1;
}

/* what: that can not be done. */
static void
depends_refuse_text(const EsProjection *projection, const char *what, const char *why)
{
	const char *name = quote_literal_cstr(projection->name);

	ereport(ERROR,
			(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
			 errmsg("cannot %s because projection \"%s\" depends on it", what, projection->name),
			 errdetail("%s", why),
			 errhint("es_pause_projection(%s), do it, es_replace_projection(%s, ...) with the SQL as it is to be then, and es_resume_projection(%s): in one transaction nobody notices.",
					 name, name, name)));
}

typedef struct DependsLook
{
	EsProjection projection;
	const EsAnalysis *analysis; /* receives it */
} DependsLook;

static void
depends_look(void *argument)
{
	DependsLook *look = argument;

	look->analysis = es_readtable_analyze(&look->projection);
}

/* Whether a projection fills a column of some name; one that can not be told does. */
static bool
depends_has_column(const EsProjection *projection, const char *column)
{
	DependsLook look = {.projection = *projection};
	int i;

	if (projection->reducer != NULL)
		return es_statetable_has_column(column);
	if (es_attempt(depends_look, &look) != NULL)
		return true;
	for (i = 0; i < look.analysis->column_count; i++)
		if (strcmp(look.analysis->columns[i].name, column) == 0)
			return true;
	return false;
}

static void
depends_refuse_column(const EsProjection *projection, Oid table, const char *column)
{
	if (es_depends_place(projection->tables, table) == 0 && !depends_has_column(projection, column))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
			 errmsg("cannot rename column \"%s\" of table \"%s\" because projection \"%s\" depends on it",
					column, get_rel_name(table), projection->name),
			 projection->is_declared
				 ? errhint("es_replace_projection(%s, ...) with a query that gives the column its new name puts that in place of the old one.",
						   quote_literal_cstr(projection->name))
				 : 0));
}

/* Raise if a projection, whose table it is, can not follow; column: NULL: of the table itself. */
void
es_depends_check_move(const EsProjection *projection, Oid table, const char *column)
{
	char *what = column == NULL
		? psprintf("rename or move table \"%s\"", get_rel_name(table))
		: psprintf("rename column \"%s\" of table \"%s\"", column, get_rel_name(table));

	if (es_projection_owns_table(projection) && column != NULL &&
		es_depends_place(projection->tables, table) >= 0)
		depends_refuse_column(projection, table, column);
	if (!depends_is_running(projection))
		return;
	if (!es_projection_owns_table(projection) && es_depends_place(projection->tables, table) >= 0)
		depends_refuse_text(projection, what,
							"Its SQL is a handler, which names its tables by itself.");
	/* Of a column of a table that is looked up it is found out afterwards. */
	if (column == NULL && es_depends_place(projection->lookups, table) >= 0)
		depends_refuse_text(projection, what,
							"Its query names the tables that it looks rows up in.");
}

/* ----------------------------------------------------------------------
 * Afterwards
 * ----------------------------------------------------------------------
 */

/* Whether a projection runs, and its SQL is valid. */
bool
es_depends_is_valid(const EsProjection *projection)
{
	DependsLook look = {.projection = *projection};

	return depends_is_running(projection) && OidIsValid(projection->role) &&
		es_attempt(depends_look, &look) == NULL;
}

/* Refuse what has been done where a projection's SQL is not valid any more. */
void
es_depends_check_valid(const char *name, const char *what)
{
	const EsProjection *projection = es_projection_find(name);
	DependsLook look;
	ErrorData *error;

	if (projection == NULL || !OidIsValid(projection->role))
		return;
	look.projection = *projection;
	error = es_attempt(depends_look, &look);
	if (error != NULL)
		depends_refuse_text(projection, what,
							psprintf("Its SQL would not be valid any more: %s.", error->message));
}

/* The names of the running projections, but for one, whose SQL is valid. */
List *
es_depends_list_valid(const char *but)
{
	List *result = NIL;
	ListCell *cell;

	foreach (cell, es_projection_list())
	{
		const EsProjection *projection = lfirst(cell);

		if (strcmp(projection->name, but) != 0 && es_depends_is_valid(projection))
			result = lappend(result, projection->name);
	}
	return result;
}

/* Raise 2BP01 if that of one of them is not any more; table: that has been altered. */
void
es_depends_check_all(const List *names, const char *table)
{
	const ListCell *cell;

	foreach (cell, names)
		es_depends_check_valid(lfirst(cell), psprintf("change the columns of table %s", table));
}
