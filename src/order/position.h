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

/* The sequence's page, locked against whoever wants a position. */
typedef struct EsPositionHold
{
	Relation sequence;
	Buffer buffer;

	/* The only row, and what is in it. */
	ItemId item;
	Form_pg_sequence_data data;

	/* Whether we were the last to write it: it is at or above all events. */
	bool is_ours;
} EsPositionHold;

extern int64 es_position_given_out(bool is_lasting, bool *is_ours);
extern int64 es_position_last_number(EsRelation sequence);
extern int64 es_position_hold(EsPositionHold *hold);
extern void es_position_take(EsPositionHold *hold, int64 last, int64 count);
extern void es_position_release(EsPositionHold *hold);
extern void es_position_disown(void);
extern int64 es_position_raise(EsRelation sequence, int64 value);

#endif /* ES_POSITION_H */
