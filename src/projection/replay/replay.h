/*-------------------------------------------------------------------------
 *
 * replay.h
 *		Applying a projection to the history, beside its tables.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_REPLAY_H
#define ES_REPLAY_H

#include "fmgr.h"

#include "projection/apply.h"
#include "projection/projection.h"
#include "projection/replay/shadow.h"

typedef struct EsReplay
{
	EsProjection projection; /* with the replay's own checkpoint and count */
	EsApplier *applier;
	List *shadows; /* of EsShadow, in the order of the projection's tables */

	bool is_shown; /* to others, and by NOTICE */
	int64 total;   /* events, as far as is known */
	TimestampTz noticed_at;
} EsReplay;

extern Datum es_replay_call(PGFunction body, FunctionCallInfo fcinfo);
extern EsProjection *es_replay_get_any(FunctionCallInfo fcinfo, const char *verb);
extern EsProjection *es_replay_get(FunctionCallInfo fcinfo, const char *verb);
extern EsReplay *es_replay_begin(const EsProjection *projection);
extern EsReplay *es_replay_begin_in_place(const EsProjection *projection);
extern void es_replay_check_table(const EsReplay *replay);
extern void es_replay_advance(EsReplay *replay, int64 upto);
extern void es_replay_select(EsReplay *replay, Snapshot snapshot, int64 upto);
extern void es_replay_end(EsReplay *replay);

#endif /* ES_REPLAY_H */
