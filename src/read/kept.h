/*-------------------------------------------------------------------------
 *
 * kept.h
 *		The snapshot that is kept of a stream, and whether it counts.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_KEPT_H
#define ES_KEPT_H

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "base/catalog.h"
#include "base/scan.h"
#include "read/beginning.h"

/* A row of eventstore.snapshots. */
typedef struct EsKept
{
	bool exists;
	EsStateEvent event; /* that it was taken at */
	Datum state;        /* jsonb */
	TimestampTz saved_at;
} EsKept;

extern int32 es_kept_get_schema_version(FunctionCallInfo fcinfo, int argument);
extern EsKept es_kept_find(const text *stream, int32 schema_version, Snapshot snapshot);
extern bool
es_kept_find_event(const text *stream, int64 version, Snapshot snapshot, EsStateEvent *event);
extern bool es_kept_counts(const EsKept *kept, const text *stream, Snapshot snapshot);
extern bool es_kept_may_see(const EsKept *kept, const text *stream, Snapshot snapshot);
extern void es_kept_begin_tail(EsScan *scan, Relation events, const text *stream, EsKept *kept,
							   Snapshot snapshot);

#endif /* ES_KEPT_H */
