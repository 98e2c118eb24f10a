/*-------------------------------------------------------------------------
 *
 * stress.c
 *		Tries to make a reader miss an event.
 *
 * Writers append in every way there is: with sleeps, rollbacks, savepoints,
 * prepared transactions that another process ends, one stream or several, at
 * every isolation level.  Strangers hold transactions open that do not
 * append.  Readers remember only the last position they saw.  At the end,
 * what each of them saw is compared with what was committed.
 *
 *	 stress [-s seconds] [-w writers] [-r seed] [-l stall_ms] [-S standby [-S standby]] [-W] [conninfo]
 *
 * -W: the worker runs, so that every event has to be announced by NOTIFY.
 * -S: conninfo of a hot standby to read on, too; twice: of another one, that
 *     follows the first.  Without -W strangers pause every other while, since
 *     they hold a standby's head back then.
 * -l: by how much a reader may be later than the longest open append.
 * Exit status: 0 if nothing was wrong.
 *
 * What a reader saw goes into a temporary file of its own.
 *
 *-------------------------------------------------------------------------
 */
#include "crew.h"

#include <poll.h>
#include <signal.h>

#define MAX_TRANSACTIONS	(1 << 22)
#define MAX_READERS			32
#define MAX_WRITERS			64
#define STREAMS				40		/* eight in each of five categories */
#define DRAIN_SECONDS		60		/* to read the rest after the last append */
#define PAUSE_US			INT64_C(1500000)	/* of strangers, where they pause; and between pauses */

/* A prepared transaction on its way from a writer to the finisher. */
typedef struct Prepared
{
	atomic_int	is_full;
	char		gid[64];
	int			events;
	int			number;
	int64_t		begun_us;
} Prepared;

typedef struct ReaderResult
{
	long		seen;			/* events */
	long		batches;
	long		disorder;		/* position not above the one before */
	long		broken;			/* promises of the head, by what the reader saw at once */
	int64_t		stall_us;		/* longest time from commit to having read */
	int			is_done;		/* got to the end */
} ReaderResult;

typedef struct Shared
{
	atomic_int	is_over;		/* no more appends */
	atomic_llong final_head;	/* set after the last append; 0 before */
	atomic_llong final_event;	/* the last event's position; set before final_head */
	atomic_int	transactions;
	atomic_long committed;		/* events that clients were told are stored */
	atomic_long commits;
	atomic_long rollbacks;
	atomic_long conflicts;
	atomic_llong longest_us;	/* open appending transaction */
	Prepared	prepared[MAX_WRITERS];
	ReaderResult readers[MAX_READERS];
	_Atomic int64_t committed_at[MAX_TRANSACTIONS]; /* us; 0: not known */
} Shared;

static Shared *shared;
static const char *standbys[2] = {NULL, NULL};
static int	standby_count = 0;
static int	seconds = 30;
static int	writers = 8;
static int	stall_ms = 100;
static bool has_worker = false;
static int64_t start_head;
static pid_t parent;

/* ----------------------------------------------------------------------
 * Small things
 * ----------------------------------------------------------------------
 */

static void
nap_us(int us)
{
	if (us > 0)
		usleep(us);
}

static bool
crew_expects(void)
{
	return strcmp(sqlstate, "SE001") == 0 || strncmp(sqlstate, "40", 2) == 0;
}

/* ----------------------------------------------------------------------
 * Writers
 * ----------------------------------------------------------------------
 */

typedef struct Writer
{
	PGconn	   *conn;
	int			index;
	int			number;			/* of the transaction */
	int			events;			/* that it will have stored */
	int			stream;			/* the next is above: streams are taken in order, against deadlocks */
	int64_t		begun_us;		/* when the first append was sent; 0: not yet */
} Writer;

static const char *const types[] = {"A", "B", "C"};

static bool is_fast = false;	/* half of the writers sleep seldom */

static void
writer_nap(void)
{
	int			dice = is_fast && pick(20) != 0 ? 0 : pick(100);

	nap_us(dice < 60 ? 0 : dice < 90 ? pick(5000) : dice < 99 ? pick(25000) : pick(120000));
}

static int
put_events(char *to, size_t size, const Writer *writer, int count)
{
	int			length = snprintf(to, size, "[");

	for (int i = 0; i < count; i++)
		length += snprintf(to + length, size - length, "%s{\"type\": \"%s\", \"data\": {\"t\": %d}}",
						   i == 0 ? "" : ", ", types[pick(3)], writer->number);
	return length + snprintf(to + length, size - length, "]");
}

static void
put_stream(char *to, size_t size, int stream)
{
	/* The order of numbers is that of bytes, in which es_append_streams locks. */
	snprintf(to, size, "c%d-%02d", stream / (STREAMS / 5), stream);
}

static bool
writer_append_streams(Writer *writer)
{
	char		batch[4096];
	int			length = snprintf(batch, sizeof(batch), "[");
	int			entries = 2 + pick(2);
	int			events = 0;
	PGresult   *result;

	int			last = writer->stream;

	for (int i = 0; i < entries; i++)
	{
		char		name[32];
		int			count = 1 + pick(2);
		int			stream = writer->stream + pick((STREAMS - writer->stream + 1) / 2);

		last = stream > last ? stream : last;
		put_stream(name, sizeof(name), stream);
		length += snprintf(batch + length, sizeof(batch) - length,
						   "%s{\"stream\": \"%s\", \"expected_version\": -1, \"events\": ", i == 0 ? "" : ", ", name);
		length += put_events(batch + length, sizeof(batch) - length, writer, count);
		length += snprintf(batch + length, sizeof(batch) - length, "}");
		events += count;
	}
	snprintf(batch + length, sizeof(batch) - length, "]");
	result = run(writer->conn, "SELECT count(*) FROM es_append_streams('%s')", batch);
	if (result == NULL)
		return false;
	PQclear(result);
	writer->events += events;
	writer->stream = last + 1;
	return true;
}

static bool
writer_append_one(Writer *writer)
{
	char		events[1024];
	char		name[32];
	int			count = pick(4) == 0 ? 1 + pick(5) : 1;
	int64_t		expected = -1;
	PGresult   *result;

	writer->stream += pick((STREAMS - writer->stream + 1) / 2);
	put_stream(name, sizeof(name), writer->stream);
	if (pick(3) != 0)
		writer->stream++;		/* else the next append may be to the same one */
	if (pick(10) < 3)
	{
		result = run(writer->conn, "SELECT es_stream_version('%s')", name);
		if (result == NULL)
			return false;
		expected = atoll(PQgetvalue(result, 0, 0));
		PQclear(result);
		nap_us(pick(300));
	}
	put_events(events, sizeof(events), writer, count);
	result = run(writer->conn, "SELECT es_append('%s', %lld, '%s'::jsonb)", name, (long long) expected, events);
	if (result == NULL)
	{
		if (expected == -1 && strcmp(sqlstate, "SE001") == 0)
			fail("\"any\" met a conflict");
		return false;
	}
	PQclear(result);
	writer->events += count;
	return true;
}

static bool
writer_append(Writer *writer)
{
	if (writer->stream >= STREAMS)
		return true;
	if (writer->begun_us == 0)
		writer->begun_us = now_us();
	if (writer->stream < STREAMS - 1 && pick(5) == 0)
		return writer_append_streams(writer);
	return writer_append_one(writer);
}

/* Some appends, with savepoints in between. */
static bool
writer_body(Writer *writer, int depth)
{
	int			steps = depth == 0 ? 1 + pick(4) : pick(3);

	for (int i = 0; i < steps; i++)
	{
		int			events = writer->events;
		char		sql[32];

		if (depth == 3 || pick(4) != 0)
		{
			if (!writer_append(writer))
				return false;
			writer_nap();
			continue;
		}
		snprintf(sql, sizeof(sql), "SAVEPOINT s%d", depth);
		if (!run_ok(writer->conn, sql))
			return false;
		snprintf(sql, sizeof(sql), "ROLLBACK TO s%d", depth);
		if (!writer_body(writer, depth + 1))
		{
			/* A savepoint catches what failed at READ COMMITTED. */
			if (strcmp(sqlstate, "SE001") != 0)
				return false;
			writer->events = events;
			if (!run_ok(writer->conn, sql))
				return false;
		}
		else if (pick(2) == 0)
		{
			writer->events = events;
			if (!run_ok(writer->conn, sql))
				return false;
		}
		else
		{
			snprintf(sql, sizeof(sql), "RELEASE s%d", depth);
			if (!run_ok(writer->conn, sql))
				return false;
		}
		writer_nap();
	}
	return true;
}

/* A transaction has ended; what was open how long, what is stored. */
static void
note_end(int64_t begun_us, int events, int number, bool is_commit)
{
	int64_t		now = now_us();
	long long	open = begun_us == 0 ? 0 : now - begun_us;
	long long	longest = atomic_load(&shared->longest_us);

	while (open > longest && !atomic_compare_exchange_weak(&shared->longest_us, &longest, open))
		;
	atomic_fetch_add(is_commit ? &shared->commits : &shared->rollbacks, 1);
	if (is_commit)
	{
		atomic_fetch_add(&shared->committed, events);
		atomic_store(&shared->committed_at[number], now);
	}
}

static void
writer_transaction(Writer *writer)
{
	static const char *const begins[] = {
		"BEGIN ISOLATION LEVEL READ COMMITTED", "BEGIN ISOLATION LEVEL READ COMMITTED",
		"BEGIN ISOLATION LEVEL READ COMMITTED", "BEGIN ISOLATION LEVEL REPEATABLE READ",
		"BEGIN ISOLATION LEVEL SERIALIZABLE"
	};
	Prepared   *prepared = &shared->prepared[writer->index];
	int			end = pick(100);
	bool		is_done;
	char		sql[128];

	writer->events = 0;
	writer->stream = 0;
	writer->begun_us = 0;
	writer->number = atomic_fetch_add(&shared->transactions, 1) % MAX_TRANSACTIONS;

	if (pick(4) == 0)
	{
		/* A statement of its own. */
		is_done = writer_append(writer);
		note_end(writer->begun_us, writer->events, writer->number, is_done);
		if (!is_done)
			atomic_fetch_add(&shared->conflicts, 1);
		return;
	}

	if (!run_ok(writer->conn, begins[pick(5)]))
		return;
	is_done = writer_body(writer, 0);
	if (is_done && end < 15 && !atomic_load(&prepared->is_full))
	{
		snprintf(prepared->gid, sizeof(prepared->gid), "stress_%d_%d", (int) parent, writer->number);
		snprintf(sql, sizeof(sql), "PREPARE TRANSACTION '%s'", prepared->gid);
		if (run_ok(writer->conn, sql))
		{
			prepared->events = writer->events;
			prepared->number = writer->number;
			prepared->begun_us = writer->begun_us;
			atomic_store(&prepared->is_full, 1);
			return;
		}
		is_done = false;
	}
	else if (is_done && end < 80)
		is_done = run_ok(writer->conn, "COMMIT");
	else
	{
		if (!is_done)
			atomic_fetch_add(&shared->conflicts, 1);
		is_done = false;
		(void) run_ok(writer->conn, "ROLLBACK");
	}
	if (PQtransactionStatus(writer->conn) != PQTRANS_IDLE)
		(void) run_ok(writer->conn, "ROLLBACK");
	note_end(writer->begun_us, writer->events, writer->number, is_done);
}

static void
writer_main(int index)
{
	Writer		writer = {.conn = connect_to(conninfo), .index = index};

	is_fast = index % 2 == 1;
	while (!atomic_load(&shared->is_over))
	{
		writer_transaction(&writer);
		writer_nap();
	}
	PQfinish(writer.conn);
}

/* Ends what writers have prepared. */
static void
finisher_main(int index)
{
	PGconn	   *conn = connect_to(conninfo);
	bool		is_last;

	(void) index;
	do
	{
		is_last = atomic_load(&shared->is_over) == 2;	/* the writers are gone */
		for (int i = 0; i < writers; i++)
		{
			Prepared   *prepared = &shared->prepared[i];
			bool		is_commit = pick(3) != 0;
			char		sql[128];

			if (!atomic_load(&prepared->is_full))
				continue;
			nap_us(pick(10000));
			snprintf(sql, sizeof(sql), "%s PREPARED '%s'", is_commit ? "COMMIT" : "ROLLBACK", prepared->gid);
			if (run_ok(conn, sql))
				note_end(prepared->begun_us, prepared->events, prepared->number, is_commit);
			atomic_store(&prepared->is_full, 0);
		}
		usleep(500);
	} while (!is_last);
	PQfinish(conn);
}

/* Whether strangers have to leave the standby's readers alone at this moment. */
static bool
stranger_pauses(void)
{
	return standby_count > 0 && !has_worker && now_us() / PAUSE_US % 2 == 1;
}

/* Holds transactions open that do not append, but write. */
static void
stranger_main(int index)
{
	static const char *const begins[] = {"BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ"};
	char		elsewhere[1024];
	PGconn	   *conn;

	/* 0, 1: in this database; 2: in another one. */
	snprintf(elsewhere, sizeof(elsewhere), "%s dbname=stress_stranger", conninfo);
	conn = connect_to(index == 2 ? elsewhere : conninfo);
	while (!atomic_load(&shared->is_over))
	{
		if (stranger_pauses())
		{
			usleep(20000);
			continue;
		}
		(void) run_ok(conn, begins[index % 2]);
		(void) run_ok(conn, "INSERT INTO stress_stranger VALUES (1)");
		for (int i = 50 + pick(200); i > 0 && !atomic_load(&shared->is_over) && !stranger_pauses(); i--)
			usleep(20000);
		(void) run_ok(conn, pick(2) ? "COMMIT" : "ROLLBACK");
	}
	PQfinish(conn);
}

/* ----------------------------------------------------------------------
 * Readers
 * ----------------------------------------------------------------------
 */

typedef enum ReaderKind
{
	READ_COMMITTED,
	READ_REPEATABLE,
	READ_SERIALIZABLE,
	READ_CATEGORY,
	READ_CATEGORY_REPEATABLE,
	READ_TYPES,
	READ_WAIT,
	READ_WAIT_CATEGORY,
	READ_LISTEN,
	READ_LISTEN_CATEGORY,
	READ_TABLE,
	READ_BURST,
	READ_BACKWARD
} ReaderKind;

typedef struct ReaderPlan
{
	const char *name;
	ReaderKind	kind;
	const char *category;		/* NULL: all */
	bool		has_types;		/* A and C only */
	bool		is_tailing;		/* its stall counts */
	int			standby;		/* number of the one to read on; 0: the primary */
} ReaderPlan;

static const ReaderPlan plans[] = {
	{"read committed", READ_COMMITTED, NULL, false, true, 0},
	{"repeatable read", READ_REPEATABLE, NULL, false, false, 0},
	{"repeatable read, 2nd", READ_REPEATABLE, NULL, false, false, 0},
	{"serializable", READ_SERIALIZABLE, NULL, false, false, 0},
	{"category", READ_CATEGORY, "c1", false, true, 0},
	{"category, repeatable", READ_CATEGORY_REPEATABLE, "c2", false, false, 0},
	{"types", READ_TYPES, NULL, true, true, 0},
	{"es_wait", READ_WAIT, NULL, false, true, 0},
	{"es_wait category", READ_WAIT_CATEGORY, "c3", false, true, 0},
	{"LISTEN", READ_LISTEN, NULL, false, false, 0},
	{"LISTEN category", READ_LISTEN_CATEGORY, "c4", false, false, 0},
	{"SELECT up to the head", READ_TABLE, NULL, false, true, 0},
	{"count up to the head", READ_BURST, NULL, false, false, 0},
	{"backward", READ_BACKWARD, NULL, false, false, 0},
	{"standby", READ_COMMITTED, NULL, false, false, 1},
	{"standby, repeatable", READ_REPEATABLE, NULL, false, false, 1},
	{"standby, es_wait", READ_WAIT, NULL, false, false, 1},
	{"standby, SELECT", READ_TABLE, NULL, false, false, 1},
	{"standby, backward", READ_BACKWARD, NULL, false, false, 1},
	{"standby, category", READ_CATEGORY, "c1", false, false, 1},
	{"second standby", READ_COMMITTED, NULL, false, false, 2},
	{"second standby, category", READ_CATEGORY_REPEATABLE, "c2", false, false, 2},
	{"second standby, count", READ_BURST, NULL, false, false, 2},
};

#define PLANS	((int) (sizeof(plans) / sizeof(plans[0])))

typedef struct Reader
{
	const ReaderPlan *plan;
	ReaderResult *result;
	PGconn	   *conn;
	FILE	   *file;			/* positions; backward: 0, bound, positions; burst: from, to, count */
	int64_t		cursor;			/* the last position seen */
	int64_t		head;			/* that es_head told last */
} Reader;

static FILE *reader_files[MAX_READERS];

static void
reader_note(Reader *reader, int64_t position)
{
	fwrite(&position, sizeof(position), 1, reader->file);
}

/* Take over a batch.  Returns its size, -1 on an error that may be. */
static int
reader_take(Reader *reader, PGresult *result)
{
	int64_t		now = now_us();
	int			count;

	if (result == NULL)
		return -1;
	count = PQntuples(result);
	for (int i = 0; i < count; i++)
	{
		int64_t		position = atoll(PQgetvalue(result, i, 0));
		int64_t		committed_at = atomic_load(&shared->committed_at[atoi(PQgetvalue(result, i, 1)) % MAX_TRANSACTIONS]);

		if (position <= reader->cursor)
			reader->result->disorder++;
		reader->cursor = position;
		reader_note(reader, position);
		reader->result->seen++;
		if (committed_at != 0 && now - committed_at > reader->result->stall_us)
			reader->result->stall_us = now - committed_at;
	}
	reader->result->batches++;
	PQclear(result);
	return count;
}

static int
reader_batch(Reader *reader, int max_count)
{
	const ReaderPlan *plan = reader->plan;
	char		category[32] = "";

	if (plan->category != NULL)
		snprintf(category, sizeof(category), "'%s', ", plan->category);
	return reader_take(reader, run(reader->conn, "SELECT position, data->>'t' FROM es_read_%s(%s%lld, %d%s)",
								   plan->category != NULL ? "category" : "all", category,
								   (long long) reader->cursor, max_count,
								   plan->has_types ? ", '{A,C}'" : ""));
}

/* es_head, which must not go back. */
static int64_t
reader_head(Reader *reader)
{
	int64_t		head = ask(reader->conn, reader->head, "SELECT es_head()");

	if (head < reader->head)
	{
		reader->result->broken++;
		fprintf(stderr, "stress: %s: the head went back from %lld to %lld\n", me, (long long) reader->head, (long long) head);
	}
	reader->head = head;
	return head;
}

/* A head that somebody was told: a read goes as far, from now on. */
static void
reader_expect_head(Reader *reader, int64_t told, const char *by)
{
	int64_t		head = reader_head(reader);

	if (head >= told)
		return;
	reader->result->broken++;
	fprintf(stderr, "stress: %s: %s told %lld, but the head is %lld\n", me, by, (long long) told, (long long) head);
}

/* Several batches in one transaction, whose snapshot may be old already. */
static int
reader_in_snapshot(Reader *reader, const char *begin)
{
	int64_t		cursor = reader->cursor;
	long		at = ftell(reader->file);
	ReaderResult result = *reader->result;
	int			batches = 1 + pick(3);
	int			total = 0;
	int64_t		head = -1;

	if (!run_ok(reader->conn, begin))
		return -1;
	if (pick(2) == 0)
	{
		/* The snapshot is taken now. */
		if (pick(2) == 0)
			(void) run_ok(reader->conn, "SELECT 1");
		else
			(void) ask(reader->conn, 0, "SELECT es_head()");
		nap_us(pick(4) == 0 ? pick(200000) : pick(20000));
	}
	/* Whatever was asked last may have got a 40001. */
	for (int i = 0; i < batches && PQtransactionStatus(reader->conn) == PQTRANS_INTRANS; i++)
	{
		int64_t		now = ask(reader->conn, -1, "SELECT es_head()");

		if (now == -1)
			break;
		if (head == -1)
			head = now;
		if (now != head)
		{
			reader->result->broken++;
			fprintf(stderr, "stress: %s: the head of a snapshot moved from %lld to %lld\n", me, (long long) head, (long long) now);
		}
		total += reader_batch(reader, 1 + pick(pick(2) ? 30 : 1000));
		nap_us(pick(3000));
	}
	if (PQtransactionStatus(reader->conn) != PQTRANS_INTRANS || !run_ok(reader->conn, "COMMIT"))
	{
		/* As if nothing had been read. */
		if (PQtransactionStatus(reader->conn) != PQTRANS_IDLE)
			(void) run_ok(reader->conn, "ROLLBACK");
		fseek(reader->file, at, SEEK_SET);
		*reader->result = result;
		reader->cursor = cursor;
		return -1;
	}
	return total;
}

static int
reader_wait(Reader *reader)
{
	char		sql[128];
	char		category[32] = "";
	int64_t		head;

	if (reader->plan->category != NULL)
		snprintf(category, sizeof(category), ", '%s'", reader->plan->category);
	snprintf(sql, sizeof(sql), "SELECT es_wait(%lld, '500 ms'%s)", (long long) reader->cursor, category);
	head = ask(reader->conn, 0, sql);
	if (head != 0)
		reader_expect_head(reader, head, "es_wait");
	return reader_batch(reader, 1000);
}

/* The connection has what NOTIFY sent; wait for it up to a time. */
static int
reader_listen(Reader *reader)
{
	struct pollfd wait = {.fd = PQsocket(reader->conn), .events = POLLIN};
	int			count = 0;
	int64_t		told = 0;
	PGnotify   *notify;

	PQconsumeInput(reader->conn);
	notify = PQnotifies(reader->conn);
	if (notify == NULL)
	{
		/* Where nobody promised to tell, look from time to time. */
		(void) poll(&wait, 1, has_worker && !atomic_load(&shared->final_head) ? 1000 : 50);
		PQconsumeInput(reader->conn);
		notify = PQnotifies(reader->conn);
	}
	for (; notify != NULL; notify = PQnotifies(reader->conn))
	{
		told = atoll(notify->extra);
		PQfreemem(notify);
	}
	if (told != 0)
		reader_expect_head(reader, told, "NOTIFY");
	else if (has_worker && !atomic_load(&shared->final_head))
		return 0;
	do
		count += reader_batch(reader, 1000);
	while (count > 0 && reader->cursor < told && count % 1000 == 0);
	return count;
}

/* What stands in the table at or below the head is all there will ever be. */
static int
reader_table(Reader *reader)
{
	int64_t		head = reader_head(reader);
	int			count;

	if (head <= reader->cursor)
		return 0;
	count = reader_take(reader, run(reader->conn,
									"SELECT position, data->>'t' FROM eventstore.events WHERE position > %lld AND position <= %lld ORDER BY position",
									(long long) reader->cursor, (long long) head));
	if (count >= 0)
		reader->cursor = head;
	return count;
}

/* The same, counted only, as often as the server can. */
static int
reader_burst(Reader *reader)
{
	PGresult   *result = run(reader->conn, "SELECT * FROM stress_burst(%lld, 300)", (long long) reader->cursor);
	int			count;

	if (result == NULL)
		return -1;
	count = PQntuples(result);
	for (int i = 0; i < count; i++)
	{
		int64_t		to = atoll(PQgetvalue(result, i, 0));
		int64_t		events = atoll(PQgetvalue(result, i, 1));

		if (to < reader->cursor)
			reader->result->broken++;
		reader_note(reader, reader->cursor);
		reader_note(reader, to);
		reader_note(reader, events);
		reader->cursor = to;
		reader->result->seen += events;
	}
	reader->result->batches += 300;
	PQclear(result);
	nap_us(pick(10000));
	return count;
}

/* A batch from the head down; the end compares it with what is stored. */
static int
reader_backward(Reader *reader)
{
	int64_t		before = reader_head(reader);
	PGresult   *result = run(reader->conn, "SELECT position FROM es_read_all(0, %d, NULL, true)", 1 + pick(100));
	int64_t		bound = before;
	int			count;

	if (result == NULL)
		return -1;
	count = PQntuples(result);
	if (count > 0 && atoll(PQgetvalue(result, 0, 0)) > bound)
		bound = atoll(PQgetvalue(result, 0, 0));
	reader_note(reader, 0);
	reader_note(reader, bound);
	for (int i = 0; i < count; i++)
		reader_note(reader, atoll(PQgetvalue(result, i, 0)));
	PQclear(result);
	reader->result->seen += count;
	reader->result->batches++;
	if (bound > reader_head(reader))
	{
		reader->result->broken++;
		fprintf(stderr, "stress: %s: read %lld, beyond the head\n", me, (long long) bound);
	}
	nap_us(pick(3000));
	return 0;
}

static int
reader_step(Reader *reader)
{
	switch (reader->plan->kind)
	{
		case READ_COMMITTED:
			return reader_batch(reader, pick(2) ? 1000 : 1 + pick(200));
		case READ_CATEGORY:
		case READ_TYPES:
			return reader_batch(reader, 1000);
		case READ_REPEATABLE:
		case READ_CATEGORY_REPEATABLE:
			return reader_in_snapshot(reader, "BEGIN ISOLATION LEVEL REPEATABLE READ");
		case READ_SERIALIZABLE:
			return reader_in_snapshot(reader, pick(2) ? "BEGIN ISOLATION LEVEL SERIALIZABLE" :
									  "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY");
		case READ_WAIT:
		case READ_WAIT_CATEGORY:
			return reader_wait(reader);
		case READ_LISTEN:
		case READ_LISTEN_CATEGORY:
			return reader_listen(reader);
		case READ_TABLE:
			return reader_table(reader);
		case READ_BURST:
			return reader_burst(reader);
		case READ_BACKWARD:
			return reader_backward(reader);
	}
	return -1;
}

static void
reader_main(int index)
{
	Reader		reader = {
		.plan = &plans[index],
		.result = &shared->readers[index],
		.conn = connect_to(plans[index].standby > 0 ? standbys[plans[index].standby - 1] : conninfo),
		.file = reader_files[index],
		.cursor = start_head
	};
	int64_t		give_up = 0;

	if (reader.plan->kind == READ_LISTEN || reader.plan->kind == READ_LISTEN_CATEGORY)
	{
		PGresult   *result = run(reader.conn, reader.plan->category ? "SELECT es_channel('%s')" : "SELECT es_channel()",
								 reader.plan->category);
		char		sql[128];

		snprintf(sql, sizeof(sql), "LISTEN %s", result ? PQgetvalue(result, 0, 0) : "");
		(void) run_ok(reader.conn, sql);
		PQclear(result);
	}
	/* A standby may not have got to where all begin; what it promises counts from there. */
	while (plans[index].standby > 0 && atomic_load(&shared->final_head) == 0 && ask(reader.conn, 0, "SELECT es_head()") < start_head)
		nap_us(10000);
	for (;;)
	{
		/* A standby is not told of positions that were rolled back behind the last event. */
		int64_t		over = atomic_load(&shared->final_head);
		int64_t		end = over == 0 || plans[index].standby == 0 ? over : atomic_load(&shared->final_event);
		bool		is_last = end != 0 && ask(reader.conn, 0, "SELECT es_head()") >= end;
		int			count = reader_step(&reader);

		if (is_last && count == 0)
			break;
		if (end != 0 && give_up == 0)
			give_up = now_us() + DRAIN_SECONDS * INT64_C(1000000);
		if (give_up != 0 && now_us() > give_up)
		{
			fail("did not get to the end, %lld; the head is %lld", (long long) end, (long long) ask(reader.conn, 0, "SELECT es_head()"));
			return;
		}
		if (PQstatus(reader.conn) != CONNECTION_OK)
			PQreset(reader.conn);
		if (count <= 0)
			nap_us(pick(3000));
	}
	reader.result->is_done = 1;
	fflush(reader.file);
	PQfinish(reader.conn);
}

/* ----------------------------------------------------------------------
 * Comparing
 * ----------------------------------------------------------------------
 */

typedef struct Truth
{
	int			count;
	int64_t    *position;
	char	  (*category)[8];
	char	   *type;
} Truth;

static Truth
load_truth(PGconn *conn)
{
	PGresult   *result = run(conn, "SELECT position, category, type FROM eventstore.events "
							 "WHERE position > %lld ORDER BY position", (long long) start_head);
	Truth		truth = {0};

	if (result == NULL)
		exit(2);
	truth.count = PQntuples(result);
	truth.position = malloc(sizeof(int64_t) * (truth.count + 1));
	truth.category = calloc(truth.count + 1, sizeof(*truth.category));
	truth.type = malloc(truth.count + 1);
	for (int i = 0; i < truth.count; i++)
	{
		truth.position[i] = atoll(PQgetvalue(result, i, 0));
		snprintf(truth.category[i], sizeof(truth.category[i]), "%.7s", PQgetvalue(result, i, 1));
		truth.type[i] = PQgetvalue(result, i, 2)[0];
	}
	PQclear(result);
	return truth;
}

static bool
is_for(const Truth *truth, int i, const ReaderPlan *plan)
{
	return (plan->category == NULL || strcmp(truth->category[i], plan->category) == 0) &&
		(!plan->has_types || truth->type[i] != 'B');
}

typedef struct Count
{
	long		skipped;
	long		doubled;
	long		phantoms;		/* seen, but not committed */
} Count;

static int64_t *
load_seen(int index, size_t *count)
{
	FILE	   *file = reader_files[index];
	size_t		size;
	int64_t    *seen;

	fseek(file, 0, SEEK_END);
	size = ftell(file);
	rewind(file);
	seen = malloc(size + 1);
	*count = fread(seen, sizeof(int64_t), size / sizeof(int64_t), file);
	return seen;
}

static int
compare_positions(const void *a, const void *b)
{
	int64_t		left = *(const int64_t *) a;
	int64_t		right = *(const int64_t *) b;

	return (left > right) - (left < right);
}

static Count
compare_tail(const Truth *truth, int index)
{
	Count		count = {0};
	size_t		seen_count;
	int64_t    *seen = load_seen(index, &seen_count);
	size_t		at = 0;

	/* A reader in a snapshot that failed has written beyond; its cursor tells how far. */
	if (seen_count > (size_t) shared->readers[index].seen)
		seen_count = shared->readers[index].seen;
	qsort(seen, seen_count, sizeof(int64_t), compare_positions);
	for (int i = 0; i < truth->count; i++)
	{
		if (!is_for(truth, i, &plans[index]))
			continue;
		for (; at < seen_count && seen[at] < truth->position[i]; at++)
			count.phantoms++;
		if (at == seen_count || seen[at] != truth->position[i])
		{
			if (count.skipped++ < 3)
				fprintf(stderr, "stress: %s: position %lld was skipped\n", plans[index].name, (long long) truth->position[i]);
			continue;
		}
		for (at++; at < seen_count && seen[at] == truth->position[i]; at++)
			count.doubled++;
	}
	count.phantoms += seen_count - at;
	free(seen);
	return count;
}

/* Events in truth at or below a position. */
static int
count_up_to(const Truth *truth, int64_t position)
{
	int			low = 0;

	for (int high = truth->count; low < high;)
	{
		int			middle = (low + high) / 2;

		if (truth->position[middle] <= position)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Each count has to be that of the range. */
static Count
compare_burst(const Truth *truth, int index)
{
	Count		count = {0};
	size_t		seen_count;
	int64_t    *seen = load_seen(index, &seen_count);

	for (size_t at = 0; at + 2 < seen_count; at += 3)
	{
		long		missing = count_up_to(truth, seen[at + 1]) - count_up_to(truth, seen[at]) - seen[at + 2];

		if (missing != 0)
			fprintf(stderr, "stress: %s: %ld events missing after %lld up to %lld, %lld counted\n", plans[index].name, missing,
					(long long) seen[at], (long long) seen[at + 1], (long long) seen[at + 2]);
		count.skipped += missing > 0 ? missing : 0;
		count.phantoms += missing < 0 ? -missing : 0;
	}
	free(seen);
	return count;
}

/* Each batch has to be the last events at or below its bound. */
static Count
compare_backward(const Truth *truth, int index)
{
	Count		count = {0};
	size_t		seen_count;
	int64_t    *seen = load_seen(index, &seen_count);
	size_t		at = 0;

	while (at + 1 < seen_count)
	{
		int64_t		bound = seen[at + 1];
		int			i = count_up_to(truth, bound) - 1;	/* the last of them */

		for (at += 2; at < seen_count && seen[at] != 0; at++)
		{
			if (seen[at] <= start_head)
				continue;
			while (i >= 0 && truth->position[i] > seen[at])
			{
				count.skipped++;
				i--;
			}
			if (i < 0 || truth->position[i] != seen[at])
				count.phantoms++;
			else
				i--;
		}
	}
	free(seen);
	return count;
}

/* Order along the streams, dense versions: of what is stored. */
static long
count_unsound(PGconn *conn)
{
	PGresult   *result = run(conn,
			   "SELECT count(*) FROM (SELECT version, lag(version) OVER w AS before, position, lag(position) OVER w AS position_before "
			   "FROM eventstore.events WHERE position > %lld WINDOW w AS (PARTITION BY stream ORDER BY version)) e "
			   "WHERE version <> before + 1 OR position <= position_before", (long long) start_head);
	long		count = result == NULL ? -1 : atol(PQgetvalue(result, 0, 0));

	PQclear(result);
	return count;
}

static bool
report(PGconn *conn, double elapsed)
{
	Truth		truth = load_truth(conn);
	long long	longest = atomic_load(&shared->longest_us);
	int64_t		stall = 0;
	long		wrong = atomic_load(failures);
	long		unsound = count_unsound(conn);

	printf("%-24s %9s %9s %8s %8s %8s %8s %8s %9s\n", "reader", "events", "reads", "skipped", "doubled", "disorder",
		   "phantom", "broken", "stall ms");
	for (int i = 0; i < PLANS; i++)
	{
		const ReaderResult *result = &shared->readers[i];
		Count		count;

		if (plans[i].standby > standby_count)
			continue;
		count = plans[i].kind == READ_BACKWARD ? compare_backward(&truth, i) :
			plans[i].kind == READ_BURST ? compare_burst(&truth, i) : compare_tail(&truth, i);
		printf("%-24s %9ld %9ld %8ld %8ld %8ld %8ld %8ld %9.1f%s%s\n", plans[i].name, result->seen, result->batches,
			   count.skipped, count.doubled, result->disorder, count.phantoms, result->broken,
			   result->stall_us / 1000.0, plans[i].is_tailing ? "" : " -", result->is_done ? "" : " (did not end)");
		wrong += count.skipped + count.doubled + result->disorder + count.phantoms + result->broken + !result->is_done;
		if (plans[i].is_tailing && result->stall_us > stall)
			stall = result->stall_us;
	}
	printf("\n%d events stored, %ld acknowledged; %ld commits, %ld rollbacks, %ld of them conflicts; %.0f events/s for %.0f s\n",
		   truth.count, atomic_load(&shared->committed), atomic_load(&shared->commits),
		   atomic_load(&shared->rollbacks), atomic_load(&shared->conflicts), truth.count / elapsed, elapsed);
	printf("longest stall of a tailing reader %.1f ms, longest open append %.1f ms; unsound rows %ld, errors %ld, seed %u\n",
		   stall / 1000.0, longest / 1000.0, unsound, atomic_load(failures), seed);
	if (truth.count != atomic_load(&shared->committed) || unsound != 0 || truth.count == 0)
		wrong++;
	if (stall > longest + stall_ms * INT64_C(1000))
	{
		printf("the stall is longer than the longest open append and %d ms\n", stall_ms);
		wrong++;
	}
	printf("%s\n", wrong == 0 ? "ok" : "FAILED");
	return wrong == 0;
}

/* ----------------------------------------------------------------------
 * All together
 * ----------------------------------------------------------------------
 */

static void
finish(pid_t *pids, int count, const char *what)
{
	for (int i = 0; i < count; i++)
	{
		int			status;

		waitpid(pids[i], &status, 0);
		if (status != 0)
			fail("%s %d ended with status %d", what, i, status);
	}
}

/* A standby's readers begin when it has what was set up. */
static void
await_standby(const char *standby)
{
	PGconn	   *conn = connect_to(standby);

	for (int i = 0; i < 600; i++)
	{
		if (ask(conn, 0, "SELECT count(*) FROM pg_proc WHERE proname = 'stress_burst'") == 1)
			break;
		nap_us(50000);
	}
	PQfinish(conn);
}

static void
set_up(PGconn *conn)
{
	char		elsewhere[1024];
	PGconn	   *other;

	(void) run_ok(conn, "CREATE EXTENSION IF NOT EXISTS eventstore");
	(void) run_ok(conn, "CREATE TABLE IF NOT EXISTS stress_stranger (n int)");
	if (ask(conn, 0, "SELECT count(*) FROM pg_database WHERE datname = 'stress_stranger'") == 0)
		(void) run_ok(conn, "CREATE DATABASE stress_stranger");
	(void) run_ok(conn,
				  "CREATE OR REPLACE FUNCTION stress_burst(after bigint, times int) RETURNS TABLE (head bigint, events bigint) LANGUAGE plpgsql AS $$ "
				  "BEGIN FOR i IN 1 .. times LOOP "
				  "head := es_head(); CONTINUE WHEN head = after; "
				  "events := (SELECT count(*) FROM eventstore.events e WHERE e.position > after AND e.position <= head); "
				  "after := head; RETURN NEXT; END LOOP; END $$");
	snprintf(elsewhere, sizeof(elsewhere), "%s dbname=stress_stranger", conninfo);
	other = connect_to(elsewhere);
	(void) run_ok(other, "CREATE TABLE IF NOT EXISTS stress_stranger (n int)");
	PQfinish(other);
	start_head = ask(conn, 0, "SELECT es_head()");
	for (int i = 0; i < standby_count; i++)
		await_standby(standbys[i]);
}

static void
get_options(int argc, char **argv)
{
	int			option;

	while ((option = getopt(argc, argv, "s:w:r:l:S:W")) != -1)
	{
		switch (option)
		{
			case 's':
				seconds = atoi(optarg);
				break;
			case 'w':
				writers = atoi(optarg);
				break;
			case 'r':
				seed = atoi(optarg);
				break;
			case 'l':
				stall_ms = atoi(optarg);
				break;
			case 'S':
				if (standby_count < 2)
					standbys[standby_count++] = optarg;
				break;
			case 'W':
				has_worker = true;
				break;
			default:
				fprintf(stderr, "usage: stress [-s seconds] [-w writers] [-r seed] [-l stall_ms] [-S standby [-S standby]] [-W] [conninfo]\n");
				exit(2);
		}
	}
	if (optind < argc)
		conninfo = argv[optind];
	if (writers < 1 || writers > MAX_WRITERS || seconds < 1)
		exit(2);
}

int
main(int argc, char **argv)
{
	pid_t		writer_pids[MAX_WRITERS];
	pid_t		reader_pids[MAX_READERS];
	pid_t		stranger_pids[3];
	pid_t		finisher_pid;
	int			reader_count = 0;
	int64_t		begun;
	double		elapsed;
	PGconn	   *conn;

	crew_begin();
	seed = (unsigned) getpid();
	get_options(argc, argv);
	parent = getpid();
	shared = crew_share(sizeof(Shared));
	conn = connect_to(conninfo);
	set_up(conn);
	PQfinish(conn);

	for (int i = 0; i < PLANS; i++)
	{
		if (plans[i].standby > standby_count)
			continue;
		reader_files[i] = tmpfile();
		reader_pids[reader_count++] = crew_start(plans[i].name, reader_main, i);
	}
	begun = now_us();
	for (int i = 0; i < 3; i++)
		stranger_pids[i] = crew_start("stranger", stranger_main, i);
	finisher_pid = crew_start("finisher", finisher_main, 0);
	for (int i = 0; i < writers; i++)
		writer_pids[i] = crew_start("writer", writer_main, i);

	sleep(seconds);
	atomic_store(&shared->is_over, 1);
	finish(writer_pids, writers, "writer");
	atomic_store(&shared->is_over, 2);
	finish(&finisher_pid, 1, "finisher");
	elapsed = (now_us() - begun) / 1e6;
	finish(stranger_pids, 3, "stranger");
	conn = connect_to(conninfo);
	atomic_store(&shared->final_event, ask(conn, 0, "SELECT max(position) FROM eventstore.events"));
	atomic_store(&shared->final_head, ask(conn, -1, "SELECT es_head()"));
	finish(reader_pids, reader_count, "reader");
	if (atomic_load(&shared->final_head) < atomic_load(&shared->final_event))
		fail("the head is below the last event, and nothing is in flight");
	return report(conn, elapsed) ? 0 : 1;
}
