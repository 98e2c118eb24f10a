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
 *				wake.c			sessions that wait
 *				shared.c		shared memory: which database has a worker
 *	 values		json.c			events from JSON
 *				event.c			events from arguments and arrays
 *				names.c			names of streams, types, tags; categories
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
 *	 partitions of the lock		moments, shared		es_head and what is built on it
 *	   table
 *	 page of the sequence,		moments				append, es_head ...; append takes the
 *	   content lock									userlock under it
 *	 LWLock "eventstore"		moments				workers, launcher, DROP DATABASE
 *
 * Memory contexts: every function works in the context of its call, which
 * PostgreSQL resets for each row.  What outlives it: static variables
 * (catalog.c: OIDs; position.c: the last position; inflight.c: what is published;
 * past.c: known heads; uuid.c: random bytes) and, to the end of the transaction, the
 * categories to notify about (transaction.c).
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
