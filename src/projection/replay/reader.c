/*-------------------------------------------------------------------------
 *
 * reader.c
 *		Who may see what a projection's tables were.
 *
 * Whoever may read the tables as they are may read them as they were: the rows
 * come of the same SQL, which runs as the projection's owner, here as there.  So
 * es_projection_as_of wants of others than the owner SELECT on the tables, of all
 * rows; and where grants bind the caller, that the projection is applied to
 * categories of the caller's only, and reads nothing else.
 *
 * A replay runs the owner's SQL in the caller's session, with pg_temp first in
 * its search_path.  A table, type or view that is temporary there could be taken
 * for something that the SQL names, and run the caller's code as the owner:
 * a reader's session may have none.
 *
 * Memory: the current context.  Locks: none.  Calls: projection, readtable,
 * rights, shadow.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"

#include "projection/readtable.h"
#include "projection/replay/reader.h"
#include "projection/replay/shadow.h"
#include "rights/rights.h"

/* Whether a role may read all columns of a table. */
static bool
reader_may_select(Oid table, Oid role)
{
	return pg_class_aclcheck(table, role, ACL_SELECT) == ACLCHECK_OK ||
		pg_attribute_aclcheck_all(table, role, ACL_SELECT, ACLMASK_ALL) == ACLCHECK_OK;
}

static void
reader_check_table(const EsProjection *projection, const char *name)
{
	Oid table = es_readtable_find(name);

	/* Gone: the replay says so; who may not read it is not told. */
	if (!OidIsValid(table) || !reader_may_select(table, GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for projection \"%s\"", projection->name),
				 errdetail("What its tables were is for its owner, and for those who may SELECT from %s.",
						   name)));
	if (check_enable_rls(table, GetUserId(), true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for projection \"%s\"", projection->name),
				 errdetail("Row security of %s could hide rows, and what it was has none.", name)));
}

/* Whether all that a projection reads is within bounds. */
static bool
reader_is_covered(const EsBounds *bounds, const EsProjection *projection)
{
	int i;

	if (bounds->has_all)
		return true;
	/* A handler's SQL, or a reducer, can read whatever its owner may. */
	if (!projection->is_declared || projection->lookups != NIL || !projection->categories.is_on)
		return false;
	for (i = 0; i < projection->categories.count; i++)
		if (!es_rights_cover(bounds, projection->categories.names[i], NULL))
			return false;
	return true;
}

static void
reader_check_session(void)
{
	if (es_shadow_execute(
			BOOTSTRAP_SUPERUSERID, SECURITY_RESTRICTED_OPERATION,
			"SELECT FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.pg_my_temp_schema() UNION ALL "
			"SELECT FROM pg_catalog.pg_type WHERE typnamespace = pg_catalog.pg_my_temp_schema() LIMIT 1") >
		0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this session has temporary tables or types"),
				 errdetail("The SQL of the projection's owner could take them for its own."),
				 errhint("DISCARD TEMP, or use another session; put the result into a table that is not temporary.")));
}

/*
 * Raise 42501 unless the current role may read a projection's tables, all of
 * them and all rows; 55000 where its session is not fit for a replay.
 */
void
es_reader_check(const EsProjection *projection)
{
	const ListCell *cell;

	if (!reader_is_covered(&es_rights_of(GetUserId())->sees, projection))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for projection \"%s\"", projection->name),
				 errdetail("It reads more than what role \"%s\" has been granted.",
						   GetUserNameFromId(GetUserId(), false))));
	foreach (cell, projection->tables)
	{
		reader_check_table(projection, lfirst(cell));
		/* Those beside a declared table are nothing that is returned. */
		if (projection->is_declared)
			break;
	}
	reader_check_session();
}
