/*-------------------------------------------------------------------------
 *
 * assign.c
 *		Assigning partitions to consumers: what each takes and gives when it
 *		fetches.
 *
 * Each consumer sees to its own share when it fetches: it gives away what it
 * has too much of, takes what is free, then what others have too much of and
 * are not working on.  So the counts of live consumers come to differ by at
 * most one, and nobody hands anything to anybody.
 *
 * A consumer lives while its lease lasts, or while it waits in es_fetch.
 *
 * Memory: the current context.  Locks: the caller holds the subscription's
 * mutex.  Calls: guard, names, owner,
 * partition, share.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "base/names.h"
#include "base/partition.h"
#include "signal/guard.h"
#include "subscription/assign.h"
#include "subscription/owner.h"

typedef struct AssignMember
{
	const text *consumer;
	bool is_live;
	bool is_idle; /* works on nothing at the moment */
	int count;    /* of partitions */
} AssignMember;

/* Partitions of the consumer's that stand at the same place. */
typedef struct AssignGroup
{
	EsShare share;        /* as it is to be */
	const EsShare *taken; /* from which share; NULL: from none */
	bool is_stored;       /* a row says just so */
	bool is_settled;      /* this transaction has acknowledged something in it */
} AssignGroup;

typedef struct AssignState
{
	const EsSubscription *subscription;
	text *consumer;
	TimestampTz now;
	EsShares shares;
	const EsShare **owners; /* by partition; NULL: none */
	AssignMember *members;  /* the first one is the consumer itself */
	int member_count;
	AssignGroup *groups;
	int group_count;
	AssignGroup *given; /* groups to give away */
	int given_count;
	bool is_stale; /* a transaction has ended meanwhile: decide anew */
} AssignState;

static AssignMember *
assign_member(AssignState *state, const text *consumer)
{
	int i;

	for (i = 0; i < state->member_count; i++)
		if (es_names_equal(state->members[i].consumer, consumer))
			return &state->members[i];
	state->members[i] = (AssignMember){consumer, false, true, 0};
	state->member_count++;
	return &state->members[i];
}

static bool
assign_is_mine(const AssignState *state, const EsShare *share)
{
	return share != NULL && share->consumer != NULL &&
		es_names_equal(share->consumer, state->consumer);
}

/* Open, but not worked on: a consumer that has just come, and waits. */
static bool
assign_is_sleeping(const EsShare *share)
{
	return es_guard_is_held(ES_GUARD_SLEEPS, share->number);
}

static bool
assign_is_alive(const AssignState *state, const EsShare *share)
{
	return share->lease_end > state->now || assign_is_sleeping(share);
}

/* How many partitions belong to a share. */
static int
assign_count(const AssignState *state, const EsShare *share)
{
	int count = 0;
	int p;

	for (p = 0; p < state->subscription->partitions; p++)
		count += state->owners[p] == share;
	return count;
}

/* ----------------------------------------------------------------------
 * What there is
 * ----------------------------------------------------------------------
 */

/* Returns false if another session works for this consumer at the moment. */
static bool
assign_find_members(AssignState *state, EsAssignment *assignment)
{
	int i;

	state->members = palloc(sizeof(AssignMember) * (state->shares.count + 1));
	state->member_count = 0;
	assign_member(state, state->consumer)->is_live = true;
	for (i = 0; i < state->shares.count; i++)
	{
		const EsShare *share = &state->shares.items[i];
		int count = assign_count(state, share);
		AssignMember *member;
		bool is_busy;

		assignment->has_others_open |= es_share_is_open(share);
		if (share->consumer == NULL)
			continue;
		is_busy = es_share_is_open(share)
			? (!assign_is_sleeping(share) || es_guard_is_held(ES_GUARD_SETTLES, share->number))
			: es_share_is_outstanding(share);
		member = assign_member(state, share->consumer);
		if (member == state->members)
		{
			if (es_share_is_open(share) && count > 0 && is_busy &&
				(share->lease_end > state->now || es_guard_is_held(ES_GUARD_SETTLES, share->number)))
				return false;
			if (!es_share_is_open(share))
				member->count += count;
			continue;
		}
		/* Who has lost all is not there any more. */
		if ((count == 0 && !es_owner_is_registration(state->subscription, share)) ||
			!assign_is_alive(state, share))
			continue;
		member->is_live = true;
		member->count += count;
		if (count > 0)
			member->is_idle &= !is_busy;
		if (share->lease_end > state->now)
			assignment->next_end = Min(assignment->next_end, share->lease_end);
	}
	return true;
}

/* The consumer's own: what is still its own of each of its shares. */
static void
assign_find_groups(AssignState *state)
{
	int partitions = state->subscription->partitions;
	int i;
	int p;

	state->group_count = state->given_count = 0;
	state->groups = palloc0(sizeof(AssignGroup) * (state->shares.count + partitions + 1));
	state->given = palloc0(sizeof(AssignGroup) * (state->shares.count + partitions + 1));
	for (i = 0; i < state->shares.count; i++)
	{
		const EsShare *share = &state->shares.items[i];
		AssignGroup *group = &state->groups[state->group_count];

		if (!assign_is_mine(state, share) || es_share_is_open(share) ||
			assign_count(state, share) == 0)
			continue;
		group->share = *share;
		group->share.partitions = palloc0(es_partition_set_bytes(partitions));
		for (p = 0; p < partitions; p++)
			if (state->owners[p] == share)
				es_partition_set_add(group->share.partitions, p);
		group->is_stored = es_owner_has_all(state->subscription, state->owners, share);
		group->is_settled = es_guard_is_mine(ES_GUARD_SETTLES, share->number);
		state->group_count++;
	}
}

/* The newest committed state of a partition, below and including a share. */
static const EsShare *
assign_find_committed(const AssignState *state, const EsShare *from, int partition)
{
	Size i;

	for (i = from - state->shares.items + 1; i-- > 0;)
	{
		const EsShare *share = &state->shares.items[i];
		const EsShare *version = TransactionIdIsValid(share->row.writer) ? share->before : share;

		if (version != NULL && es_partition_set_has(version->partitions, partition))
			return version;
	}
	return NULL;
}

/*
 * From where to take a partition that is somebody else's; NULL if it cannot be
 * taken now.  That its consumer is dead or idle is known.
 */
static const EsShare *
assign_find_source(AssignState *state, int partition)
{
	const EsShare *owner = state->owners[partition];

	if (owner == NULL || !es_share_is_open(owner))
		return owner;
	if (es_guard_is_held(ES_GUARD_SETTLES, owner->number))
		return NULL;
	/* In this order: a transaction lets go of its locks after its end. */
	if (es_share_is_stale(owner))
	{
		state->is_stale = true;
		return NULL;
	}
	return assign_find_committed(state, owner, partition);
}

/* ----------------------------------------------------------------------
 * What it is to be
 * ----------------------------------------------------------------------
 */

/* How many partitions the consumer may have. */
static int
assign_quota(const AssignState *state, int *least)
{
	int partitions = state->subscription->partitions;
	int live = 1;
	int full = 0;
	int i;

	for (i = 1; i < state->member_count; i++)
		live += state->members[i].is_live;
	*least = partitions / live;
	for (i = 1; i < state->member_count; i++)
		full += state->members[i].is_live && state->members[i].count > *least;
	return full < partitions % live ? *least + 1 : *least;
}

/* A group to add a partition to that comes out of a share. */
static AssignGroup *
assign_group_of(AssignGroup *groups, int *count, const EsShare *taken, const EsShare *state_of,
				int set_bytes)
{
	AssignGroup *group;
	int i;

	for (i = 0; i < *count; i++)
		if (groups[i].taken == taken && groups[i].share.number == state_of->number)
			return &groups[i];
	group = &groups[(*count)++];
	group->share = *state_of;
	group->share.partitions = palloc0(set_bytes);
	group->taken = taken;
	group->is_stored = false;
	group->is_settled = es_guard_is_mine(ES_GUARD_SETTLES, state_of->number);
	return group;
}

static void
assign_take(AssignState *state, int partition, const EsShare *source)
{
	const EsShare *owner = state->owners[partition];
	AssignGroup *group = assign_group_of(state->groups, &state->group_count, owner, source,
										 es_partition_set_bytes(state->subscription->partitions));

	/* What an open fetch has delivered counts as an attempt. */
	group->share.attempts = owner->attempts;
	group->share.retried = owner->retried;
	group->share.consumer = state->consumer;
	group->share.row.writer = group->share.row.remover = InvalidTransactionId;
	es_partition_set_add(group->share.partitions, partition);
	state->owners[partition] = &group->share;
}

static bool
assign_is_free(const AssignState *state, const EsShare *owner)
{
	if (owner == NULL)
		return false;
	if (owner->consumer == NULL)
		return true;
	if (assign_is_mine(state, owner))
		return es_share_is_open(owner);
	return !assign_member((AssignState *) state, owner->consumer)->is_live;
}

/* Take one partition that is free.  Returns false if there is none. */
static bool
assign_take_free(AssignState *state)
{
	int p;

	for (p = 0; p < state->subscription->partitions; p++)
	{
		const EsShare *source;

		if (!assign_is_free(state, state->owners[p]))
			continue;
		source = assign_find_source(state, p);
		if (source == NULL)
			continue;
		assign_take(state, p, source);
		return true;
	}
	return false;
}

/* Take one from who has most, and more than least, and is idle. */
static bool
assign_take_from_others(AssignState *state, int least)
{
	AssignMember *richest = NULL;
	int i;
	int p;

	for (i = 1; i < state->member_count; i++)
	{
		AssignMember *member = &state->members[i];

		if (member->is_live && member->is_idle && member->count > least &&
			(richest == NULL || member->count > richest->count))
			richest = member;
	}
	if (richest == NULL)
		return false;
	for (p = 0; p < state->subscription->partitions; p++)
	{
		const EsShare *owner = state->owners[p];
		const EsShare *source;

		if (owner == NULL || owner->consumer == NULL ||
			!es_names_equal(owner->consumer, richest->consumer))
			continue;
		source = assign_find_source(state, p);
		if (source == NULL)
			continue;
		assign_take(state, p, source);
		richest->count--;
		return true;
	}
	/* It has some that cannot be taken now: leave it alone. */
	richest->is_idle = false;
	return true;
}

/* Give away the last partition of the last group. */
static void
assign_give(AssignState *state)
{
	AssignGroup *from = &state->groups[state->group_count - 1];
	AssignGroup *to = assign_group_of(state->given, &state->given_count, from->taken, &from->share,
									  es_partition_set_bytes(state->subscription->partitions));
	int p = state->subscription->partitions - 1;
	int left = 0;

	while (!es_partition_set_has(from->share.partitions, p))
		p--;
	from->share.partitions[p / 8] &= (uint8) ~(1 << (p % 8));
	from->is_stored = false;
	es_partition_set_add(to->share.partitions, p);
	while (--p >= 0)
		left += es_partition_set_has(from->share.partitions, p);
	if (left == 0)
		state->group_count--;
}

static bool
assign_can_merge(const EsShare *a, const EsShare *b)
{
	return a->checkpoint == b->checkpoint && a->attempts.count == 0 && b->attempts.count == 0 &&
		a->retried.count == 0 && b->retried.count == 0;
}

/* Groups that stand at the same place become one. */
static void
assign_merge(AssignState *state)
{
	int set_bytes = es_partition_set_bytes(state->subscription->partitions);
	int i;
	int j;
	int byte;

	for (i = 0; i < state->group_count; i++)
	{
		for (j = state->group_count - 1; j > i; j--)
		{
			AssignGroup *group = &state->groups[i];

			if (!assign_can_merge(&group->share, &state->groups[j].share))
				continue;
			for (byte = 0; byte < set_bytes; byte++)
				group->share.partitions[byte] |= state->groups[j].share.partitions[byte];
			group->is_stored = false;
			group->is_settled |= state->groups[j].is_settled;
			state->groups[j] = state->groups[--state->group_count];
		}
	}
}

static void
assign_decide(AssignState *state)
{
	int least;
	int quota = assign_quota(state, &least);
	AssignMember *self = &state->members[0];

	for (; self->count > quota; self->count--)
		assign_give(state);
	while (self->count < quota)
	{
		if (assign_take_free(state))
			self->count++;
		else
		{
			AssignMember before = *self;
			int others = 0;
			int i;

			for (i = 1; i < state->member_count; i++)
				others += state->members[i].count;
			if (!assign_take_from_others(state, before.count < least ? least : least + 1))
				break;
			for (i = 1; i < state->member_count; i++)
				others -= state->members[i].count;
			self->count += others;
		}
	}
	assign_merge(state);
}

/* ----------------------------------------------------------------------
 * Making it so
 * ----------------------------------------------------------------------
 */

static void
assign_insert(AssignState *state, EsShare *share, text *consumer)
{
	share->consumer = consumer;
	share->token = share->delivered = share->acked = share->scanned = 0;
	share->lease_end = consumer == NULL
		? DT_NOBEGIN
		: es_subscription_lease_end(state->subscription, state->now);
	es_share_insert(state->subscription, share);
}

/* What is open in the share that it comes from is so in this one, too. */
static void
assign_insert_group(AssignState *state, AssignGroup *group, text *consumer)
{
	assign_insert(state, &group->share, consumer);
	if (group->is_settled)
		es_guard_take(ES_GUARD_SETTLES, group->share.number);
}

/* Returns whether anything was written. */
static bool
assign_store(AssignState *state, const EsShare *member)
{
	bool is_changed = state->given_count > 0;
	int i;

	for (i = 0; i < state->given_count; i++)
		assign_insert_group(state, &state->given[i], NULL);
	for (i = 0; i < state->group_count; i++)
	{
		if (state->groups[i].is_stored)
			continue;
		assign_insert_group(state, &state->groups[i], state->consumer);
		is_changed = true;
	}
	if (state->group_count == 0 && member == NULL)
	{
		EsShare registration = {0};

		registration.partitions = palloc0(es_partition_set_bytes(state->subscription->partitions));
		assign_insert(state, &registration, state->consumer);
		is_changed = true;
	}
	return is_changed;
}

/* What the consumer has, as it is stored. */
static void
assign_collect(AssignState *state, EsAssignment *assignment)
{
	int i;

	assignment->mine = (EsShares){.items = palloc(sizeof(EsShare) * (state->shares.count + 1))};
	assignment->member = NULL;
	for (i = 0; i < state->shares.count; i++)
	{
		EsShare *share = &state->shares.items[i];

		if (!assign_is_mine(state, share) || es_share_is_open(share))
			continue;
		if (es_owner_is_registration(state->subscription, share))
			assignment->member = share;
		else if (es_owner_has_all(state->subscription, state->owners, share))
			assignment->mine.items[assignment->mine.count++] = *share;
	}
	if (assignment->member == NULL && assignment->mine.count > 0)
		assignment->member = &assignment->mine.items[0];
}

/* Whether the consumer works on something. */
static bool
assign_is_outstanding(const EsAssignment *assignment)
{
	int i;

	for (i = 0; i < assignment->mine.count; i++)
		if (es_share_is_outstanding(&assignment->mine.items[i]))
			return true;
	return false;
}

/*
 * Give a consumer its share of the partitions, as far as it can have it now.
 * Call it with the mutex.
 *
 * is_renewal: leave it what it works on.
 * assignment: receives what the consumer has then.
 */
void
es_assign_work(const EsSubscription *subscription, text *consumer, bool is_renewal,
			   EsAssignment *assignment)
{
	AssignState state = {.subscription = subscription,
						 .consumer = consumer,
						 .now = GetCurrentTimestamp()};

	do
	{
		CHECK_FOR_INTERRUPTS();
		memset(assignment, 0, sizeof(EsAssignment));
		assignment->next_end = DT_NOEND;
		state.is_stale = false;
		state.shares = es_share_load(subscription);
		state.owners = es_owner_find(subscription, &state.shares);
		assignment->is_held = !assign_find_members(&state, assignment);
		if (assignment->is_held)
			return;

		assign_collect(&state, assignment);
		if (is_renewal && assign_is_outstanding(assignment))
			return;
		assign_find_groups(&state);
		assign_decide(&state);
	} while (state.is_stale);
	assignment->is_changed = assign_store(&state, assignment->member);
	if (!assignment->is_changed)
		return;

	state.shares = es_share_load(subscription);
	state.owners = es_owner_find(subscription, &state.shares);
	es_owner_clean(subscription, &state.shares, consumer);
	assign_collect(&state, assignment);
}
