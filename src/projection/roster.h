/*-------------------------------------------------------------------------
 *
 * roster.h
 *		The running inline projections, as a backend knows them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_ROSTER_H
#define ES_ROSTER_H

#include "projection/apply.h"

/* A running inline projection. */
typedef struct EsRosterEntry
{
	EsProjection *projection;
	EsApplier *applier; /* NULL until it is first applied */
	bool is_stopped;    /* what it misses is noted instead */
} EsRosterEntry;

/* All of them, as of a generation of the catalogue. */
typedef struct EsRoster
{
	MemoryContext context;
	uint64 generation;
	uint64 marks; /* how many changes of marks it knows of */
	int users;    /* calls that work with it */
	int count;
	bool has_stopping;      /* one that may stop, or has */
	EsRosterEntry *entries; /* in the order of their names */
	int mark_count;
	uint32 *mark_hashes; /* of running inline projections, whether or not they are entries */
} EsRoster;

extern void es_roster_init(void);
extern EsRoster *es_roster_acquire(void);
extern void es_roster_release(EsRoster *roster);
extern void es_roster_tell(void);
extern EsApplier *es_roster_get_applier(EsRoster *roster, EsRosterEntry *entry);

#endif /* ES_ROSTER_H */
