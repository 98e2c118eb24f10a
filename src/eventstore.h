/*-------------------------------------------------------------------------
 *
 * eventstore.h
 *		The map of the source.
 *
 * A folder is a part of the house and stands on a floor.  Calls and includes go
 * down only, between folders as between files; `make lint` checks both.  Each
 * folder's README.md says what it is for and who may call it.  From the top:
 *
 *	 eventstore.c		_PG_init
 *	 typed_text.c		the verbs, for arguments that drivers send as text
 *
 *	 server/			processes of our own
 *		launcher.c		keeps a worker in each of eventstore.databases
 *		worker.c		announces the head, applies retention
 *		runner.c		applies async projections
 *		sealer.c		seals history at intervals
 *		turn.c			its turn at one of them, and what its end means
 *
 *	 move/				events as JSON, out of one store and into another
 *		export.c		es_export
 *		import.c		es_import
 *		line.c			an event as a JSON object by itself
 *	 health/			whether all is well, and how much there is
 *		stats.c			eventstore.stats: counters, the head, processes
 *		tally.c			eventstore.categories, eventstore.types
 *		unread.c		how far behind who follows the events is
 *		seek.c			single events that counting and health ask for
 *
 *	 keeping/			what becomes of history
 *		verify.c		es_verify
 *		seal.c			es_seal
 *		verify_seals.c	es_verify_seals
 *		judge.c			whether a block of a seal is what history says
 *		leaves.c		the digests of history, as it was before it was changed
 *		block.c			blocks of a seal
 *		lineage.c		whether each stream is what its events make of it
 *		succession.c	whether positions are each event's own
 *		identity.c		whether each id is of one event
 *		entries.c		whether the indexes are made of the events
 *		findings.c		what was found
 *		removals.c		the list of removed events, from end to end
 *		as_owner.c		reading the store's tables as their owner
 *		custody.c		who takes events from history, and who seals it
 *		digest.c		what an event comes down to
 *		truncate.c		es_truncate_stream, es_delete_stream
 *		retention.c		es_set_retention, es_apply_retention
 *		redact.c		es_redact
 *		detach.c		es_detach_events
 *		attach.c		es_attach_events
 *		depart.c		a table that was detached goes
 *		retain.c		applying retention to streams, one after the other
 *		forget.c		taking events from a stream
 *		drop.c			the store is not dropped by mistake
 *		repair.c		es_repair_streams
 *
 *	 router/			what extension eventstore_router cannot do in SQL
 *		block.c			whether a statement could still be rolled back
 *		merge.c			readers across streams, over cells
 *		vector.c		a position of each feed
 *
 *	 read/				what is asked of the store
 *		read.c			es_read, es_read_all, es_head ...
 *		read_query.c	es_read_query
 *		state.c			es_load, es_snapshot
 *		save.c			es_save_snapshot
 *		kept.c			the snapshot of a stream, and whether it counts
 *		fold.c			es_fold
 *		whereabouts.c	which partitions of events a stream is in
 *		beginning.c		where a stream begins
 *		position_at.c	es_position_at
 *		own_head.c		the head, as a bound role is told it
 *		notify.c		es_wait, es_channel, eventstore.notify_status
 *
 *	 append/			how events come in
 *		append_if.c		es_append_if
 *		append.c		es_append, es_append_streams, es_assert_version ...
 *		immutability.c	the triggers that refuse changes
 *		foreign.c		events that were not appended, es_repair_positions
 *		restore.c		INSERT that is no append, and which one may be
 *		store.c			what every form of append comes down to
 *		imported.c		events from another store: where they go
 *		json.c			events from JSON
 *		expected.c		the expected version
 *		ids.c			given event ids: exact retries, duplicates
 *		recorder.c		insertion into eventstore.events
 *		statement.c		the same as one INSERT does it
 *		before.c		BEFORE ROW triggers on it
 *		direct.c		insertion of rows without an executor state
 *		id_look.c		a look for given ids
 *		plain.c			which tables that will do for
 *		rows.c			the events of a call as rows
 *		id_ranges.c		which partitions of events may have an id
 *		id_bounds.c		between which ids those of a partition are
 *		remote_ids.c	ids in those that are foreign tables
 *
 *	 condition/			which events a decision depends on; above order/
 *		condition.c		the condition of an append, and how it is kept
 *		match.c			events that match an item of a query, in order
 *		query.c			queries by types and tags
 *		tag_index.c		the index of tags
 *
 *	 subscription/		consumer groups; beside projection/
 *		fetch.c			es_fetch
 *		ack.c			es_ack, es_nack
 *		release.c		es_release
 *		subscribe.c		es_create_subscription, es_reset_subscription ...
 *		alter.c			es_alter_subscription, es_pause_subscription ...
 *		parked.c		es_replay_parked, es_drop_parked
 *		definition.c	what a subscription is defined by, as arguments
 *		rival.c			two sessions under one consumer's name
 *		caller.c		who calls, and as whom the verbs run
 *		status.c		how far a subscription is
 *		takeback.c		what a consumer has, or was delivered, taken back
 *		division.c		into how many partitions the streams are divided
 *		claim.c			what a token is good for
 *		lease.c			what a delivery leaves in its consumer's shares
 *		assign.c		who works on which partitions
 *		owner.c			which share a partition belongs to
 *		place.c			rows written all the time, found at the same cost
 *		recall.c		what a session remembers of them
 *		pairs.c			pairs of numbers, as arrays
 *		deliver.c		what a fetch delivers
 *		sight.c			whether row security hides any of them
 *		fetch_row.c		the rows that it returns
 *		seen.c			what a statement sees of shares and retries
 *		retry.c			events that go their own way
 *		retry_row.c		their rows: found, read, written
 *		lowest.c		the lowest of those that are parked
 *		share.c			partitions that stand at the same place
 *		subscription.c	the definition of a subscription
 *
 *	 partition/			a table that grows, made of ranges of positions; above projection/
 *		partition_events.c	es_partition_events, and partitions in a restore
 *		convert.c		from a plain table to one that is made of ranges
 *		hand_over.c		its indexes come to be another table's
 *		provide.c		the range that an append needs
 *		closed.c		what is written down of ranges that nothing comes into
 *		make.c			the ranges that come next
 *		ddl.c			commands that make, attach and detach them
 *
 *	 projection/replay/	the history once more, above projection/
 *		replace.c		es_replace_projection
 *		rebuild.c		es_rebuild_projection
 *		verify.c		es_verify_projection
 *		as_of.c			es_projection_as_of
 *		reader.c		who may see what tables were
 *		replay.c		the history applied once more, beside the tables
 *		reshape.c		a declared table that gets the columns of another query
 *		gone.c			events that a replay does without
 *		mend.c			making tables like their copies
 *		difference.c	between a table and its copy
 *		shadow.c		copies of tables
 *		redirect.c		a handler's SQL, with copies in place of its tables
 *		cordon.c		keeps a replay away from what is in use
 *
 *	 projection/		read tables
 *		project.c		es_create_projection, es_run_projection ...
 *		terms.c			what they are told
 *		await.c			es_wait_projection
 *		state_projection.c	es_create_state_projection
 *		skip.c			es_skip_event
 *		inline.c		projections that the append applies
 *		fresh.c			what it has just appended, as rows for them
 *		reassign.c		es_reassign_projection
 *		rename.c		es_rename_projection
 *		follow.c		tables that are renamed or moved
 *		depends.c		names that a projection's SQL depends on
 *		redefine.c		definitions that change
 *		trouble.c		what keeps projections from going on
 *		intact.c		whether a crash has emptied a projection's tables
 *		mark.c			whose a projection is
 *		stale.c			projections that have to be rebuilt
 *		roster.c		which ones these are, as a backend knows them
 *		takeover.c		from when on appends apply an inline projection
 *		run.c			a step of an async projection
 *		whole.c			whether a restore has brought what it needs
 *		advance.c		applying stored events, from the checkpoint on
 *		barrier.c		a moment without appends in flight
 *		witness.c		what a process is doing with one, for when it dies of it
 *		apply.c			running a projection's SQL over events
 *		states.c		folding events into the states of their streams
 *		statetable.c	the table with them
 *		separable.c		handlers for which batches make no difference
 *		definition.c	writes what is known of one
 *		projection.c	definitions, checkpoints, locks
 *		checkpoint.c	how far they are
 *		omission.c		events that a projection is not applied to
 *		readtable.c		the tables of declarations
 *		target.c		what would stop a handler later
 *		beside.c		whether it can be replayed beside its tables
 *		progress.c		who runs or rebuilds what, for others to see
 *		environment.c	the settings that a projection's SQL runs with
 *
 *	 projection/declared/	read tables that are declared by a query
 *		declare.c		the SQL that keeps a declared table
 *		batch.c			the SQL that computes a batch's part of it
 *		merge.c			the SQL that merges that into what is stored
 *		analyze.c		analysis of a projection's query
 *		from.c			what a declaration reads
 *		lookup.c		tables that it looks rows up in
 *		clauses.c		clauses and functions that it must not have
 *		forms.c			WITH and DISTINCT, written as what they stand for
 *		nullable.c		whether a key can be null
 *		parts.c			aggregates taken apart into ones that merge
 *		ordered.c		those in which the order of events counts
 *		part.c			the list of what is kept of them
 *		events.c		where a query reads "events"
 *		callable.c		functions and aggregates that a declaration can use
 *		refuse.h		how a declaration is refused
 *		pick.c			aggregates es_first, es_last
 *
 *	 cell/				several machines; beside condition/
 *		cell.c			es_slot, es_set_cell
 *
 *	 order/				one order over all streams
 *		take.c			taking positions
 *		fence.c			changing which streams a store takes
 *		mirror.c		the head of a store whose events are replicated
 *		member.c		which streams it takes, and which positions it gives out
 *		transaction.c	what a transaction that appends owes to others
 *		order.c			the head
 *		behind.c		events that are committed, but not below the head yet
 *		standby.c		the head on a hot standby
 *		inflight.c		appends in flight: publishing and finding them
 *		window.c		between positions taken and rows in the table
 *		milestone.c		by when positions had been given out
 *		past.c			the head as it was when a snapshot was taken
 *		floor.c			what positions go on above
 *		position.c		positions
 *		last.c			the position that this session appended at last
 *
 *	 rights/			what a role may see and append
 *		access.c		es_tenant, and what policies ask
 *		see.c			scans that see what a role may
 *		rights.c		to which streams a role is bound
 *		bound.c			categories and tenants
 *
 *	 signal/			how sessions tell each other
 *		guard.c			locks of sessions that work on one subscription
 *		wake.c			sessions that wait, and what they listen to
 *		news.c			new events, for those who wait for some of them
 *		rest.c			waiting without a snapshot
 *		shared.c		shared memory: which database has a worker, its runners
 *		counters.c		shared memory: what was appended and refused, counted
 *		announce.c		NOTIFY, as long as its queue has room
 *		pending.c		categories that a transaction has to tell of
 *		channel.c		names of LISTEN channels
 *
 *	 erasure/			values that can be made unreadable; beside signal/
 *		erasure.c		es_protect, es_reveal, es_erase_subject
 *		traces.c		snapshots that may hold what is erased
 *		key.c			subjects' keys
 *		provider.c		keys that a function of the user's has
 *		fence.c			which subjects are erased
 *		envelope.c		the form in which a protected value stands in JSON
 *		cipher.c		OpenSSL
 *
 *	 base/				what stands on PostgreSQL alone
 *		stream.c		the row of a stream: find, lock, move on
 *		removed.c		events that are gone
 *		hint.c			where the rows of streams were seen last
 *		scan.c			index scans
 *		scan_entries.c	entries of indexes, before their rows or instead of them
 *		scan_update.c	rows that are about to be updated in place
 *		scan_ranges.c	scans that go through the ranges of eventstore.events
 *		scan_remote.c	ranges that are foreign tables
 *		select.c		the SELECT that a scan stands for
 *		catalog.c		the relations, by role
 *		version.c		of which version they are, and es_version
 *		event.c			events from arguments and arrays
 *		reducer.c		folding events into a state by a function of the user's
 *		document.c		arguments that come as JSON
 *		arguments.c		arguments that several verbs take
 *		literal.c		values of other types, given as text
 *		names.c			names of streams, types, tags; categories
 *		partition.c		partitions and slots of streams
 *		uuid.c			ids that the store makes
 *		sql.c			statements in SQL, for what is not worth C
 *		attempt.c		something that may fail, and leave nothing behind
 *		ranges.c		which tables a partitioned eventstore.events is made of
 *		away.c			events that are away, in partitions that were detached
 *		conceal.c		errors that would show an event's data
 *		settings.c		the settings eventstore.*
 *		limits.c		the settings eventstore.health_*
 *		errors.h		our SQLSTATEs
 *		userlock.h		locks of our own
 *		compat.h		differences between PostgreSQL majors
 *
 * Glossary:
 *
 *	 stream				a named sequence of events; the unit of consistency
 *	 category			what stands before the first '-' of a stream's name
 *	 tenant				what stands in the first {...} of a stream's name
 *	 bound				a category, a tenant or both that a grant is limited to
 *	 version			place of an event in its stream: 1, 2, 3 ...
 *	 position			place of an event in the whole store
 *	 expected version	what the caller of an append believes the stream's
 *						version to be; the check is the optimistic lock
 *	 append				one call's events for one stream
 *	 in flight			an append whose transaction is still open
 *	 behind				of an event: committed, and still above the head; of a
 *						session: it waits for the append that keeps it there
 *	 topic				what sessions listen to that wait for some events only
 *	 range				positions that one table of a partitioned eventstore.events
 *						has, and the table; a partition, where it is PostgreSQL's
 *	 head				position up to which the store is settled
 *	 floor				the highest position of an event, or that somebody has read up to
 *	 projection			SQL that is applied to every event
 *	 read table			what a projection writes, for others to read
 *	 replay				a projection's SQL over the history, on copies of its
 *						tables: to rebuild, to verify, to look into the past
 *	 declared table		a read table that is kept equal to a query over all
 *						events; of any other projection the SQL is a handler
 *	 checkpoint			position up to which a projection has been applied
 *	 mark				the procedure whose owner is a projection's
 *	 stale				of a projection: it has to be rebuilt before it goes on
 *	 exact retry		a call whose every event is stored already
 *	 subscription		a consumer group: each event is worked on by one consumer
 *	 partition			streams that are worked on together; see es_partition
 *	 share				partitions that stand at the same place, and whose they are
 *	 checkpoint			position up to which everything is done
 *	 token				what a delivery is acknowledged by; fences who has lost it
 *	 lease				time for which a consumer that does not call is not replaced
 *	 run				the events after the checkpoint, without retries
 *	 retry				an event that is out of the run: due, parked or skipped
 *	 state				what the events of a stream amount to
 *	 snapshot			a state that is kept, with the version it is of: a cache
 *	 conditional append	an append that fails if an event matches a query
 *	 window				moment between positions taken and rows in the table
 *	 reducer			function (state, event) -> state
 *	 subject			whose values are protected under one key
 *	 envelope			a protected value, as it stands in JSON
 *	 fence				what keeps an erased subject erased
 *	 state projection	a read table with the state of each stream
 *	 slot				of 1024 into which streams are divided, by their tenants
 *	 cell				a store that takes the streams of some slots only
 *	 feed				what the positions of a cell are modulo 1024
 *	 map				which cells there are, and the slots of each
 *	 mirror				a store whose events come by logical replication
 *	 epoch				how many times it has changed what a store takes
 *
 * Locks, in the order in which they are taken.  Unless said, they are held to
 * the end of the transaction; the deadlock detector knows them all:
 *
 *	 object						mode				taken by
 *	 userlock "custody"			RowExclusive		what takes events from history, or changes them
 *								Share, moments		es_seal
 *	 userlock "seals"			Exclusive			es_seal; before the latter
 *	 userlock "ranges"			Exclusive			who makes, detaches or attaches partitions of
 *													events; before "custody"
 *	 userlock "keeps" of a		Exclusive			what takes events from it, or changes them
 *	   stream					RowExclusive		es_save_snapshot, which does not wait for it
 *	 eventstore.streams			RowExclusive		append, es_assert_version
 *								AccessShare			es_stream_version
 *	 eventstore.removed_events	AccessShare			append with given ids, es_load, the floor
 *								RowExclusive		what takes events
 *	 eventstore.				AccessShare			the same, where events were detached
 *	   detached_events			AccessExclusive		es_attach_events, DROP TABLE of what was detached;
 *													with the table itself, tried for moments
 *	 eventstore.partition_ids	AccessShare			append with given ids, for moments
 *								RowExclusive		who makes partitions
 *	 eventstore.events			RowExclusive		append, what takes events or changes them
 *								AccessShare			reads, es_load, es_fold, es_save_snapshot
 *								ShareRowExclusive	who makes, pauses, resumes, rebuilds or drops
 *													an inline projection: so that no append
 *													is in flight; tried for moments;
 *													es_repair_positions, es_repair_streams
 *								AccessExclusive		es_partition_events, es_detach_events; tried for
 *													moments
 *								ShareUpdateExcl.	who makes or attaches partitions;
 *													es_grant of the first bound, es_revoke of the last
 *	 eventstore.foreign_ranges	AccessShare			append with given ids, if it is read
 *								RowExclusive		es_attach_events, es_detach_events
 *	 eventstore.beginnings		RowExclusive		es_import of a stream without its beginning
 *								AccessShare			es_verify
 *	 eventstore.snapshots		AccessShare			es_load, es_snapshot
 *								RowExclusive		es_save_snapshot
 *	 row of a snapshot			FOR NO KEY UPDATE	es_save_snapshot
 *	 their indexes				AccessShare or RowExclusive, some only once needed
 *	 rows of streams, in byte	FOR NO KEY UPDATE	append
 *	   order of the names							es_delete_stream
 *								FOR SHARE			es_assert_version
 *	 speculative insertion		short				the first event of a stream
 *	 another transaction		Share, wait only	es_append_if, for what matches;
 *													who makes the same stream, or
 *													stores the same event id, has opened
 *													the same delivery, or replays
 *	 userlock "in flight"		AccessShare			append; nobody waits for it
 *	 eventstore.positions		RowExclusive		append
 *								AccessShare			es_head and what is built on it
 *	 eventstore.marks			RowExclusive		one append in some thousand
 *								AccessShare			es_position_at
 *	 eventstore.head			AccessShare			the head on standbys
 *								RowExclusive		the worker
 *	 eventstore.projections		AccessShare			append, where it has to be read anew
 *								RowExclusive		verbs of projections
 *	 eventstore.				RowExclusive		verbs of projections, runners
 *	   projection_checkpoints	AccessShare			whoever reads a definition
 *	 eventstore.				RowExclusive		append by a projection's SQL
 *	   projection_appends		AccessShare			es_run_projection and its kin
 *	 eventstore.				RowExclusive		append that finds a projection stale,
 *	   stale_projections,							es_rebuild_projection, ALTER TABLE of
 *	   intact_projections							a read table
 *								AccessShare			whoever reads a definition
 *	 eventstore.				RowExclusive		who makes, drops or resumes a projection,
 *	   projection_needs,							runners; the worker, after a restore
 *	   local_projections		AccessShare			the worker, es_run_projection
 *	 eventstore.				RowExclusive		append, where an inline projection has stopped;
 *	   projection_missed							es_skip_event and its kin
 *								AccessShare			append, where one may stop
 *	 userlock "rebuild"			Exclusive			es_rebuild_projection, es_drop_projection;
 *													before all others of the projection
 *	 read tables				AccessShare			replays, from their begin
 *	 userlock of a projection	Exclusive			its verbs, but es_wait_projection; runners,
 *													for a batch; es_verify_projection, for a
 *													moment; es_rebuild_projection, at its end;
 *													before the lock on eventstore.events
 *	 read tables				RowExclusive		es_rebuild_projection, at its end
 *								AccessExclusive		es_replace_projection, at its end, where it alters
 *													them; es_rename_projection; ALTER ... RENAME and
 *													SET SCHEMA; together with the projection's and
 *													the one on eventstore.events, tried for moments
 *	 read tables and their rows						what the projection's SQL takes, in the
 *													order of projections' names; rows of
 *													declared tables in that of their keys
 *	 userlocks "waits", of the	AccessShare or		es_wait and es_fetch, while they wait;
 *	   store or a topic;		RowShare			nobody waits for them
 *	   "behind" an append
 *	 userlock "use" of a			AccessShare			es_ack, es_nack, es_release,
 *	   subscription									es_replay_parked; es_fetch for
 *													moments, to the end if it parks
 *								AccessExclusive		what changes the whole of it
 *	 userlock "mutex" of it		Exclusive, moments	who reads or writes its shares;
 *													es_replay_parked
 *	 userlock "settles" of a	AccessShare			es_ack, es_nack; es_release waits
 *	   share										for it
 *	 userlock "replays" of a	AccessShare			es_replay_parked; nobody waits for it
 *	   subscription
 *	 userlocks "sleeps" of a	AccessShare			es_fetch, while it waits; nobody
 *	   share, "waits" of a							waits for them
 *	   subscription
 *	 NOTIFY's lock of the		AccessExclusive		who announces, right before its commit
 *	   cluster
 *	 userlock "told"			Exclusive			the session that has told the log of a full
 *													NOTIFY queue, beyond transactions; nobody waits
 *	 userlock "grants"			Exclusive			es_grant, es_revoke; before all of their others
 *	 userlock "subject"			Exclusive			es_protect, where it makes a key;
 *													es_erase_subject; before all of its others
 *	 eventstore.subject_keys,	AccessShare			es_protect, es_reveal
 *	   erasures					RowExclusive		es_protect, where it makes a key; es_erase_subject
 *	 eventstore.snapshots		RowExclusive		es_erase_subject, and rows FOR UPDATE
 *	 eventstore.subscription...	AccessShare or		the verbs of subscriptions
 *								RowExclusive
 *	 userlock "fence"			AccessShare			an append that is not sure of what the store takes,
 *													for moments; es_assert_version,
 *													es_repair_positions
 *								AccessExclusive		es_set_cell and its kin; they wait for transactions
 *	 eventstore.member,			AccessShare			append, where it has to be read anew
 *	   mapped_cells				ShareRowExclusive	es_set_cell, es_add_cell and their kin; before
 *													the fence
 *	 partitions of the lock		moments, shared		es_head and what is built on it
 *	   table
 *	 page of the sequence,		moments				append, es_head ...; append takes the
 *	   content lock									userlock under it
 *	 LWLock "eventstore"		moments				workers, runners, launcher, DROP DATABASE
 *	 LWLock "eventstore			moments				a session's first append
 *	   counters"
 *	 row of eventstore.			FOR UPDATE			who counts events; nobody waits for it
 *	   tally_state
 *
 * Memory contexts: every function works in the context of its call, which
 * PostgreSQL resets for each row.  What outlives it: static variables
 * (catalog.c: OIDs; immutability.c: what may be changed just now; last.c: the last position; inflight.c: what is published;
 * past.c, standby.c: known heads; hint.c: places of rows, where they are not in
 * shared memory; rival.c: last tokens; uuid.c: random bytes; plans of statements, where they
 * stand; counters.c: what open transactions have appended; plain.c: which tables are plain;
 * roster.c: the inline projections with their plans, below
 * CacheMemoryContext; rights.c: the rights of roles, there; turn.c: what it knows of projections, in
 * stand; cipher.c: OpenSSL's algorithms; roster.c: the inline projections with their plans, below
 * CacheMemoryContext; turn.c: what it knows of projections, in
 * TopMemoryContext; launcher.c: what it has told the log) and, to the end of the
 * transaction, the categories to notify about (pending.c), the events to wake for
 * (news.c) and the subscriptions whose consumers to wake (transaction.c).
 *
 * Callbacks, each registered once, by _PG_init: relation cache (catalog.c, ranges.c, plain.c),
 * catalogues of procedures (roster.c, rights.c), of roles and their members
 * (rights.c), transaction, subtransaction and release of
 * a resource owner (transaction.c), ExecutorStart and ProcessUtility (cordon.c),
 * the latter for DISCARD, too (last.c), access to objects (drop.c); if preloaded, shared memory (shared.c)
 * and ProcessUtility once more (launcher.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef EVENTSTORE_H
#define EVENTSTORE_H

extern PGDLLEXPORT void _PG_init(void);

#endif /* EVENTSTORE_H */
