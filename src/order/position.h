/*-------------------------------------------------------------------------
 *
 * position.h
 *		Positions: the store-wide order.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_POSITION_H
#define ES_POSITION_H

#include "commands/sequence.h"
#include "storage/buf.h"
#include "storage/itemid.h"
#include "utils/relcache.h"

#include "base/catalog.h"

/* What feed a store has that gives out all positions, one after the other. */
#define ES_NO_FEED (-1)

/* With a feed, the distance between positions: one has as many values. */
#define ES_FEEDS 1024

/* The sequence's page, locked against whoever wants a position. */
typedef struct EsPositionHold
{
	Relation sequence;
	Buffer buffer;

	/* The only row, and what is in it. */
	ItemId item;
	Form_pg_sequence_data data;

	/*
	 * Whether we were the last to write it: it is at or above all events; and what
	 * the store was among others then: es_member_epoch.
	 */
	bool is_ours;
	uint64 epoch;

	/* Of its last WAL record: another one where somebody has disowned it since. */
	XLogRecPtr logged;

	/* Set by who takes positions: whether the next one has to look, as it had. */
	bool stays_foreign;
} EsPositionHold;

extern int64 es_position_given_out(bool is_lasting, bool *is_ours);
extern int64 es_position_given_out_yet(bool *is_ours);
extern int64 es_position_given_out_since(bool *is_ours);
extern int64 es_position_last_number(EsRelation sequence);
extern int64 es_position_hold(EsPositionHold *hold);
extern int64 es_position_take(EsPositionHold *hold, int64 last, int64 count, int feed);

extern void es_position_release(EsPositionHold *hold);
extern void es_position_disown(bool always);
extern int64 es_position_raise(EsRelation sequence, int64 value, uint64 epoch);

#endif /* ES_POSITION_H */
