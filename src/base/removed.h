/*-------------------------------------------------------------------------
 *
 * removed.h
 *		Events that are gone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_REMOVED_H
#define ES_REMOVED_H

#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/scan.h"

/* A look for some of them. */
typedef struct EsRemovedLook
{
	Relation rel;
	bool is_any;  /* something may have been removed, ever; else not yet */
	bool is_open; /* the scan */
	EsScan scan;
	bool has_detached;     /* something is in eventstore.detached_events */
	Relation detached;     /* that; NULL: not opened yet */
	bool is_detached_open; /* its scan */
	EsScan detached_scan;
} EsRemovedLook;

/* What is known of one. */
typedef struct EsRemoved
{
	int64 position;
	text *stream;
	int64 version;
	TimestampTz recorded_at;
} EsRemoved;

extern void es_removed_open(EsRemovedLook *look);
extern bool
es_removed_find(EsRemovedLook *look, const pg_uuid_t *id, Snapshot snapshot, EsRemoved *removed);
extern bool es_removed_find_listed(EsRemovedLook *look, const pg_uuid_t *id, Snapshot snapshot,
								   EsRemoved *removed);
extern bool es_removed_find_detached(EsRemovedLook *look, const pg_uuid_t *id, Snapshot snapshot,
									 EsRemoved *removed);
extern bool es_removed_may_have(EsRemovedLook *look);
extern Relation es_removed_get_detached(EsRemovedLook *look);
extern void es_removed_close(EsRemovedLook *look);
extern int64 es_removed_last(Snapshot snapshot);
extern bool es_removed_is_at(int64 position);
extern bool es_removed_is_version(const text *stream, int64 version, Snapshot snapshot);

extern void es_removed_guard(const text *stream);
extern bool es_removed_try_guard(const text *stream);
extern bool es_removed_keep(const text *stream);

#endif /* ES_REMOVED_H */
