/*-------------------------------------------------------------------------
 *
 * eventstore.h
 *		The map of the source.
 *
 * Layers; calls go down only:
 *
 *	 entry		eventstore.c	_PG_init
 *	 processes	launcher.c		keeps a worker in each of eventstore.databases
 *				worker.c		announces the head
 *	 verbs		append.c		es_append, es_append_streams, es_assert_version ...
 *				read.c			es_read, es_read_all, es_head ...
 *				notify.c		es_wait, es_channel
 *				immutability.c	the triggers that refuse changes
 *				fetch.c			es_fetch
 *				ack.c			es_ack, es_nack
 *				subscribe.c		es_create_subscription ..., es_release
 *	 consumers	division.c		a new beginning for a subscription's partitions
 *				lease.c			what a delivery leaves in its consumer's shares
 *				assign.c		who works on which partitions
 *				owner.c			which share a partition belongs to
 *				deliver.c		what a fetch delivers
 *				row.c			the rows that it returns
 *				retry.c			events that go their own way
 *				share.c			partitions that stand at the same place
 *				subscription.c	the definition of a subscription
 *	 store		store.c			what every form of append comes down to
 *				transaction.c	what a transaction that appends owes to others
 *				order.c			the head
 *				inflight.c		appends in flight: publishing and finding them
 *				past.c			the head as it was when a snapshot was taken
 *				ids.c			given event ids: exact retries, duplicates
 *				stream.c		the row of a stream: find, lock, move on
 *				recorder.c		insertion into eventstore.events
 *				direct.c		insertion of rows without an executor state
 *				position.c		positions
 *				scan.c			index scans
 *				guard.c			what sessions tell each other about subscriptions
 *				wake.c			sessions that wait
 *				sql.c			statements in SQL, for what is not worth C
 *				shared.c		shared memory: which database has a worker
 *	 values		json.c			events from JSON
 *				event.c			events from arguments and arrays
 *				names.c			names of streams, types, tags; categories
 *				arguments.c		arguments that the verbs of subscriptions share
 *				partition.c		partitions of streams
 *				channel.c		names of LISTEN channels
 *				uuid.c			ids that the store makes
 *				catalog.c		the relations, by role
 *	 bottom		settings.c		the settings eventstore.*
 *				errors.h		our SQLSTATEs
 *				compat.h		differences between PostgreSQL majors
 *
 * Glossary:
 *
 *	 stream				a named sequence of events; the unit of consistency
 *	 category			what stands before the first '-' of a stream's name
 *	 version			place of an event in its stream: 1, 2, 3 ...
 *	 position			place of an event in the whole store
 *	 expected version	what the caller of an append believes the stream's
 *						version to be; the check is the optimistic lock
 *	 append				one call's events for one stream
 *	 in flight			an append whose transaction is still open
 *	 head				position up to which the store is settled
 *	 exact retry		a call whose every event is stored already
 *	 subscription		a consumer group: each event is worked on by one consumer
 *	 partition			streams that are worked on together; see es_partition
 *	 share				partitions that stand at the same place, and whose they are
 *	 checkpoint			position up to which everything is done
 *	 token				what a delivery is acknowledged by; fences who has lost it
 *	 lease				time for which a consumer that does not call is not replaced
 *	 run				the events after the checkpoint, without retries
 *	 retry				an event that is out of the run: due, parked or skipped
 *
 * Locks, in the order in which they are taken.  Unless said, they are held to
 * the end of the transaction; the deadlock detector knows them all:
 *
 *	 object						mode				taken by
 *	 eventstore.streams			RowExclusive		append, es_assert_version
 *								AccessShare			es_stream_version
 *	 eventstore.events			RowExclusive		append
 *								AccessShare			reads
 *	 their indexes				AccessShare or RowExclusive
 *	 rows of streams, in byte	FOR NO KEY UPDATE	append
 *	   order of the names		FOR SHARE			es_assert_version
 *	 speculative insertion		short				the first event of a stream
 *	 another transaction		Share, wait only	who makes the same stream, or
 *													stores the same event id
 *	 userlock "in flight"		AccessShare			append; nobody waits for it
 *	 eventstore.positions		RowExclusive		append
 *								AccessShare			es_head and what is built on it
 *	 eventstore.head			AccessShare			the head on standbys
 *								RowExclusive		the worker
 *	 userlock "waits"			AccessShare			es_wait, while it waits
 *	 userlock "use" of a			AccessShare			es_ack, es_nack, es_release,
 *	   subscription									es_replay_parked; es_fetch for
 *													moments, to the end if it parks
 *								AccessExclusive		what changes the whole of it
 *	 userlock "mutex" of it		Exclusive, moments	who reads or writes its shares
 *	 userlock "settles" of a	AccessShare			es_ack, es_nack; es_release waits
 *	   share										for it
 *	 userlocks "sleeps" of a	AccessShare			es_fetch, while it waits; nobody
 *	   share, "waits" of a							waits for them
 *	   subscription
 *	 eventstore.subscription...	AccessShare or		the verbs of subscriptions
 *								RowExclusive
 *	 partitions of the lock		moments, shared		es_head and what is built on it
 *	   table
 *	 page of the sequence,		moments				append, es_head ...; append takes the
 *	   content lock									userlock under it
 *	 LWLock "eventstore"		moments				workers, launcher, DROP DATABASE
 *
 * Memory contexts: every function works in the context of its call, which
 * PostgreSQL resets for each row.  What outlives it: static variables
 * (catalog.c: OIDs; position.c: the last position; inflight.c: what is published;
 * past.c: known heads; uuid.c: random bytes; plans of statements, where they
 * stand) and, to the end of the transaction, the categories to notify about and
 * the subscriptions whose consumers to wake (transaction.c).
 *
 * Callbacks, each registered once, by _PG_init: relation cache (catalog.c),
 * transaction and subtransaction (transaction.c); if preloaded, shared memory
 * (shared.c) and ProcessUtility (launcher.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef EVENTSTORE_H
#define EVENTSTORE_H

extern PGDLLEXPORT void _PG_init(void);

#endif /* EVENTSTORE_H */
