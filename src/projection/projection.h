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
	Oid role;    /* the owner, whom its SQL runs as; InvalidOid: it has none */
	char *query;
	bool is_inline;
	bool is_declared;
	bool skips_errors;
	EsFilter categories;
	EsFilter types;
	List *tables;   /* of char *: qualified names, quoted; of a declared
					 * table, then of the one with its state */
	List *lookups;  /* of char *: qualified names, quoted */
	List *settings; /* of char *: name=value */

	EsProjectionState state;
	EsProjectionState saved_state; /* as others know it */
	bool is_stale;                 /* it has to be rebuilt, whatever the state is */
	int64 position;                /* the checkpoint */
	int64 events_applied;          /* up to it */

	/* Of a replay only: the events that there are for it. */
	Snapshot seen_by;           /* as this sees them; NULL: as of the moment */
	TimestampTz recorded_until; /* none that was recorded later; 0: all */
} EsProjection;

/* An error that an event has caused. */
typedef struct EsProjectionError
{
	int64 position;
	int code; /* SQLSTATE */
	char *message;
} EsProjectionError;

extern EsProjection *es_projection_find(const char *name);
extern EsProjection *es_projection_get(const char *name);
extern EsProjection *es_projection_get_visible(const char *name);
extern List *es_projection_list(void);
extern void es_projection_lock(const char *name);
extern void es_projection_unlock(const char *name);
extern bool es_projection_try_lock(const char *name);
extern bool es_projection_lock_rebuild(const char *name, bool waits);
extern void es_projection_check_owner(const EsProjection *projection);
extern Oid es_projection_owner(const EsProjection *projection);
extern void es_projection_reassign(const EsProjection *projection, Oid owner);

extern void es_projection_insert(const EsProjection *projection);
extern void es_projection_save(const EsProjection *projection, const EsProjectionError *error);
extern void es_projection_raise(const EsProjection *projection, const EsProjectionError *error);
extern void es_projection_delete(const char *name);

extern bool es_projection_has_name(const EsFilter *filter, const text *name);
extern void es_projection_add_append(const char *name, int64 position);
extern List *es_projection_appends(const char *name, int64 after, int64 upto);

#endif /* ES_PROJECTION_H */
