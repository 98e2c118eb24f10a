/*-------------------------------------------------------------------------
 *
 * roster.c
 *		The running inline projections, as a backend knows them.
 *
 * They are kept, with their filters and plans, until something is changed in
 * eventstore.projections, or in the mark that says who owns one of them.  Who
 * appends and has the lock on eventstore.events knows the right ones, as a
 * change of which of them run waits until no append is in flight (barrier.c).
 *
 * A projection without an owner, or whose rows a crash has taken, is passed
 * by: appends go on.  Who passes it by first notes that it is stale.
 *
 * That one has stopped at an error is learned sooner or later, and every append
 * that has learned it notes what the projection misses (omission.c).
 *
 * Memory: a context of its own for each roster, below CacheMemoryContext.
 * Locks: projection.c's, stale.c's.  Calls: apply, catalog, intact, mark, projection,
 * stale.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "base/catalog.h"
#include "projection/intact.h"
#include "projection/mark.h"
#include "projection/roster.h"
#include "projection/stale.h"

static EsRoster *roster_current = NULL;

/* How many times the mark of a projection may have changed. */
static uint64 roster_marks = 0;

/* Syscache callback: hash is 0 where everything is invalidated. */
static void
roster_on_mark(Datum arg, int cache, uint32 hash)
{
	bool is_known = hash == 0 || roster_current == NULL;
	int i;

	for (i = 0; !is_known && i < roster_current->mark_count; i++)
		is_known = roster_current->mark_hashes[i] == hash;
	if (is_known)
		roster_marks++;
}

/* Called once, by _PG_init. */
void
es_roster_init(void)
{
	CacheRegisterSyscacheCallback(PROCNAMEARGSNSP, roster_on_mark, (Datum) 0);
}

/* Whether a running inline projection can be applied; notes if it is stale. */
static bool
roster_can_apply(const EsProjection *projection)
{
	char *reason;

	if (projection->is_stale)
		return false;
	if (!OidIsValid(projection->role))
		es_stale_note(projection->name, ERRCODE_UNDEFINED_OBJECT, ES_MARK_LOST);
	else if (es_intact_is_lost(projection, &reason))
		es_stale_note(projection->name, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, reason);
	else
		return true;
	return false;
}

static EsRoster *
roster_load(void)
{
	uint64 generation = es_catalog_generation();
	uint64 marks = roster_marks;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "inline projections",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	EsRoster *roster = palloc0(sizeof(EsRoster));
	List *all = es_projection_list();
	ListCell *cell;

	roster->context = context;
	roster->generation = generation;
	roster->marks = marks;
	roster->entries = palloc0(sizeof(EsRosterEntry) * Max(list_length(all), 1));
	roster->mark_hashes = palloc(sizeof(uint32) * Max(list_length(all), 1));
	foreach (cell, all)
	{
		EsProjection *projection = lfirst(cell);
		EsRosterEntry *entry = &roster->entries[roster->count];

		if (!projection->is_inline ||
			(projection->state != ES_PROJECTION_RUNNING && !projection->notes_missed))
			continue;
		roster->mark_hashes[roster->mark_count++] = es_mark_hash(projection->name);
		if (!roster_can_apply(projection))
			continue;
		entry->projection = projection;
		entry->is_stopped = projection->notes_missed;
		roster->has_stopping |= projection->on_error == ES_ON_ERROR_STOP;
		roster->count++;
	}
	MemoryContextSwitchTo(caller);
	MemoryContextSetParent(context, CacheMemoryContext);
	return roster;
}

static bool
roster_is_outdated(const EsRoster *roster)
{
	return roster->generation != es_catalog_generation() || roster->marks != roster_marks;
}

/* The running inline projections; release them with es_roster_release. */
EsRoster *
es_roster_acquire(void)
{
	/* That one has stopped is told without a lock that appends would wait for. */
	if (roster_current != NULL && roster_current->has_stopping)
		AcceptInvalidationMessages();
	if (roster_current == NULL || roster_is_outdated(roster_current))
	{
		EsRoster *fresh = roster_load();

		if (roster_current != NULL && roster_current->users == 0)
			MemoryContextDelete(roster_current->context);
		roster_current = fresh;
	}
	roster_current->users++;
	return roster_current;
}

/*
 * Have this transaction, and when it commits all others, know that one has
 * stopped.
 */
void
es_roster_tell(void)
{
	Relation rel = es_catalog_open(ES_PROJECTIONS, AccessShareLock);

	CacheInvalidateRelcache(rel);
	relation_close(rel, NoLock);
	CommandCounterIncrement();
}

/* Be done with it: it goes if it is not the current one any more. */
void
es_roster_release(EsRoster *roster)
{
	roster->users--;
	if (roster->users == 0 && roster != roster_current)
		MemoryContextDelete(roster->context);
}

/* The SQL of one; made, where it is not yet, in a context that an error takes away. */
EsApplier *
es_roster_get_applier(EsRoster *roster, EsRosterEntry *entry)
{
	MemoryContext context;
	MemoryContext caller;
	EsApplier *applier;

	if (entry->applier != NULL)
		return entry->applier;
	context = AllocSetContextCreate(CurrentMemoryContext, "inline projection", ALLOCSET_SMALL_SIZES);
	caller = MemoryContextSwitchTo(context);
	applier = es_apply_make(entry->projection);
	MemoryContextSwitchTo(caller);
	MemoryContextSetParent(context, roster->context);
	entry->applier = applier;
	return applier;
}
