/*-------------------------------------------------------------------------
 *
 * assign.h
 *		Assigning partitions to consumers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_ASSIGN_H
#define ES_ASSIGN_H

#include "subscription/share.h"

/* The shares of one consumer, and what the others' mean for it. */
typedef struct EsAssignment
{
	EsShares mine;        /* without registrations that have no partition */
	EsShare *member;      /* a share of mine, even if it has none; NULL: none */
	bool is_changed;      /* was written */
	bool is_held;         /* another session of this consumer has it open */
	bool has_others_open; /* others' open transactions may change it */
	TimestampTz next_end; /* of others' leases; DT_NOEND: none */
} EsAssignment;

extern void es_assign_work(const EsSubscription *subscription, text *consumer, bool is_renewal,
						   EsAssignment *assignment);

#endif /* ES_ASSIGN_H */
