/*-------------------------------------------------------------------------
 *
 * rival.c
 *		Two sessions under one consumer's name: each fetch takes away what the
 *		other one works on, and each acknowledgement comes too late.
 *
 * That none of the deliveries has failed is known to the session whose
 * acknowledgement is refused: what it was delivered last was delivered again,
 * not by itself, before it came that far.  So it remembers, for some consumers
 * that it works for, its last token and whether that was refused.  Its next
 * fetch then takes away, from the other session, what has not failed either;
 * it is no attempt (takeback.c), and the client is warned.
 *
 * A consumer that dies, or fetches again without acknowledging, is refused
 * nothing: its attempts count.  Through a pooler, where the sessions are not
 * the clients, not all of this is noticed.
 *
 * Memory: static variables of the backend; what they remember is about what
 * clients do, so a rollback does not undo it.  Locks: none.  Calls: partition.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/partition.h"
#include "subscription/rival.h"

/* Of so many consumers, in the order in which they came. */
#define RIVAL_COUNT 16

/* How often to warn, in milliseconds. */
#define RIVAL_WARN_MS 60000

typedef struct Rival
{
	uint64 subscription; /* hash of the name, as that of the consumer's */
	uint64 consumer;
	int64 token; /* what was delivered last; 0: the place is free */
	bool is_refused;
	TimestampTz warned_at;
} Rival;

static Rival rivals[RIVAL_COUNT];
static int rival_next = 0; /* the place that is used again next */

static Rival *
rival_find(const text *subscription, const text *consumer)
{
	uint64 subscription_hash = es_partition_hash(subscription);
	uint64 consumer_hash = es_partition_hash(consumer);
	int i;

	for (i = 0; i < RIVAL_COUNT; i++)
		if (rivals[i].token != 0 && rivals[i].subscription == subscription_hash &&
			rivals[i].consumer == consumer_hash)
			return &rivals[i];
	return NULL;
}

/* This session was delivered something for a consumer. */
void
es_rival_delivered(const text *subscription, const text *consumer, int64 token)
{
	Rival *rival = rival_find(subscription, consumer);

	if (rival == NULL)
	{
		rival = &rivals[rival_next];
		rival_next = (rival_next + 1) % RIVAL_COUNT;
		*rival = (Rival){.subscription = es_partition_hash(subscription),
						 .consumer = es_partition_hash(consumer)};
	}
	rival->token = token;
	rival->is_refused = false;
}

/* A token was refused. */
void
es_rival_refused(const text *subscription, int64 token)
{
	uint64 hash = es_partition_hash(subscription);
	int i;

	for (i = 0; i < RIVAL_COUNT; i++)
		if (rivals[i].token == token && rivals[i].subscription == hash)
			rivals[i].is_refused = true;
}

/*
 * The last token of this session for a consumer, if that was refused;
 * PG_INT64_MAX otherwise.  What is outstanding under a higher one, another
 * session was delivered.
 */
int64
es_rival_token(const text *subscription, const text *consumer)
{
	const Rival *rival = rival_find(subscription, consumer);

	return rival != NULL && rival->is_refused ? rival->token : PG_INT64_MAX;
}

/* Tell the client, unless it was told a moment ago. */
void
es_rival_warn(const text *subscription, const text *consumer)
{
	Rival *rival = rival_find(subscription, consumer);
	TimestampTz now = GetCurrentTimestamp();

	if (rival == NULL ||
		(rival->warned_at != 0 && !TimestampDifferenceExceeds(rival->warned_at, now, RIVAL_WARN_MS)))
		return;
	rival->warned_at = now;
	ereport(WARNING,
			(errmsg("consumer \"%s\" of subscription \"%s\" works in two sessions at once",
					text_to_cstring(consumer), text_to_cstring(subscription)),
			 errdetail("What one of them works on is delivered to the other, and its acknowledgements "
					   "are refused."),
			 errhint("Give each process a consumer's name of its own.")));
}
