/*-------------------------------------------------------------------------
 *
 * id_look.h
 *		A look for ids that callers give, among the events and among those that are gone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_ID_LOOK_H
#define ES_ID_LOOK_H

#include "append/id_ranges.h"
#include "append/remote_ids.h"
#include "base/removed.h"
#include "base/scan.h"

/* Where a stored id is; stream points into the scan's slot, or is a copy. */
typedef struct EsIdPlace
{
	text *stream;
	int64 version;
	int64 position;
	bool is_removed; /* where it was */
} EsIdPlace;

/* A look for ids, among the events and among those that are gone. */
typedef struct EsIdLook
{
	Relation events;
	bool has_ranges;
	EsIdRanges ranges; /* if it has */
	Relation range;    /* that scan is of; NULL: of none yet */
	EsScan scan;       /* else of events */
	EsRemovedLook removed;

	/* For ranges that are foreign tables: all that is looked for, and what was asked. */
	EsAppend *const *appends;
	int append_count;
	EsRemoteIds *remote;
} EsIdLook;

extern void es_id_look_open(EsIdLook *look, Relation events);
extern bool es_id_look_find(EsIdLook *look, const pg_uuid_t *id, EsIdPlace *place);
extern bool
es_id_look_find_in_range(EsIdLook *look, int number, const pg_uuid_t *id, EsIdPlace *place);
extern bool es_id_look_find_removed(EsRemovedLook *look, const pg_uuid_t *id, EsIdPlace *place);
extern void es_id_look_read_place(TupleTableSlot *slot, EsIdPlace *place);
extern void es_id_look_leave(EsIdLook *look);
extern void es_id_look_close(EsIdLook *look);

#endif /* ES_ID_LOOK_H */
