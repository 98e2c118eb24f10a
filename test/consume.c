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
#include "crew.h"

#define STREAMS			30
#define LEASE_MS		300
#define PATIENCE_SECONDS 30
#define MAX_BATCH		40
#define MAX_WRITERS		100

typedef struct Shared
{
	atomic_int	is_over;		/* no more appends */
	atomic_int	is_drained;		/* all effects are there */
	atomic_long acks;
	atomic_long lost;			/* leases: SE005 */
	atomic_long nacks;
	atomic_long stalls;
	atomic_long aborts;
	atomic_long conflicts;
} Shared;

static Shared *shared;
static int	seconds = 20;
static int	consumers = 6;
static int	writers = 3;

static bool
crew_expects(void)
{
	if (strcmp(sqlstate, "SE005") == 0)
		atomic_fetch_add(&shared->lost, 1);
	else if (strcmp(sqlstate, "40001") == 0)
		atomic_fetch_add(&shared->conflicts, 1);
	else
		return strcmp(sqlstate, "23505") == 0;	/* see apply */
	return true;
}

static void
write_events(int index)
{
	PGconn	   *conn = connect_to(conninfo);

	(void) index;
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
	PGconn	   *conn = connect_to(conninfo);
	char		name[32];
	int			number = 0;

	snprintf(name, sizeof(name), "c%d", index);
	while (!atomic_load(&shared->is_drained))
	{
		if (!consume_once(conn, name))
		{
			/* What fails is rolled back, or its connection is lost. */
			if (pick(5) == 0)
			{
				PQfinish(conn);
				conn = connect_to(conninfo);
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
	PGconn	   *conn = connect_to(conninfo);

	(void) index;
	while (!atomic_load(&shared->is_over))
	{
		usleep(100000 + pick(400000));
		PQclear(run(conn, "SELECT es_alter_subscription('work', %d)", 1 + pick(20)));
		PQclear(run(conn, "SELECT count(*) FROM eventstore.subscription_status"));
	}
	PQfinish(conn);
}

static void
set_up(void)
{
	PGconn	   *conn = connect_to(conninfo);

	run_ok(conn, "CREATE EXTENSION IF NOT EXISTS eventstore");
	run_ok(conn, "DROP TABLE IF EXISTS effects");
	run_ok(conn, "CREATE TABLE effects (position bigint PRIMARY KEY, stream text, version bigint, nr bigserial)");
	PQclear(run(conn, "SELECT es_drop_subscription(name) FROM eventstore.subscriptions WHERE name = 'work'"));
	PQclear(run(conn, "SELECT es_create_subscription('work', 'work', '{A}', -1, 8, 1000000, '%d ms')", LEASE_MS));
	PQclear(run(conn, "CREATE OR REPLACE VIEW expected AS SELECT position, stream, version FROM eventstore.events "
				"WHERE category = 'work' AND type = 'A' AND position > %ld", ask(conn, -1, "SELECT es_head()")));
	PQfinish(conn);
}

/*
 * Wait until all effects are there, or no more come: how long that takes is
 * the machine's affair.  Returns the seconds.
 */
static double
drain(PGconn *conn, long expected)
{
	int64_t		begun = now_us();
	int64_t		moved = begun;
	long		before = -1;
	long		effects;

	while ((effects = ask(conn, -1, "SELECT count(*) FROM effects")) < expected && now_us() < moved + PATIENCE_SECONDS * INT64_C(1000000))
	{
		if (effects > before)
			moved = now_us();
		before = effects;
		usleep(100000);
	}
	return (double) (now_us() - begun) / 1000000;
}

/* Fail if a query finds any positions, and tell the first ones. */
static void
check_none(PGconn *conn, const char *what, const char *sql)
{
	PGresult   *result = run(conn, "SELECT count(*), (array_agg(position))[:5] FROM (%s) q", sql);

	if (result != NULL && strcmp(PQgetvalue(result, 0, 0), "0") != 0)
		fail("%s events %s: %s", PQgetvalue(result, 0, 0), what, PQgetvalue(result, 0, 1));
	PQclear(result);
}

/* Nobody appends any more. */
static void
check(void)
{
	PGconn	   *conn = connect_to(conninfo);
	long		expected = ask(conn, -1, "SELECT count(*) FROM expected");
	double		drained = drain(conn, expected);

	sleep(1);					/* for what comes twice */
	atomic_store(&shared->is_drained, 1);
	check_none(conn, "have no effect, or there is an effect of none",
			   "SELECT position FROM expected FULL JOIN effects USING (position, stream, version) "
			   "WHERE effects.nr IS NULL OR expected.position IS NULL ORDER BY position");
	check_none(conn, "have their effect out of order",
			   "SELECT position FROM (SELECT position, nr < lag(nr) OVER (PARTITION BY stream ORDER BY version) AS is_wrong FROM effects) e "
			   "WHERE is_wrong ORDER BY position");
	check_none(conn, "are parked", "SELECT position FROM eventstore.parked ORDER BY position");
	printf("%ld events, %ld acks, %ld nacks, %ld stalls, %ld rolled back, %ld leases lost, %ld conflicts, %ld failures, drained after %.1f s\n", expected,
		   atomic_load(&shared->acks), atomic_load(&shared->nacks), atomic_load(&shared->stalls), atomic_load(&shared->aborts),
		   atomic_load(&shared->lost), atomic_load(&shared->conflicts), atomic_load(failures), drained);
	if (expected == 0 || atomic_load(&shared->acks) == 0)
		fail("nothing was done");
	PQfinish(conn);
}

int
main(int argc, char **argv)
{
	pid_t		writing[MAX_WRITERS];
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
				if (writers > MAX_WRITERS)
					return 2;
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
	crew_begin();
	shared = crew_share(sizeof(Shared));
	set_up();
	for (int i = 0; i < consumers; i++)
		crew_start("consumer", consume, i);
	crew_start("manager", manage, 0);
	for (int i = 0; i < writers; i++)
		writing[i] = crew_start("writer", write_events, i);
	sleep((unsigned) seconds);
	atomic_store(&shared->is_over, 1);
	for (int i = 0; i < writers; i++)
		waitpid(writing[i], NULL, 0);
	check();
	while (wait(NULL) > 0)
		;
	return atomic_load(failures) == 0 ? 0 : 1;
}
