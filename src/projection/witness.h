/*-------------------------------------------------------------------------
 *
 * witness.h
 *		What a process is doing with a projection, for when it dies of that.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_WITNESS_H
#define ES_WITNESS_H

#include "datatype/timestamp.h"

#include "projection/projection.h"

/* What a process has left, as who has the projection's lock after it finds it. */
typedef enum EsWitnessState
{
	ES_WITNESS_IDLE,    /* it was through with its batch */
	ES_WITNESS_AT_WORK, /* it died of it */
	ES_WITNESS_BROKEN,  /* it ended by an error that ends processes */
	ES_WITNESS_ENDED    /* it was told to end, by somebody else */
} EsWitnessState;

#define ES_WITNESS_MESSAGE_BYTES 256

typedef struct EsWitness
{
	uint32 magic;
	int32 state;
	Oid store;  /* of the sequence of positions: an extension made anew is another one */
	int32 code; /* SQLSTATE of the error; 0: not known */
	char projection[ES_MAX_PROJECTION_BYTES + 1];
	char message[ES_WITNESS_MESSAGE_BYTES];

	/* The batch that it is at work on. */
	int64 after; /* a position */
	int64 upto;  /* another one */
	int64 count; /* events, at most */

	/* Of which events somebody died. */
	int64 suspects_after; /* a position */
	int64 suspects_upto;  /* another one */
	int64 suspects;       /* how many of those between are to be applied alone; 0: none */
	int32 is_deadly;      /* the next of them is not to be applied */

	/* How long the projection is left alone, in milliseconds, and until when. */
	int32 pause_ms;
	TimestampTz due;
} EsWitness;

extern void es_witness_read(const char *projection, EsWitness *witness);
extern void es_witness_begin(EsWitness *witness);
extern void es_witness_end(EsWitness *witness);
extern void es_witness_save(EsWitness *witness);
extern void es_witness_forget(const char *projection);
extern void es_witness_rename(const char *projection, const char *new_name);
extern void es_witness_watch(void);

#endif /* ES_WITNESS_H */
