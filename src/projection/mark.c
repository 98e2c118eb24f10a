/*-------------------------------------------------------------------------
 *
 * mark.c
 *		Whose a projection is.
 *
 * A projection's SQL runs with its owner's rights, so the owner must be known
 * as PostgreSQL knows the owner of a table: another role that gets the name of
 * one that was dropped is another role.  Therefore each projection has a mark,
 * a procedure that does nothing, eventstore.<projection>(eventstore.projection).
 * Its owner is the projection's.  So PostgreSQL itself sees to all that happens
 * to roles: ALTER ROLE ... RENAME changes nothing, REASSIGN OWNED gives the
 * projection to somebody else, DROP ROLE is refused, DROP OWNED takes the mark
 * away; and a dump carries the owner by name.
 *
 * Where a restore does not find that role, or is told not to care for owners, the
 * mark belongs to who restores, often a superuser.  That has to be noticed.
 * So nobody may execute the mark, not even its owner: a dump says so by REVOKE
 * ... FROM that very role, which then fails or means somebody else, and the mark
 * is one that its owner may execute, as any new procedure is.  Where rights
 * are not what they should be, the owner's name in eventstore.projections
 * decides: pg_dump --no-privileges leaves them out, and a DBA may have granted
 * all on all routines.
 *
 * The mark goes silently with the extension, also after a restore: of a
 * procedure a dump carries that it depends on an extension.
 *
 * Memory: the current context.  Locks: those of the DDL.  Calls: catalog.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_proc.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/catalog.h"
#include "projection/mark.h"

/* ----------------------------------------------------------------------
 * Finding
 * ----------------------------------------------------------------------
 */

/* The mark's argument types, of which there is one. */
static oidvector *
mark_arguments(void)
{
	Oid type = get_rel_type_id(es_catalog_oid(ES_PROJECTION));

	return buildoidvector(&type, 1);
}

static HeapTuple
mark_look_up(const char *projection)
{
	return SearchSysCache3(PROCNAMEARGSNSP, CStringGetDatum(projection),
						   PointerGetDatum(mark_arguments()),
						   ObjectIdGetDatum(get_namespace_oid(ES_SCHEMA, false)));
}

/*
 * By what the invalidation of a projection's mark is told from that of other
 * procedures.
 */
uint32
es_mark_hash(const char *projection)
{
	return GetSysCacheHashValue3(PROCNAMEARGSNSP, CStringGetDatum(projection),
								 PointerGetDatum(mark_arguments()),
								 ObjectIdGetDatum(get_namespace_oid(ES_SCHEMA, false)));
}

/* Whether a mark's rights say that its owner is the one that it was made for. */
static bool
mark_is_genuine(HeapTuple mark, Oid owner)
{
	bool is_null;
	Datum rights = SysCacheGetAttr(PROCNAMEARGSNSP, mark, Anum_pg_proc_proacl, &is_null);
	Acl *acl;
	int i;

	if (is_null)
		return false;
	acl = DatumGetAclP(rights);
	for (i = 0; i < ACL_NUM(acl); i++)
		if (ACL_DAT(acl)[i].ai_grantee == owner)
			return false;
	return true;
}

static bool
mark_has_name(Oid owner, const char *name)
{
	char *current = GetUserNameFromId(owner, true);

	return current != NULL && strcmp(current, name) == 0;
}

/*
 * The owner of a projection.
 *
 * noted_owner: the name that was noted with the projection.
 *
 * Returns InvalidOid if it has none: its mark was dropped, or restored as
 * somebody else's.
 */
Oid
es_mark_find(const char *projection, const char *noted_owner)
{
	HeapTuple mark = mark_look_up(projection);
	Oid owner;

	if (!HeapTupleIsValid(mark))
		return InvalidOid;
	owner = ((Form_pg_proc) GETSTRUCT(mark))->proowner;
	if (!mark_is_genuine(mark, owner) && !mark_has_name(owner, noted_owner))
		owner = InvalidOid;
	ReleaseSysCache(mark);
	return owner;
}

/* ----------------------------------------------------------------------
 * Making
 * ----------------------------------------------------------------------
 */

/* Not as the owner, who may make nothing in the store's schema. */
static void
mark_execute(const char *sql)
{
	Oid user;
	int security;
	int level = NewGUCNestLevel();

	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, security | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
	if (SPI_execute(sql, false, 0) < 0)
		elog(ERROR, "could not execute \"%s\"", sql);
	SPI_finish();
	SetUserIdAndSecContext(user, security);
	AtEOXact_GUC(false, level);
	CommandCounterIncrement();
}

static char *
mark_name(const char *projection)
{
	return psprintf("eventstore.%s(eventstore.projection)", quote_identifier(projection));
}

/* Drop a projection's mark, if it has one. */
void
es_mark_drop(const char *projection)
{
	HeapTuple mark = mark_look_up(projection);

	if (!HeapTupleIsValid(mark))
		return;
	ReleaseSysCache(mark);
	mark_execute(psprintf("DROP PROCEDURE %s", mark_name(projection)));
}

/* What people read of a mark. */
static void
mark_comment(const char *projection)
{
	char *comment =
		psprintf("Its owner is the owner of projection \"%s\"; see es_reassign_projection.",
				 projection);

	mark_execute(psprintf("COMMENT ON PROCEDURE %s IS %s", mark_name(projection),
						  quote_literal_cstr(comment)));
}

/* A projection has another name: its mark, if it has one, keeps owner and rights. */
void
es_mark_rename(const char *projection, const char *new_name)
{
	HeapTuple mark = mark_look_up(projection);

	if (!HeapTupleIsValid(mark))
		return;
	ReleaseSysCache(mark);
	mark_execute(psprintf("ALTER PROCEDURE %s RENAME TO %s", mark_name(projection),
						  quote_identifier(new_name)));
	mark_comment(new_name);
}

/* Make a role the owner of a projection, whose lock is held. */
void
es_mark_make(const char *projection, Oid owner)
{
	char *mark = mark_name(projection);
	const char *role = quote_identifier(GetUserNameFromId(owner, false));

	es_mark_drop(projection);
	mark_execute(psprintf("CREATE PROCEDURE %s LANGUAGE sql AS ''", mark));
	mark_comment(projection);
	mark_execute(psprintf("ALTER PROCEDURE %s DEPENDS ON EXTENSION eventstore", mark));
	mark_execute(psprintf("ALTER PROCEDURE %s OWNER TO %s", mark, role));
	mark_execute(psprintf("REVOKE ALL ON PROCEDURE %s FROM PUBLIC, %s", mark, role));
}
