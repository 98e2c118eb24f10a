/*-------------------------------------------------------------------------
 *
 * compat.h
 *		Differences between the supported PostgreSQL majors, 15 to 18.
 *
 * The only place where PG_VERSION_NUM is asked.  Each entry names the
 * major that changed it; the rest of the source is written for the newest.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_COMPAT_H
#define ES_COMPAT_H

#include "access/genam.h"
#include "access/slru.h"
#include "access/stratnum.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "catalog/pg_database.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "commands/async.h"
#include "executor/executor.h"
#include "optimizer/optimizer.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/sinvaladt.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"

#if PG_VERSION_NUM < 150000 || PG_VERSION_NUM >= 190000
#error "eventstore supports PostgreSQL 15 to 18"
#endif

/* 16 moved the varlena macros out of postgres.h. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* Minor releases since 2023 mark a database whose DROP was interrupted. */
#ifndef DATCONNLIMIT_INVALID_DB
#define DATCONNLIMIT_INVALID_DB (-2)
#endif

/*
 * 16 lets an update be HOT although a summarizing index (BRIN) changes, so
 * "which indexes need an entry" is no longer a yes or no.
 */
#if PG_VERSION_NUM >= 160000
typedef TU_UpdateIndexes EsUpdateIndexes;
#define es_compat_needs_entries(which)    ((which) != TU_None)
#define es_compat_only_summarizing(which) ((which) == TU_Summarizing)
#else
typedef bool EsUpdateIndexes;
#define es_compat_needs_entries(which)    (which)
#define es_compat_only_summarizing(which) false
#endif

/*
 * Index entries for a row that was inserted, inserted speculatively (conflict
 * receives whether there is another of the same key, in any unique index), or
 * updated (summarizing: see above).  16 added the last argument.
 */
#if PG_VERSION_NUM >= 160000
#define es_compat_add_entries(info, slot, estate) \
	ExecInsertIndexTuples(info, slot, estate, false, false, NULL, NIL, false)
#define es_compat_add_entries_speculative(info, slot, estate, conflict) \
	ExecInsertIndexTuples(info, slot, estate, false, true, conflict, NIL, false)
#define es_compat_add_entries_update(info, slot, estate, summarizing) \
	ExecInsertIndexTuples(info, slot, estate, true, false, NULL, NIL, summarizing)
#else
#define es_compat_add_entries(info, slot, estate) \
	ExecInsertIndexTuples(info, slot, estate, false, false, NULL, NIL)
#define es_compat_add_entries_speculative(info, slot, estate, conflict) \
	ExecInsertIndexTuples(info, slot, estate, false, true, conflict, NIL)
#define es_compat_add_entries_update(info, slot, estate, summarizing) \
	ExecInsertIndexTuples(info, slot, estate, true, false, NULL, NIL)
#endif

/* 16 calls a relation's file a locator; rel's goes into a WAL record. */
#if PG_VERSION_NUM >= 160000
#define es_compat_set_locator(record, rel) ((record)->locator = (rel)->rd_locator)
#define es_compat_file_number(rel)         ((rel)->rd_locator.relNumber)
#define es_compat_read_recent(rel, page, buffer) \
	ReadRecentBuffer((rel)->rd_locator, MAIN_FORKNUM, page, buffer)
#else
#define es_compat_set_locator(record, rel) ((record)->node = (rel)->rd_node)
#define es_compat_file_number(rel)         ((rel)->rd_node.relNode)
#define es_compat_read_recent(rel, page, buffer) \
	ReadRecentBuffer((rel)->rd_node, MAIN_FORKNUM, page, buffer)
#endif

/* 18's pg_locale.h wants ICU's headers, which the server's packages do not bring. */
extern PGDLLIMPORT char *locale_monetary;
extern PGDLLIMPORT char *locale_numeric;
extern PGDLLIMPORT char *locale_time;

/* 18 added instrumentation to index_beginscan. */
#if PG_VERSION_NUM >= 180000
#define es_compat_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, 0)
#else
#define es_compat_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, nkeys, 0)
#endif

/* 18 lets room be left before the tuple. */
#if PG_VERSION_NUM >= 180000
#define es_compat_form_minimal_tuple(desc, values, nulls) \
	heap_form_minimal_tuple(desc, values, nulls, 0)
#else
#define es_compat_form_minimal_tuple(desc, values, nulls) \
	heap_form_minimal_tuple(desc, values, nulls)
#endif

/* 17 can ask for stronger modes, too. */
#if PG_VERSION_NUM >= 170000
#define es_compat_lock_held_by_me(tag, mode) LockHeldByMe(tag, mode, false)
#else
#define es_compat_lock_held_by_me(tag, mode) LockHeldByMe(tag, mode)
#endif

/* 17 moved the local transaction id into PGPROC's vxid, and calls backends by ProcNumber. */
#if PG_VERSION_NUM >= 170000
#define es_compat_proc_lxid(proc) ((proc)->vxid.lxid)
#define es_compat_vxid_proc(vxid) ProcNumberGetProc((vxid).procNumber)
#else
#define es_compat_proc_lxid(proc) ((proc)->lxid)
#define es_compat_vxid_proc(vxid) BackendIdGetProc((vxid).backendId)
#endif

/* 16 made one check of privileges of many, ... */
#if PG_VERSION_NUM >= 160000
#define es_compat_database_privilege(oid, role, mode) \
	object_aclcheck(DatabaseRelationId, oid, role, mode)
#define es_compat_may_execute(oid, role) \
	object_aclcheck(ProcedureRelationId, oid, role, ACL_EXECUTE)
#else
#define es_compat_database_privilege(oid, role, mode) pg_database_aclcheck(oid, role, mode)
#define es_compat_may_execute(oid, role)              pg_proc_aclcheck(oid, role, ACL_EXECUTE)
#endif

/* ... and one of ownership. */
#if PG_VERSION_NUM >= 160000
#define es_compat_owns_database(oid, role) object_ownercheck(DatabaseRelationId, oid, role)
#define es_compat_owns_relation(oid, role) object_ownercheck(RelationRelationId, oid, role)
#define es_compat_owns_schema(oid, role)   object_ownercheck(NamespaceRelationId, oid, role)
#else
#define es_compat_owns_database(oid, role) pg_database_ownercheck(oid, role)
#define es_compat_owns_relation(oid, role) pg_class_ownercheck(oid, role)
#define es_compat_owns_schema(oid, role)   pg_namespace_ownercheck(oid, role)
#endif

/* 16 moved the rights that a query needs out of its range table. */
static inline void
es_compat_waive_rights(Query *query)
{
	ListCell *cell;

#if PG_VERSION_NUM >= 160000
	foreach (cell, query->rteperminfos)
		lfirst_node(RTEPermissionInfo, cell)->requiredPerms = 0;
#else
	foreach (cell, query->rtable)
		lfirst_node(RangeTblEntry, cell)->requiredPerms = 0;
#endif
}

/* 16 tells apart who belongs to a role and who may SET ROLE to it. */
#if PG_VERSION_NUM >= 160000
#define es_compat_check_can_be(member, role) check_can_set_role(member, role)
#else
#define es_compat_check_can_be(member, role) check_is_member_of_role(member, role)
#endif

/*
 * The locks that a session holds or waits for; the partition's lock is held.
 * 16 keeps them in another kind of list.
 *
 * Each link is read once, as PREPARE fills its new entry with zeroes, and then
 * makes its lists, without that lock.  What was there before is an empty list.
 */
static inline PROCLOCK *
es_compat_next_proclock(PGPROC *proc, int partition, PROCLOCK *last)
{
#if PG_VERSION_NUM >= 160000
	dlist_node *head = &proc->myProcLocks[partition].head;
	dlist_node *link = last == NULL ? head : &last->procLink;
	dlist_node *next = *(dlist_node *volatile *) &link->next;
#else
	SHM_QUEUE *head = &proc->myProcLocks[partition];
	SHM_QUEUE *link = last == NULL ? head : &last->procLink;
	SHM_QUEUE *next = *(SHM_QUEUE *volatile *) &link->next;
#endif

	if (next == NULL || next == head)
		return NULL;
	return (PROCLOCK *) ((char *) next - offsetof(PROCLOCK, procLink));
}

/*
 * 18 has the expressions of GROUP BY in a range table entry of their own;
 * what is written here works on queries that refer to them directly.
 */
#if PG_VERSION_NUM >= 180000
#define es_compat_flatten_group(query) \
	((query)->targetList = (List *) flatten_group_exprs(NULL, query, (Node *) (query)->targetList))
#define es_compat_forget_group(query) ((query)->hasGroupRTE = false)
#else
#define es_compat_flatten_group(query) ((void) 0)
#define es_compat_forget_group(query)  ((void) 0)
#endif

/* 17 renamed what tells whether the search_path is still the same. */
#if PG_VERSION_NUM >= 170000
typedef SearchPathMatcher EsSearchPath;
#define es_compat_search_path()            GetSearchPathMatcher(CurrentMemoryContext)
#define es_compat_is_search_path(expected) SearchPathMatchesCurrentEnvironment(expected)
#else
typedef OverrideSearchPath EsSearchPath;
#define es_compat_search_path()            GetOverrideSearchPath(CurrentMemoryContext)
#define es_compat_is_search_path(expected) OverrideSearchPathMatchesCurrent(expected)
#endif

/*
 * Whether an operator orders, and which way.  18 says so by another type.
 */
static inline bool
es_compat_is_ordering(Oid operator, bool * is_descending)
{
	Oid opfamily;
	Oid type;
#if PG_VERSION_NUM >= 180000
	CompareType direction;
	bool result = get_ordering_op_properties(operator, & opfamily, &type, &direction);

	*is_descending = direction == COMPARE_GT;
#else
	int16 direction;
	bool result = get_ordering_op_properties(operator, & opfamily, &type, &direction);

	*is_descending = direction == BTGreaterStrategyNumber;
#endif
	return result;
}

/*
 * 16 writes JSON_ARRAYAGG and its kin as an expression around their aggregate;
 * what is written here looks at aggregates.
 */
static inline Node *
es_compat_unwrap_json_aggregate(Node *node)
{
#if PG_VERSION_NUM >= 160000
	JsonConstructorExpr *constructor = (JsonConstructorExpr *) node;

	if (IsA(node, JsonConstructorExpr) && constructor->func != NULL &&
		IsA(constructor->func, Aggref) && constructor->coercion == NULL)
		return (Node *) constructor->func;
#endif
	return node;
}

/* 16 took privileges out of the range table: check those of a query's own tables. */
#if PG_VERSION_NUM >= 160000
#define es_compat_check_rights(query) \
	((void) ExecCheckPermissions((query)->rtable, (query)->rteperminfos, true))
#else
#define es_compat_check_rights(query) ((void) ExecCheckRTPerms((query)->rtable, true))
#endif

/* 16 gave stringToQualifiedNameList a place for soft errors. */
#if PG_VERSION_NUM >= 160000
#define es_compat_name_list(name) stringToQualifiedNameList(name, NULL)
#else
#define es_compat_name_list(name) stringToQualifiedNameList(name)
#endif

/* 18 asks whether a deferrable one will do. */
#if PG_VERSION_NUM >= 180000
#define es_compat_primary_key(rel) RelationGetPrimaryKeyIndex(rel, false)
#else
#define es_compat_primary_key(rel) RelationGetPrimaryKeyIndex(rel)
#endif

/* 18 says before the declaration that a function does not return. */
#if PG_VERSION_NUM >= 180000
#define es_compat_noreturn pg_noreturn
#else
#define es_compat_noreturn pg_attribute_noreturn()
#endif

/* 17 builds some indexes by several processes. */
#if PG_VERSION_NUM >= 170000
#define es_compat_refuse_parallel_build(routine) ((routine)->amcanbuildparallel = false)
#else
#define es_compat_refuse_parallel_build(routine) ((void) 0)
#endif

/* 16 renamed it: what a session tells about itself, by number from 1. */
#if PG_VERSION_NUM >= 160000
#define es_compat_backend_status(number) pgstat_get_local_beentry_by_index(number)
#else
#define es_compat_backend_status(number) pgstat_fetch_stat_local_beentry(number)
#endif

/* 17 made a setting of the number of pages that the NOTIFY queue may have. */
#if PG_VERSION_NUM >= 170000
#define es_compat_notify_pages() ((double) max_notify_queue_pages)
#else
#define es_compat_notify_pages() (SLRU_PAGES_PER_SEGMENT * (double) 0x8000)
#endif

/* 18 counts frozen pages in pg_class, too. */
#if PG_VERSION_NUM >= 180000
#define es_compat_swap_all_frozen(a, b) \
	do \
	{ \
		int32 swap_ = (a)->relallfrozen; \
		(a)->relallfrozen = (b)->relallfrozen; \
		(b)->relallfrozen = swap_; \
	} while (0)
#else
#define es_compat_swap_all_frozen(a, b) ((void) 0)
#endif

/*
 * A table that was made in this transaction has got the file of one that was
 * not: with wal_level = minimal, changes of a new file are not logged.  16 calls
 * a relation's file a locator.
 */
#if PG_VERSION_NUM >= 160000
#define es_compat_is_of_transaction(rel) \
	((rel)->rd_createSubid != InvalidSubTransactionId || \
	 (rel)->rd_firstRelfilelocatorSubid != InvalidSubTransactionId)
#define es_compat_forget_new_file(rel) \
	((rel)->rd_createSubid = (rel)->rd_newRelfilelocatorSubid = \
		 (rel)->rd_firstRelfilelocatorSubid = InvalidSubTransactionId)
#else
#define es_compat_is_of_transaction(rel) \
	((rel)->rd_createSubid != InvalidSubTransactionId || \
	 (rel)->rd_firstRelfilenodeSubid != InvalidSubTransactionId)
#define es_compat_forget_new_file(rel) \
	((rel)->rd_createSubid = (rel)->rd_newRelfilenodeSubid = (rel)->rd_firstRelfilenodeSubid = \
		 InvalidSubTransactionId)
#endif

#endif /* ES_COMPAT_H */
