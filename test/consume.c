/*-------------------------------------------------------------------------
 *
 * consume.c
 *		Tries to make the consumers of a subscription lose an event, work on
 *		one twice, or in the wrong order.
 *
 * Writers append, and roll back.  Consumers come and go, by changing names;
 * fetch and acknowledge in one transaction or in two, at every isolation
 * level; roll back, stall until their lease has ended, lose their connection,
 * acknowledge a part, have events delivered again.  A manager changes the
 * number of partitions.  The effect of an event is a row whose key is the
 * position, written in the transaction that acknowledges it.
 *
 *	 consume [-s seconds] [-c consumers] [-w writers] [-r seed] [conninfo]
 *
 * Exit status: 0 if every event had its effect once, along each stream in the
 * order of versions.
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include <libpq-fe.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STREAMS			30
#define LEASE_MS		300
#define DRAIN_SECONDS	60
#define MAX_BATCH		40

typedef struct Shared
{
	atomic_int	is_over;		/* no more appends */
	atomic_int	is_drained;		/* all effects are there */
	atomic_long failures;		/* errors that must not be */
	atomic_long acks;
	atomic_long lost;			/* leases: SE005 */
	atomic_long nacks;
	atomic_long stalls;
	atomic_long aborts;
	atomic_long conflicts;
} Shared;

static Shared *shared;
static const char *conninfo = "";
static int	seconds = 20;
static int	consumers = 6;
static int	writers = 3;
static unsigned seed = 1;
static const char *me = "main";
static char sqlstate[6];

static int
pick(int below)
{
	return (int) (random() % below);
}

static int64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void
fail(const char *format,...)
{
	va_list		args;
	char		text[2048];

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (atomic_fetch_add(&shared->failures, 1) < 20)
		fprintf(stderr, "consume: %s: %s\n", me, text);
}

static PGconn *
connect_anew(void)
{
	for (int tries = 0;; tries++)
	{
		PGconn	   *conn = PQconnectdb(conninfo);

		if (PQstatus(conn) == CONNECTION_OK)
		{
			PQclear(PQexec(conn, "SET client_min_messages = error"));
			return conn;
		}
		if (tries == 50)
		{
			fail("cannot connect: %s", PQerrorMessage(conn));
			exit(2);
		}
		PQfinish(conn);
		usleep(100000);
	}
}

/* NULL on error, which is then in sqlstate. */
static PGresult *
run(PGconn *conn, const char *format,...)
{
	static char sql[65536];
	va_list		args;
	PGresult   *result;
	const char *code;

	va_start(args, format);
	vsnprintf(sql, sizeof(sql), format, args);
	va_end(args);
	result = PQexec(conn, sql);
	if (PQresultStatus(result) == PGRES_TUPLES_OK || PQresultStatus(result) == PGRES_COMMAND_OK)
		return result;
	code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	snprintf(sqlstate, sizeof(sqlstate), "%s", code ? code : "08000");
	if (strcmp(sqlstate, "SE005") == 0)
		atomic_fetch_add(&shared->lost, 1);
	else if (strcmp(sqlstate, "23505") == 0)
		;						/* see apply */
	else if (strcmp(sqlstate, "40001") == 0)
		atomic_fetch_add(&shared->conflicts, 1);
	else
		fail("%s %.300s: %s", sqlstate, sql, PQerrorMessage(conn));
	PQclear(result);
	return NULL;
}

static bool
run_ok(PGconn *conn, const char *sql)
{
	PGresult   *result = run(conn, "%s", sql);

	PQclear(result);
	return result != NULL;
}

static long
ask(PGconn *conn, const char *sql)
{
	PGresult   *result = run(conn, "%s", sql);
	long		number = result != NULL && PQntuples(result) > 0 ? atol(PQgetvalue(result, 0, 0)) : -1;

	PQclear(result);
	return number;
}

static void
write_events(int index)
{
	PGconn	   *conn = connect_anew();

	srandom(seed * 1000 + index);
	while (!atomic_load(&shared->is_over))
	{
		int			calls = 1 + pick(3);

		run_ok(conn, "BEGIN");
		for (int i = 0; i < calls; i++)
			PQclear(run(conn, "SELECT es_append('%s-%02d', -1, '%s', '{}') FROM generate_series(1, %d)",
						pick(4) ? "work" : "other", i * (STREAMS / 3) + pick(STREAMS / 3),
						pick(5) ? "A" : "B", 1 + pick(4)));
		usleep(pick(20) ? pick(3000) : pick(100000));
		run_ok(conn, pick(8) ? "COMMIT" : "ROLLBACK");
		usleep(pick(20000));
	}
	PQfinish(conn);
}

typedef struct Batch
{
	int			count;
	char		token[32];
	char		position[MAX_BATCH][32];
	char		stream[MAX_BATCH][32];
} Batch;

/* Returns false if the connection or transaction is to be begun anew. */
static bool
fetch(PGconn *conn, const char *name, Batch *batch)
{
	PGresult   *result = run(conn, "SELECT position, stream, token, attempt FROM es_fetch('work', '%s', %d, '%d ms')",
							 name, 1 + pick(MAX_BATCH), pick(3) ? 0 : pick(200));

	if (result == NULL)
		return false;
	batch->count = PQntuples(result);
	for (int i = 0; i < batch->count; i++)
	{
		snprintf(batch->position[i], 32, "%s", PQgetvalue(result, i, 0));
		snprintf(batch->stream[i], 32, "%s", PQgetvalue(result, i, 1));
		snprintf(batch->token, 32, "%s", PQgetvalue(result, i, 2));
		if (i > 0 && atol(batch->position[i]) <= atol(batch->position[i - 1]))
			fail("position %s after %s", batch->position[i], batch->position[i - 1]);
	}
	PQclear(result);
	return true;
}

/* Have one event delivered again; it and later ones of its stream have no effect now. */
static bool
nack(PGconn *conn, const Batch *batch, int upto, int *nacked)
{
	PGresult   *result;

	*nacked = pick(6) == 0 ? pick(upto) : -1;
	if (*nacked < 0)
		return true;
	result = run(conn, "SELECT es_nack('work', %s, %s, 'no', 'retry', '%d ms')", batch->token, batch->position[*nacked], pick(30));
	PQclear(result);
	atomic_fetch_add(&shared->nacks, result != NULL);
	return result != NULL;
}

/*
 * The effects.  If one of them is there already, the lease has been lost, and
 * the ack must say so.
 */
static bool
apply(PGconn *conn, const Batch *batch, int upto, int nacked)
{
	char		positions[MAX_BATCH * 32] = "";
	PGresult   *result;

	for (int i = 0; i < upto; i++)
	{
		if (nacked >= 0 && i >= nacked && strcmp(batch->stream[i], batch->stream[nacked]) == 0)
			continue;
		strcat(strcat(positions, *positions ? "," : ""), batch->position[i]);
	}
	run_ok(conn, "SAVEPOINT effects");
	result = run(conn, "INSERT INTO effects SELECT position, stream, version FROM eventstore.events "
				 "WHERE position = ANY ('{%s}') ORDER BY position", positions);
	PQclear(result);
	if (result == NULL && strcmp(sqlstate, "23505") == 0)
	{
		run_ok(conn, "ROLLBACK TO effects");
		result = run(conn, "SELECT es_ack('work', %s, %s)", batch->token, batch->position[upto - 1]);
		if (result != NULL)
			fail("an effect of %s is there, but token %s is good", positions, batch->token);
		PQclear(result);
		return false;
	}
	return result != NULL;
}

static bool
ack(PGconn *conn, const Batch *batch, int upto)
{
	PGresult   *result = run(conn, "SELECT es_ack('work', %s, %s)", batch->token, batch->position[upto - 1]);

	PQclear(result);
	atomic_fetch_add(&shared->acks, result != NULL);
	return result != NULL;
}

static void
stall(void)
{
	int			dice = pick(100);

	if (atomic_load(&shared->is_over))
		return;
	if (dice < 4)
	{
		atomic_fetch_add(&shared->stalls, 1);
		usleep(1000 * (LEASE_MS / 2 + pick(LEASE_MS * 2)));
	}
	else if (dice < 40)
		usleep(pick(10000));
}

static const char *const begin[] = {"BEGIN", "BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ", "BEGIN ISOLATION LEVEL SERIALIZABLE"};

/* One delivery: in one transaction, or fetched in one and acknowledged in another. */
static bool
consume_once(PGconn *conn, const char *name)
{
	bool		is_exact = pick(2) == 0;
	Batch		batch;
	int			upto;
	int			nacked;

	if (is_exact)
		run_ok(conn, begin[pick(4)]);
	if (!fetch(conn, name, &batch))
		return false;
	stall();
	if (batch.count == 0)
		return !is_exact || run_ok(conn, pick(10) ? "COMMIT" : "ROLLBACK");
	if (!is_exact)
		run_ok(conn, begin[pick(2)]);
	upto = pick(3) ? batch.count : 1 + pick(batch.count);
	if (!nack(conn, &batch, upto, &nacked) || !apply(conn, &batch, upto, nacked) || !ack(conn, &batch, upto))
		return false;
	stall();
	if (pick(10) == 0)
	{
		atomic_fetch_add(&shared->aborts, 1);
		return false;
	}
	return run_ok(conn, "COMMIT");
}

static void
consume(int index)
{
	PGconn	   *conn = connect_anew();
	char		name[32];
	int			number = 0;

	srandom(seed * 2000 + index);
	snprintf(name, sizeof(name), "c%d", index);
	while (!atomic_load(&shared->is_drained))
	{
		if (!consume_once(conn, name))
		{
			/* What fails is rolled back, or its connection is lost. */
			if (pick(5) == 0)
			{
				PQfinish(conn);
				conn = connect_anew();
			}
			else
				run_ok(conn, "ROLLBACK");
		}
		if (pick(60) == 0)
		{
			PQclear(run(conn, "SELECT es_release('work', '%s')", name));
			snprintf(name, sizeof(name), "c%d-%d", index, ++number);
		}
		else if (pick(200) == 0)
			snprintf(name, sizeof(name), "c%d", pick(consumers));	/* somebody else's */
	}
	PQfinish(conn);
}

static void
manage(int index)
{
	PGconn	   *conn = connect_anew();

	srandom(seed * 3000 + index);
	while (!atomic_load(&shared->is_over))
	{
		usleep(100000 + pick(400000));
		PQclear(run(conn, "SELECT es_alter_subscription('work', %d)", 1 + pick(20)));
		PQclear(run(conn, "SELECT count(*) FROM eventstore.subscription_status"));
	}
	PQfinish(conn);
}

static pid_t
start(const char *name, void (*body) (int), int index)
{
	pid_t		pid = fork();

	if (pid != 0)
		return pid;
	me = name;
	body(index);
	fflush(NULL);
	_exit(0);
}

static void
set_up(void)
{
	PGconn	   *conn = connect_anew();

	run_ok(conn, "CREATE EXTENSION IF NOT EXISTS eventstore");
	run_ok(conn, "DROP TABLE IF EXISTS effects");
	run_ok(conn, "CREATE TABLE effects (position bigint PRIMARY KEY, stream text, version bigint, nr bigserial)");
	PQclear(run(conn, "SELECT es_drop_subscription(name) FROM eventstore.subscriptions WHERE name = 'work'"));
	PQclear(run(conn, "SELECT es_create_subscription('work', 'work', '{A}', -1, 8, 1000000, '%d ms')", LEASE_MS));
	PQclear(run(conn, "CREATE OR REPLACE VIEW expected AS SELECT position, stream, version FROM eventstore.events "
				"WHERE category = 'work' AND type = 'A' AND position > %ld", ask(conn, "SELECT es_head()")));
	PQfinish(conn);
}

static void
check(void)
{
	PGconn	   *conn = connect_anew();
	int64_t		until = now_ms() + DRAIN_SECONDS * 1000;
	long		expected = ask(conn, "SELECT count(*) FROM expected");
	long		wrong;

	while (ask(conn, "SELECT count(*) FROM effects") < expected && now_ms() < until)
		usleep(100000);
	sleep(1);					/* for what comes twice */
	atomic_store(&shared->is_drained, 1);
	wrong = ask(conn, "SELECT count(*) FROM expected FULL JOIN effects USING (position, stream, version) WHERE effects.nr IS NULL OR expected.position IS NULL");
	if (wrong != 0)
		fail("%ld events have no effect, or there is an effect of none", wrong);
	wrong = ask(conn, "SELECT count(*) FROM (SELECT nr < lag(nr) OVER (PARTITION BY stream ORDER BY version) AS is_wrong FROM effects) e WHERE is_wrong");
	if (wrong != 0)
		fail("%ld effects are out of order", wrong);
	wrong = ask(conn, "SELECT count(*) FROM eventstore.parked");
	if (wrong != 0)
		fail("%ld events are parked", wrong);
	printf("%ld events, %ld acks, %ld nacks, %ld stalls, %ld rolled back, %ld leases lost, %ld conflicts, %ld failures\n", expected,
		   atomic_load(&shared->acks), atomic_load(&shared->nacks), atomic_load(&shared->stalls), atomic_load(&shared->aborts),
		   atomic_load(&shared->lost), atomic_load(&shared->conflicts), atomic_load(&shared->failures));
	if (expected == 0 || atomic_load(&shared->acks) == 0)
		fail("nothing was done");
	PQfinish(conn);
}

int
main(int argc, char **argv)
{
	int			option;

	while ((option = getopt(argc, argv, "s:c:w:r:")) != -1)
	{
		switch (option)
		{
			case 's':
				seconds = atoi(optarg);
				break;
			case 'c':
				consumers = atoi(optarg);
				break;
			case 'w':
				writers = atoi(optarg);
				break;
			case 'r':
				seed = (unsigned) atoi(optarg);
				break;
			default:
				return 2;
		}
	}
	if (optind < argc)
		conninfo = argv[optind];
	shared = mmap(NULL, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return 2;
	set_up();
	for (int i = 0; i < consumers; i++)
		start("consumer", consume, i);
	start("manager", manage, 0);
	for (int i = 0; i < writers; i++)
		start("writer", write_events, i);
	sleep((unsigned) seconds);
	atomic_store(&shared->is_over, 1);
	usleep(500000);
	check();
	while (wait(NULL) > 0)
		;
	return atomic_load(&shared->failures) == 0 ? 0 : 1;
}
