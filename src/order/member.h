/*-------------------------------------------------------------------------
 *
 * member.h
 *		What this store is among several: which streams it takes, and which
 *		positions it gives out.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_MEMBER_H
#define ES_MEMBER_H

#include "utils/snapshot.h"

#include "base/event.h"
#include "base/partition.h"

typedef struct EsMember
{
	bool is_cell;   /* else it takes all streams, and gives out all positions */
	bool is_mirror; /* its events come from another store */
	int cell;
	int feed;     /* that positions are modulo ES_FEEDS; ES_NO_FEED */
	uint64 epoch; /* how many times this has changed */
	uint8 slots[es_partition_set_bytes(ES_SLOTS)];
} EsMember;

extern void es_member_read(EsMember *member, Snapshot snapshot);
extern const EsMember *es_member_if_known(void);
extern const EsMember *es_member_get(void);
extern const EsMember *es_member_get_anew(void);
extern bool es_member_takes(const EsMember *member, const text *stream);
extern void es_member_check_stream(const text *stream);
extern void es_member_check(const EsAppend *appends, int append_count);
extern void es_member_check_own(void);

#endif /* ES_MEMBER_H */
