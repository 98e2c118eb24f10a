/*-------------------------------------------------------------------------
 *
 * eventstore.h
 *		The map of the source.
 *
 * Layers; calls go down only:
 *
 *	 entry		eventstore.c	_PG_init
 *	 verbs		append.c		es_append, es_append_streams, es_assert_version ...
 *				read.c			es_read, es_read_all, es_stream_version ...
 *				immutability.c	the trigger that refuses changes
 *	 store		ids.c			given event ids: exact retries, duplicates
 *				stream.c		the row of a stream: find, lock, move on
 *				recorder.c		insertion into eventstore.events
 *				position.c		positions
 *				scan.c			index scans
 *	 values		event.c			events from SQL arguments
 *				names.c			names of streams, types, tags; categories
 *				uuid.c			ids that the store makes
 *				catalog.c		the relations, by role
 *	 bottom		errors.h		our SQLSTATEs
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
 *	 eventstore.positions		RowExclusive		append
 *
 * Memory contexts: every function works in the context of its call, which
 * PostgreSQL resets for each row; nothing outlives it but static variables
 * (catalog.c: OIDs; position.c: the last position; uuid.c: random bytes).
 *
 * Callbacks: one relcache callback, registered by _PG_init (catalog.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef EVENTSTORE_H
#define EVENTSTORE_H

extern PGDLLEXPORT void _PG_init(void);

#endif /* EVENTSTORE_H */
