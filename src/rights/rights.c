/*-------------------------------------------------------------------------
 *
 * rights.c
 *		To which streams a role is bound, as es_grant has said.
 *
 * That a role has been given a level is recorded as its right to execute the
 * level's mark, a function eventstore.may_<level>(), as sql/40_access.sql says.
 * That it has been given one within bounds is its right to execute
 * eventstore.may_<level>_within(), and the mark of each bound,
 * eventstore.may_<level>_within_<hash>(), in whose source the bound stands.
 *
 * Bounds count for who has none of the level without bounds.  So a role that
 * has lost the marks of its bounds, but not that it is bound, is bound to
 * nothing; and one that a DBA has given rights by GRANT, without a level, is
 * not bound.  Rights of a group are its members' as far as they inherit them.
 *
 * What is known of a role is kept until one of the marks, the memberships or
 * the roles change; where a role is bound, until any function does, as the
 * marks of bounds are found by their names.
 *
 * Memory: a context below CacheMemoryContext; what es_rights_of returns is
 * valid until its next call.  Locks: AccessShare on pg_proc, for moments.
 * Calls: bound, catalog, compat.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "rights/rights.h"

/* The marks of levels. */
typedef enum RightsMark
{
	RIGHTS_READ,
	RIGHTS_APPEND,
	RIGHTS_REVEAL,
	RIGHTS_ADMINISTER,
	RIGHTS_READ_WITHIN,
	RIGHTS_APPEND_WITHIN,
	RIGHTS_REVEAL_WITHIN,
	RIGHTS_MARK_COUNT
} RightsMark;

static const char *const rights_names[RIGHTS_MARK_COUNT] =
	{[RIGHTS_READ] = "may_read",
	 [RIGHTS_APPEND] = "may_append",
	 [RIGHTS_REVEAL] = "may_reveal",
	 [RIGHTS_ADMINISTER] = "may_administer",
	 [RIGHTS_READ_WITHIN] = "may_read_within",
	 [RIGHTS_APPEND_WITHIN] = "may_append_within",
	 [RIGHTS_REVEAL_WITHIN] = "may_reveal_within"};

/* By which their invalidations are told from those of other functions. */
static uint32 rights_hashes[RIGHTS_MARK_COUNT];

/* How many times what is known may have become wrong. */
static uint64 rights_generation = 1;

/* What is known, and as of which generation. */
static MemoryContext rights_context = NULL;
static uint64 rights_known = 0;
static bool rights_has_bound = false; /* some role is */
static List *rights_roles = NIL;
static const EsRights *rights_last = NULL;

/* Syscache callbacks: hash is 0 where everything is invalidated. */
static void
rights_on_function(Datum arg, int cache, uint32 hash)
{
	bool is_known = hash == 0 || rights_has_bound;
	int i;

	for (i = 0; !is_known && i < RIGHTS_MARK_COUNT; i++)
		is_known = rights_hashes[i] == hash;
	if (is_known)
		rights_generation++;
}

static void
rights_on_role(Datum arg, int cache, uint32 hash)
{
	rights_generation++;
}

/* Called once, by _PG_init. */
void
es_rights_init(void)
{
	CacheRegisterSyscacheCallback(PROCNAMEARGSNSP, rights_on_function, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, rights_on_role, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, rights_on_role, (Datum) 0);
	/* Whose the database is: he has what pg_database_owner has. */
	CacheRegisterSyscacheCallback(DATABASEOID, rights_on_role, (Datum) 0);
}

/* ----------------------------------------------------------------------
 * Marks
 * ----------------------------------------------------------------------
 */

/* Who has which of them. */
typedef struct RightsMarks
{
	Oid schema;
	bool is_owner; /* of the store, or a superuser */
	bool has[RIGHTS_MARK_COUNT];
} RightsMarks;

static void
rights_look_at_mark(RightsMarks *marks, RightsMark which, Oid role)
{
	oidvector *no_arguments = buildoidvector(NULL, 0);
	HeapTuple mark = SearchSysCache3(PROCNAMEARGSNSP, CStringGetDatum(rights_names[which]),
									 PointerGetDatum(no_arguments),
									 ObjectIdGetDatum(marks->schema));

	rights_hashes[which] = GetSysCacheHashValue3(PROCNAMEARGSNSP,
												 CStringGetDatum(rights_names[which]),
												 PointerGetDatum(no_arguments),
												 ObjectIdGetDatum(marks->schema));
	/* The library may be newer than the store. */
	if (!HeapTupleIsValid(mark))
		return;
	marks->has[which] = es_compat_may_execute(((Form_pg_proc) GETSTRUCT(mark))->oid, role) ==
		ACLCHECK_OK;
	if (which == RIGHTS_ADMINISTER)
		marks->is_owner = has_privs_of_role(role, ((Form_pg_proc) GETSTRUCT(mark))->proowner);
	ReleaseSysCache(mark);
}

static RightsMarks
rights_look_at_marks(Oid role)
{
	RightsMarks marks = {.schema = get_namespace_oid(ES_SCHEMA, true)};
	int i;

	for (i = 0; i < RIGHTS_MARK_COUNT; i++)
		rights_look_at_mark(&marks, i, role);
	marks.is_owner = marks.is_owner || superuser_arg(role);
	return marks;
}

/*
 * Whether a role may execute a function, its owner and PUBLIC aside: nobody
 * means these, and a restore without rights gives to both.
 */
static bool
rights_are_given(HeapTuple function, TupleDesc desc, Oid role)
{
	Oid owner = ((Form_pg_proc) GETSTRUCT(function))->proowner;
	bool is_null;
	Datum rights = heap_getattr(function, Anum_pg_proc_proacl, desc, &is_null);
	Acl *acl;
	int i;

	if (is_null)
		return false;
	acl = DatumGetAclP(rights);
	for (i = 0; i < ACL_NUM(acl); i++)
	{
		const AclItem *item = &ACL_DAT(acl)[i];

		if (item->ai_grantee != ACL_ID_PUBLIC && item->ai_grantee != owner &&
			(ACLITEM_GET_PRIVS(*item) & ACL_EXECUTE) != 0 &&
			has_privs_of_role(role, item->ai_grantee))
			return true;
	}
	return false;
}

/* ----------------------------------------------------------------------
 * Bounds
 * ----------------------------------------------------------------------
 */

static void
rights_add(EsBounds *bounds, const EsBound *bound)
{
	if (bounds->count == 0)
		bounds->items = palloc(sizeof(EsBound));
	else
		bounds->items = repalloc(bounds->items, sizeof(EsBound) * (bounds->count + 1));
	bounds->items[bounds->count++] = *bound;
}

/* Add the bounds of a level that a role has. */
static void
rights_add_bounds(EsBounds *bounds, const RightsMarks *marks, RightsMark within, Oid role)
{
	char *first = psprintf("%s_", rights_names[within]);
	char *behind = psprintf("%s`", rights_names[within]); /* what follows '_' */
	NameData names[2];
	ScanKeyData keys[2];
	Relation functions;
	SysScanDesc scan;
	HeapTuple mark;

	if (!marks->has[within])
		return;
	namestrcpy(&names[0], first);
	namestrcpy(&names[1], behind);
	ScanKeyInit(&keys[0], Anum_pg_proc_proname, BTGreaterStrategyNumber, F_NAMEGT,
				NameGetDatum(&names[0]));
	ScanKeyInit(&keys[1], Anum_pg_proc_proname, BTLessStrategyNumber, F_NAMELT,
				NameGetDatum(&names[1]));
	functions = table_open(ProcedureRelationId, AccessShareLock);
	scan = systable_beginscan(functions, ProcedureNameArgsNspIndexId, true, NULL, 2, keys);
	while (HeapTupleIsValid(mark = systable_getnext(scan)))
	{
		TupleDesc desc = RelationGetDescr(functions);
		EsBound bound;
		bool is_null;
		Datum source;

		if (((Form_pg_proc) GETSTRUCT(mark))->pronamespace != marks->schema ||
			!rights_are_given(mark, desc, role))
			continue;
		source = heap_getattr(mark, Anum_pg_proc_prosrc, desc, &is_null);
		if (!is_null && es_bound_read(&bound, TextDatumGetCString(source)))
			rights_add(bounds, &bound);
	}
	systable_endscan(scan);
	table_close(functions, AccessShareLock);
}

/* ----------------------------------------------------------------------
 * Rights
 * ----------------------------------------------------------------------
 */

static EsRights *
rights_load(Oid role)
{
	EsRights *rights = palloc0(sizeof(EsRights));
	RightsMarks marks = rights_look_at_marks(role);
	const bool *has = marks.has;
	bool may_all = marks.is_owner || has[RIGHTS_ADMINISTER];

	rights->role = role;
	/* Whom a plain SELECT shows everything, functions show everything, too. */
	rights->is_unbound = may_all || has[RIGHTS_READ] || has[RIGHTS_APPEND] ||
		has_bypassrls_privilege(role);
	rights->sees.has_all = rights->is_unbound ||
		!(has[RIGHTS_READ_WITHIN] || has[RIGHTS_APPEND_WITHIN]);
	rights->appends.has_all = may_all || has[RIGHTS_APPEND] || !has[RIGHTS_APPEND_WITHIN];
	rights->reveals.has_all = may_all || has[RIGHTS_REVEAL] || !has[RIGHTS_REVEAL_WITHIN];
	if (!rights->sees.has_all)
	{
		rights_add_bounds(&rights->sees, &marks, RIGHTS_READ_WITHIN, role);
		rights_add_bounds(&rights->sees, &marks, RIGHTS_APPEND_WITHIN, role);
	}
	if (!rights->appends.has_all)
		rights_add_bounds(&rights->appends, &marks, RIGHTS_APPEND_WITHIN, role);
	if (!rights->reveals.has_all)
		rights_add_bounds(&rights->reveals, &marks, RIGHTS_REVEAL_WITHIN, role);
	return rights;
}

static void
rights_forget(void)
{
	if (rights_context != NULL)
		MemoryContextDelete(rights_context);
	rights_context = NULL;
	rights_roles = NIL;
	rights_last = NULL;
	rights_has_bound = false;
}

static const EsRights *
rights_find(Oid role)
{
	uint64 generation = rights_generation;
	MemoryContext caller;
	MemoryContext loading;
	EsRights *rights;
	ListCell *cell;

	if (rights_known != generation)
		rights_forget();
	foreach (cell, rights_roles)
	{
		rights = lfirst(cell);
		if (rights->role == role)
			return rights_last = rights;
	}

	/* In a context that an error takes away, and that goes over to the known ones. */
	loading = AllocSetContextCreate(CurrentMemoryContext, "rights of a role", ALLOCSET_SMALL_SIZES);
	caller = MemoryContextSwitchTo(loading);
	rights = rights_load(role);
	if (rights_context == NULL)
		rights_context = AllocSetContextCreate(CacheMemoryContext, "eventstore rights",
											   ALLOCSET_SMALL_SIZES);
	MemoryContextSetParent(loading, rights_context);
	MemoryContextSwitchTo(rights_context);
	rights_roles = lappend(rights_roles, rights);
	MemoryContextSwitchTo(caller);
	if (!rights->sees.has_all || !rights->appends.has_all || !rights->reveals.has_all)
		rights_has_bound = true;
	/* What has changed meanwhile is looked at again by the next call. */
	rights_known = generation;
	return rights_last = rights;
}

/* The rights of a role.  Valid until the next call. */
const EsRights *
es_rights_of(Oid role)
{
	if (likely(rights_last != NULL && rights_last->role == role &&
			   rights_known == rights_generation))
		return rights_last;
	return rights_find(role);
}

/* A number that changes whenever rights of roles may have changed. */
uint64
es_rights_generation(void)
{
	return rights_generation;
}

/* Whether a stream is among those of some bounds. */
bool
es_rights_has(const EsBounds *bounds, const text *stream)
{
	int i;

	if (bounds->has_all)
		return true;
	for (i = 0; i < bounds->count; i++)
		if (es_bound_fits(&bounds->items[i], stream))
			return true;
	return false;
}

/* Whether all streams of a category and a tenant are; NULL: of all there are. */
bool
es_rights_cover(const EsBounds *bounds, const text *category, const text *tenant)
{
	int i;

	if (bounds->has_all)
		return true;
	for (i = 0; i < bounds->count; i++)
		if (es_bound_covers(&bounds->items[i], category, tenant))
			return true;
	return false;
}

/* Raise 42501 unless the current role may append to a stream. */
void
es_rights_check_append(const text *stream)
{
	if (likely(es_rights_has(&es_rights_of(GetUserId())->appends, stream)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for stream \"%s\"", text_to_cstring(stream)),
			 errdetail("Role \"%s\" may append to streams of some categories or tenants only.",
					   GetUserNameFromId(GetUserId(), false)),
			 errhint("An admin can let it append elsewhere, by es_grant().")));
}

/*
 * Raise 42501 unless the current role may read a subject's data in clear.
 *
 * subject: its category and its tenant are told by its name, as a stream's.
 */
void
es_rights_check_reveal(const text *subject)
{
	if (likely(es_rights_has(&es_rights_of(GetUserId())->reveals, subject)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for subject \"%s\"", text_to_cstring(subject)),
			 errdetail("Role \"%s\" may reveal what is protected for subjects of some categories or tenants only.",
					   GetUserNameFromId(GetUserId(), false)),
			 errhint("An admin can let it reveal others, by es_grant().")));
}
