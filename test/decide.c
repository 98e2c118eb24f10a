/*-------------------------------------------------------------------------
 *
 * decide.c
 *		Tries to break what only conditional appends protect.
 *
 * Deciders read by a query, decide, and append on the condition that nothing
 * has come in between: names that are taken once, seats of courses and courses
 * of students, accounts that are not overdrawn in pairs, numbers without gaps.
 * They do so alone and several times in a transaction, with savepoints,
 * rollbacks and prepared transactions, at every isolation level, and are killed
 * meanwhile.  Others append by the ordinary verbs, what matches and what does
 * not.  At the end each invariant is checked at every position, and for each
 * conditional append that nothing matches between its after_position and
 * itself, by plain SQL.
 *
 *	 decide [-s seconds] [-d deciders] [-r seed] [conninfo]
 *
 * Exit status: 0 if nothing was wrong.
 *
 *-------------------------------------------------------------------------
 */
#include "crew.h"

#define NAMES		20
#define COURSES		8
#define SEATS		3
#define STUDENTS	12
#define ENROLMENTS	2
#define PAIRS		4
#define SERIES		5

/* A prepared transaction, which another process ends. */
typedef struct Prepared
{
	atomic_int	is_full;
	char		gid[64];
} Prepared;

#define MAX_DECIDERS 64

typedef struct Shared
{
	atomic_int	is_over;
	atomic_long decisions;		/* that were appended, committed or not */
	atomic_long refused;		/* SE004 */
	atomic_long conflicts;		/* 40001 */
	atomic_long deadlocks;		/* 40P01 */
	atomic_long kills;
	Prepared	prepared[MAX_DECIDERS];
} Shared;

static Shared *shared;
static int	seconds = 30;
static int	deciders = 8;
static pid_t parent;

static bool
crew_expects(void)
{
	if (strcmp(sqlstate, "SE004") == 0)
		atomic_fetch_add(&shared->refused, 1);
	else if (strcmp(sqlstate, "40001") == 0)
		atomic_fetch_add(&shared->conflicts, 1);
	else if (strcmp(sqlstate, "40P01") == 0)
		atomic_fetch_add(&shared->deadlocks, 1);
	else
		/* Killed, or with the server; and what comes after an error in a transaction. */
		return strncmp(sqlstate, "57P0", 4) == 0 || strncmp(sqlstate, "08", 2) == 0 || strcmp(sqlstate, "25P02") == 0;
	return true;
}

/* ----------------------------------------------------------------------
 * Decisions
 * ----------------------------------------------------------------------
 */

/* What is known of the past: by the query, and up to which position. */
typedef struct Past
{
	char		query[512];
	int64_t		after;
	int64_t		numbers[3];		/* what the caller asked to be computed */
} Past;

/*
 * Read by the query what comes after a position; folds: SQL of up to three numbers
 * over the events, whose effect on a sum is n.
 */
static bool
read_past(PGconn *conn, Past *past, int64_t after, const char *folds)
{
	int64_t		head = ask(conn, -1, "SELECT es_head()");
	PGresult   *result;

	if (head < 0)
		return false;
	result = run(conn, "SELECT coalesce(max(position), 0), %s FROM (SELECT *, (data ->> 'n')::bigint AS n FROM es_read_query('%s', %lld, NULL)) e",
				 folds, past->query, (long long) after);
	if (result == NULL)
		return false;
	past->after = atoll(PQgetvalue(result, 0, 0));
	if (past->after < head)
		past->after = head;
	if (past->after < after)
		past->after = after;	/* an older snapshot's head */
	for (int i = 0; i < PQnfields(result) - 1; i++)
		past->numbers[i] = atoll(PQgetvalue(result, 0, i + 1));
	PQclear(result);
	return true;
}

/* Append on the condition that nothing of the past has changed. */
static bool
append_if(PGconn *conn, const Past *past, const char *stream, const char *type, const char *tags, int64_t number)
{
	PGresult   *result;
	const char *more = pick(6) == 0 ? ", {\"type\": \"More\", \"tags\": [\"more\"]}" : "";

	if (pick(3) == 0)
		usleep(pick(2000));
	result = run(conn, "SELECT es_append_if('%s-%d', '[{\"type\": \"%s\", \"tags\": [%s], \"data\": {\"n\": %lld, \"after\": %lld, \"query\": %s}}%s]', '%s', %lld)",
				 stream, pick(5), type, tags, (long long) number, (long long) past->after, past->query, more, past->query, (long long) past->after);
	PQclear(result);
	if (result != NULL)
		atomic_fetch_add(&shared->decisions, 1);
	return result != NULL;
}

/* A name is taken while it is free, and freed while it is taken. */
static bool
decide_name(PGconn *conn)
{
	Past		past;
	char		tags[64];

	snprintf(tags, sizeof(tags), "\"name:%d\"", pick(NAMES));
	snprintf(past.query, sizeof(past.query), "[{\"types\": [\"Taken\", \"Freed\"], \"tags\": [%s]}]", tags);
	if (!read_past(conn, &past, 0, "count(*) FILTER (WHERE type = 'Taken') - count(*) FILTER (WHERE type = 'Freed')"))
		return false;
	return append_if(conn, &past, "name", past.numbers[0] == 0 ? "Taken" : "Freed", tags, 0);
}

/* A student takes a seat of a course, as long as both have room; or leaves it. */
static bool
decide_course(PGconn *conn)
{
	Past		past;
	char		tags[128];
	char		folds[512];
	int			course = pick(COURSES);
	int			student = pick(STUDENTS);

	snprintf(tags, sizeof(tags), "\"student:%d\", \"course:%d\"", student, course);
	snprintf(past.query, sizeof(past.query), "[{\"tags\": [\"course:%d\"]}, {\"tags\": [\"student:%d\"], \"types\": [\"Enrolled\", \"Left\"]}]", course, student);
	snprintf(folds, sizeof(folds),
			 "coalesce(sum(n) FILTER (WHERE 'course:%d' = ANY (tags)), 0), coalesce(sum(n) FILTER (WHERE 'student:%d' = ANY (tags)), 0), "
			 "coalesce(sum(n) FILTER (WHERE tags @> ARRAY['course:%d', 'student:%d']), 0)", course, student, course, student);
	if (!read_past(conn, &past, 0, folds))
		return false;
	if (past.numbers[2] > 0)
		return append_if(conn, &past, "student", "Left", tags, -1);
	if (past.numbers[0] >= SEATS || past.numbers[1] >= ENROLMENTS)
		return true;
	return append_if(conn, &past, "course", "Enrolled", tags, 1);
}

/* Money is drawn from one of two accounts, whose sum must not go below zero. */
static bool
decide_money(PGconn *conn)
{
	Past		past;
	char		tags[64];
	int			amount = 1 + pick(20);

	snprintf(tags, sizeof(tags), "\"pair:%d\"", pick(PAIRS));
	snprintf(past.query, sizeof(past.query), "[{\"tags\": [%s]}]", tags);
	if (!read_past(conn, &past, 0, "coalesce(sum(n), 0)"))
		return false;
	return past.numbers[0] < amount || append_if(conn, &past, "account", "Drawn", tags, -amount);
}

/* Numbers of a series, without gaps: by the type alone. */
static bool
decide_number(PGconn *conn)
{
	static int64_t known[SERIES];	/* positions up to which the numbers are known, ... */
	static int64_t count[SERIES];	/* ... and how many there are */
	Past		past;
	char		type[32];
	int			series = pick(SERIES);

	snprintf(type, sizeof(type), "Number%d", series);
	snprintf(past.query, sizeof(past.query), "[{\"types\": [\"%s\"]}]", type);
	if (!read_past(conn, &past, known[series], "count(*)"))
		return false;
	count[series] += past.numbers[0];
	known[series] = past.after;
	return append_if(conn, &past, "number", type, "", count[series] + 1);
}

static bool
decide(PGconn *conn)
{
	switch (pick(4))
	{
		case 0:
			return decide_name(conn);
		case 1:
			return decide_course(conn);
		case 2:
			return decide_money(conn);
		default:
			return decide_number(conn);
	}
}

/* ----------------------------------------------------------------------
 * Processes
 * ----------------------------------------------------------------------
 */

/* Several decisions, some of them in savepoints. */
static bool
decide_some(PGconn *conn)
{
	int			count = 1 + pick(3);

	for (int i = 0; i < count; i++)
	{
		bool		has_savepoint = pick(2) == 0;

		if (has_savepoint && !run_ok(conn, "SAVEPOINT s"))
			return false;
		if (decide(conn))
		{
			if (has_savepoint && !run_ok(conn, pick(3) ? "RELEASE s" : "ROLLBACK TO s"))
				return false;
		}
		else if (!has_savepoint || strcmp(sqlstate, "SE004") != 0 || !run_ok(conn, "ROLLBACK TO s"))
			return false;
		if (pick(4) == 0)
			usleep(pick(5000));
	}
	return true;
}

static void
decide_in_transaction(PGconn *conn, Prepared *prepared)
{
	static const char *const begins[] = {
		"BEGIN", "BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ", "BEGIN ISOLATION LEVEL SERIALIZABLE"
	};
	char		sql[128];

	if (!run_ok(conn, begins[pick(4)]))
		return;
	if (decide_some(conn))
	{
		if (pick(10) == 0 && !atomic_load(&prepared->is_full))
		{
			snprintf(prepared->gid, sizeof(prepared->gid), "decide_%d_%ld", (int) parent, random());
			snprintf(sql, sizeof(sql), "PREPARE TRANSACTION '%s'", prepared->gid);
			if (run_ok(conn, sql))
				atomic_store(&prepared->is_full, 1);
		}
		else
			(void) run_ok(conn, pick(6) ? "COMMIT" : "ROLLBACK");
	}
	if (PQtransactionStatus(conn) != PQTRANS_IDLE)
		(void) run_ok(conn, "ROLLBACK");
}

static void
decider_main(int index)
{
	PGconn	   *conn = connect_to(conninfo);

	while (!atomic_load(&shared->is_over))
	{
		if (PQstatus(conn) != CONNECTION_OK)
		{
			PQfinish(conn);
			conn = connect_to(conninfo);
		}
		if (pick(3) == 0)
			(void) decide(conn);
		else
			decide_in_transaction(conn, &shared->prepared[index]);
	}
	PQfinish(conn);
}

/* Ordinary appends: money comes in; and what matters to nobody. */
static void
plain_main(int index)
{
	PGconn	   *conn = connect_to(conninfo);

	(void) index;
	while (!atomic_load(&shared->is_over))
	{
		bool		is_long = pick(3) == 0;

		if (PQstatus(conn) != CONNECTION_OK)
			PQreset(conn);
		if (is_long)
			(void) run_ok(conn, "BEGIN");
		if (pick(2))
			PQclear(run(conn, "SELECT es_append('account-%d', -1, '{\"type\": \"Paid\", \"tags\": [\"pair:%d\"], \"data\": {\"n\": %d}}'::jsonb)",
						pick(5), pick(PAIRS), pick(30)));
		else
			PQclear(run(conn, "SELECT es_append_streams('[{\"stream\": \"noise-%d\", \"expected_version\": -1, \"events\": {\"type\": \"Noted\", \"tags\": [\"noise:%d\"]}}, "
						"{\"stream\": \"account-9\", \"expected_version\": -1, \"events\": {\"type\": \"Paid\", \"tags\": [\"pair:%d\"], \"data\": {\"n\": 1}}}]')",
						pick(20), pick(5), pick(PAIRS)));
		usleep(pick(3000));
		if (is_long)
			(void) run_ok(conn, pick(3) ? "COMMIT" : "ROLLBACK");
		usleep(pick(10000));
	}
	PQfinish(conn);
}

/* Ends what deciders have prepared. */
static void
finisher_main(int index)
{
	PGconn	   *conn = connect_to(conninfo);
	bool		is_last;

	(void) index;
	do
	{
		is_last = atomic_load(&shared->is_over) == 2;	/* the deciders are gone */
		if (PQstatus(conn) != CONNECTION_OK)
			PQreset(conn);
		for (int i = 0; i < deciders; i++)
		{
			Prepared   *prepared = &shared->prepared[i];
			char		sql[128];

			if (!atomic_load(&prepared->is_full))
				continue;
			usleep(pick(10000));
			snprintf(sql, sizeof(sql), "%s PREPARED '%s'", pick(3) ? "COMMIT" : "ROLLBACK", prepared->gid);
			if (run_ok(conn, sql))
				atomic_store(&prepared->is_full, 0);
		}
		usleep(1000);
		/* Who waits for a prepared transaction must not wait for ever. */
	} while (!is_last);
	PQfinish(conn);
}

/* Kills one of the deciders now and then. */
static void
killer_main(int index)
{
	PGconn	   *conn = connect_to(conninfo);

	(void) index;
	while (!atomic_load(&shared->is_over))
	{
		if (PQstatus(conn) != CONNECTION_OK)
			PQreset(conn);
		usleep(100000 + pick(400000));
		if (ask(conn, 0, "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity "
				"WHERE pid <> pg_backend_pid() AND query LIKE '%es_append_if%' AND state <> 'idle' ORDER BY random() LIMIT 1) a") > 0)
			atomic_fetch_add(&shared->kills, 1);
	}
	PQfinish(conn);
}

/* ----------------------------------------------------------------------
 * What must hold
 * ----------------------------------------------------------------------
 */

static void
check(PGconn *conn, const char *what, const char *violations)
{
	PGresult   *result = run(conn, "%s", violations);

	if (result == NULL)
		return;
	for (int i = 0; i < PQntuples(result) && i < 5; i++)
		fail("%s: position %s: %s", what, PQgetvalue(result, i, 0), PQgetvalue(result, i, 1));
	PQclear(result);
}

static void
check_all(PGconn *conn)
{
	PGresult   *events = run(conn, "CREATE TEMP TABLE e AS SELECT position, type, tags, data, (data ->> 'n')::bigint AS n FROM eventstore.events "
							 "WHERE position > 0 AND category IN ('name', 'course', 'student', 'account', 'number', 'noise')");

	PQclear(events);
	(void) run_ok(conn, "CREATE INDEX ON e (position); ANALYZE e");
	check(conn, "name taken twice",
		  "SELECT position, tags FROM (SELECT *, lag(type) OVER (PARTITION BY tags ORDER BY position) AS before FROM e WHERE type IN ('Taken', 'Freed')) a "
		  "WHERE type = coalesce(before, 'Freed')");
	check(conn, "more than a course has seats",
		  "SELECT position, tag FROM (SELECT position, tag, sum(n) OVER (PARTITION BY tag ORDER BY position) AS taken FROM e, unnest(tags) tag "
		  "WHERE type IN ('Enrolled', 'Left') AND tag LIKE 'course:%') a WHERE taken NOT BETWEEN 0 AND 3");
	check(conn, "more courses than a student may have",
		  "SELECT position, tag FROM (SELECT position, tag, sum(n) OVER (PARTITION BY tag ORDER BY position) AS taken FROM e, unnest(tags) tag "
		  "WHERE type IN ('Enrolled', 'Left') AND tag LIKE 'student:%') a WHERE taken NOT BETWEEN 0 AND 2");
	check(conn, "overdrawn",
		  "SELECT position, tag FROM (SELECT position, tag, sum(n) OVER (PARTITION BY tag ORDER BY position) AS balance FROM e, unnest(tags) tag "
		  "WHERE tag LIKE 'pair:%') a WHERE balance < 0");
	check(conn, "gap or duplicate in a series",
		  "SELECT position, type FROM (SELECT *, row_number() OVER (PARTITION BY type ORDER BY position) AS expected FROM e WHERE type LIKE 'Number%') a "
		  "WHERE n <> expected");
	check(conn, "a matching event between a condition's position and its append",
		  "SELECT e.position, format('%s matches, at %s', o.type, o.position) FROM e, e o "
		  "WHERE e.data ? 'query' AND o.position > (e.data ->> 'after')::bigint AND o.position < e.position AND EXISTS "
		  "(SELECT FROM jsonb_array_elements(e.data -> 'query') item WHERE (NOT item ? 'types' OR item -> 'types' ? o.type) "
		  "AND (NOT item ? 'tags' OR coalesce(o.tags @> ARRAY(SELECT jsonb_array_elements_text(item -> 'tags')), false)))");
}

int
main(int argc, char **argv)
{
	int			option;
	pid_t		workers[MAX_DECIDERS + 4];
	int			started = 0;
	pid_t		finisher;
	PGconn	   *conn;

	while ((option = getopt(argc, argv, "s:d:r:")) != -1)
	{
		if (option == 's')
			seconds = atoi(optarg);
		else if (option == 'd')
			deciders = atoi(optarg) < MAX_DECIDERS ? atoi(optarg) : MAX_DECIDERS;
		else if (option == 'r')
			seed = (unsigned) atoi(optarg);
		else
			return 2;
	}
	if (optind < argc)
		conninfo = argv[optind];
	parent = getpid();
	crew_begin();
	shared = crew_share(sizeof(Shared));
	conn = connect_to(conninfo);
	(void) run_ok(conn, "CREATE EXTENSION IF NOT EXISTS eventstore");
	PQfinish(conn);

	for (int i = 0; i < deciders; i++)
		workers[started++] = crew_start("decider", decider_main, i);
	for (int i = 0; i < 2; i++)
		workers[started++] = crew_start("plain", plain_main, i);
	workers[started++] = crew_start("killer", killer_main, 0);
	finisher = crew_start("finisher", finisher_main, 0);
	sleep((unsigned) seconds);
	atomic_store(&shared->is_over, 1);
	for (int i = 0; i < started; i++)
		waitpid(workers[i], NULL, 0);
	atomic_store(&shared->is_over, 2);
	waitpid(finisher, NULL, 0);

	conn = connect_to(conninfo);
	check_all(conn);
	printf("%ld decisions, %ld refused, %ld conflicts, %ld deadlocks, %ld kills, %lld events; %ld wrong\n",
		   atomic_load(&shared->decisions), atomic_load(&shared->refused), atomic_load(&shared->conflicts), atomic_load(&shared->deadlocks),
		   atomic_load(&shared->kills), (long long) ask(conn, 0, "SELECT count(*) FROM e"), atomic_load(failures));
	if (atomic_load(&shared->decisions) == 0 || atomic_load(&shared->refused) == 0)
		fail("nothing was decided, or nothing refused");
	PQfinish(conn);
	return atomic_load(failures) == 0 ? 0 : 1;
}
