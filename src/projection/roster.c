/*-------------------------------------------------------------------------
 *
 * roster.c
 *		The running inline projections, as a backend knows them.
 *
 * They are kept, with their filters and plans, until something is changed in
 * eventstore.projections.  Who appends and has the lock on eventstore.events
 * knows the right ones, as a change of which of them run waits until no append
 * is in flight (barrier.c).
 *
 * Memory: a context of its own for each roster, below CacheMemoryContext.
 * Locks: projection.c's.  Calls: apply, catalog, projection.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "base/catalog.h"
#include "projection/roster.h"

static EsRoster *roster_current = NULL;

static EsRoster *
roster_load(void)
{
	uint64 generation = es_catalog_generation();
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "inline projections",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	EsRoster *roster = palloc0(sizeof(EsRoster));
	List *all = es_projection_list();
	ListCell *cell;

	roster->context = context;
	roster->generation = generation;
	roster->entries = palloc0(sizeof(EsRosterEntry) * Max(list_length(all), 1));
	foreach (cell, all)
	{
		EsProjection *projection = lfirst(cell);

		if (projection->is_inline && projection->state == ES_PROJECTION_RUNNING)
			roster->entries[roster->count++].projection = projection;
	}
	MemoryContextSwitchTo(caller);
	MemoryContextSetParent(context, CacheMemoryContext);
	return roster;
}

/* The running inline projections; release them with es_roster_release. */
EsRoster *
es_roster_acquire(void)
{
	if (roster_current == NULL || roster_current->generation != es_catalog_generation())
	{
		EsRoster *fresh = roster_load();

		if (roster_current != NULL && roster_current->users == 0)
			MemoryContextDelete(roster_current->context);
		roster_current = fresh;
	}
	roster_current->users++;
	return roster_current;
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
