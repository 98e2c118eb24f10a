/*-------------------------------------------------------------------------
 *
 * take.h
 *		Taking positions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_TAKE_H
#define ES_TAKE_H

#include "base/event.h"

/* Positions that were taken: from the first on, so far apart. */
typedef struct EsTaken
{
	int64 first;
	int64 step;
} EsTaken;

extern EsTaken es_take_positions(EsAppend *const *appends, int append_count, int64 count);

#endif /* ES_TAKE_H */
