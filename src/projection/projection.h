/*-------------------------------------------------------------------------
 *
 * projection.h
 *		Definitions of projections, and how far they are.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_PROJECTION_H
#define ES_PROJECTION_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "utils/snapshot.h"

#define ES_MAX_PROJECTION_BYTES 63

typedef enum EsProjectionState
{
	ES_PROJECTION_RUNNING,
	ES_PROJECTION_PAUSED,
	ES_PROJECTION_FAILED
} EsProjectionState;

/* What to do about an event that the SQL fails at. */
typedef enum EsOnError
{
	ES_ON_ERROR_FAIL, /* of inline ones: the append fails */
	ES_ON_ERROR_STOP,
	ES_ON_ERROR_SKIP /* of async ones */
} EsOnError;

/* Names that an event's must be among. */
typedef struct EsFilter
{
	bool is_on; /* else every name will do */
	int count;
	text **names;
} EsFilter;

typedef struct EsProjection
{
	char *name;
	char *owner; /* the owner's name as it was noted */
	char *query;
	char *reducer; /* of a state projection: qualified name, quoted; else NULL */
	char *initial; /* the state that it begins with; NULL: null */
	Oid role;      /* the owner, whom its SQL runs as; InvalidOid: it has none */
	bool is_inline;
	bool is_declared;
	bool is_by_event; /* a handler that runs for one event after the other */
	EsFilter categories;
	EsFilter types;
	List *tables;   /* of char *: qualified names, quoted; of a declared
					 * table, then of the one with its state; of the table with states */
	List *lookups;  /* of char *: qualified names, quoted */
	List *settings; /* of char *: name=value */

	EsOnError on_error;
	EsProjectionState state;
	EsProjectionState saved_state; /* as others know it */
	bool is_stale;                 /* it has to be rebuilt, whatever the state is */
	int64 position;                /* the checkpoint */
	int64 events_applied;          /* up to it */
	List *skipped;                 /* of EsProjectionError *: skipped since it was read */

	/* Of an inline one that stops at errors; see omission.c. */
	int64 first_missed; /* the first position that it has missed; 0: none */
	bool notes_missed;  /* appends note what it misses: it has stopped as they applied it */
	int64 missed_upto;  /* events up to here are applied only if they were missed: takeover.c */

	/* Of a replay only: the events that there are for it. */
	Snapshot seen_by;           /* as this sees them; NULL: as of the moment */
	bool leaves_missed;         /* none that it has missed */
	TimestampTz recorded_until; /* none that was recorded later; 0: all */
} EsProjection;

/* An error that an event has caused. */
typedef struct EsProjectionError
{
	int64 position;
	int code; /* SQLSTATE */
	char *message;
} EsProjectionError;

/* Whether the read table is made and dropped with it, and is nobody else's. */
static inline bool
es_projection_owns_table(const EsProjection *projection)
{
	return projection->is_declared || projection->reducer != NULL;
}

/* Words of the columns state and on_error, in the order of the enums. */
extern const char *const es_projection_states[];
extern const char *const es_projection_on_error[];

extern EsProjection *es_projection_find(const char *name);
extern EsProjection *es_projection_get(const char *name);
extern EsProjection *es_projection_get_visible(const char *name);
extern List *es_projection_list(void);
extern void es_projection_lock(const char *name);
extern void es_projection_unlock(const char *name);
extern bool es_projection_try_lock(const char *name);
extern bool es_projection_lock_rebuild(const char *name, bool waits);
extern bool es_projection_is_own(const EsProjection *projection);
extern void es_projection_check_owner(const EsProjection *projection);
extern Oid es_projection_owner(const EsProjection *projection);

extern void es_projection_raise(const EsProjection *projection, const EsProjectionError *error);
extern void es_projection_warn(const EsProjection *projection, const EsProjectionError *error);

extern bool es_projection_has_name(const EsFilter *filter, const text *name);

#endif /* ES_PROJECTION_H */
