/*-------------------------------------------------------------------------
 *
 * subscribe.c
 *		Consumers of a subscription, and what they are measured against.
 *
 *	 subscribe read CONNINFO BATCH COUNT
 *		One session reads the whole store by es_read_all.
 *
 *	 subscribe drain CONNINFO CONSUMERS BATCH COUNT SUBSCRIPTION
 *		So many consumers fetch and ack until COUNT events are done.
 *
 *	 subscribe once CONNINFO CONSUMERS BATCH COUNT SUBSCRIPTION
 *		The same, with fetch and ack in one transaction.
 *
 *	 subscribe queue CONNINFO CONSUMERS BATCH COUNT
 *		So many sessions take events out of table queue with FOR UPDATE SKIP
 *		LOCKED, until COUNT are done.
 *
 *	 subscribe latency CONNINFO SECONDS RATE SUBSCRIPTION
 *		Appends RATE events a second from one session, and consumes them in
 *		another that waits in es_fetch.  Prints the median and the 99th
 *		percentile, in milliseconds, of the time from the answer to the append,
 *		which comes after its commit, to the event having been delivered.
 *
 * All but the last print events a second.  Every session prepares its
 * statements, and takes rows as text, as ordinary drivers do.
 *
 *-------------------------------------------------------------------------
 */
#include "latency.h"

#define MAX_TEXT 32

/* What the processes of a run share. */
typedef struct Run
{
	int ready;		 /* processes that are connected */
	bool is_begun;
	int64_t done;	 /* events */
	int64_t done_at; /* us */
} Run;

typedef struct Job
{
	const char *conninfo;
	const char *subscription;
	int consumers;
	int batch;
	int64_t count; /* events */
	bool is_atomic;
	Run *run;
} Job;

static void
prepare(PGconn *conn, const char *name, const char *sql)
{
	PQclear(checked(conn, PQprepare(conn, name, sql, 0, NULL)));
}

static PGresult *
execute(PGconn *conn, const char *name, int count, const char *const *values)
{
	return checked(conn, PQexecPrepared(conn, name, count, values, NULL, NULL, 0));
}

static PGconn *
connect_to(const char *conninfo)
{
	PGconn *conn = open_session(conninfo);

	prepare(conn, "read", "SELECT * FROM es_read_all($1, $2)");
	prepare(conn, "fetch", "SELECT * FROM es_fetch($1, $2, $3::int, $4::interval)");
	prepare(conn, "ack", "SELECT es_ack($1, $2, $3)");
	return conn;
}

/* A row's column as text; it lives as long as the result. */
static const char *
last_value(PGresult *result, const char *column)
{
	return PQgetvalue(result, PQntuples(result) - 1, PQfnumber(result, column));
}

static PGresult *
fetch(PGconn *conn, const char *subscription, const char *consumer, int batch, const char *wait)
{
	char max_count[MAX_TEXT];

	snprintf(max_count, sizeof(max_count), "%d", batch);
	return execute(conn, "fetch", 4, (const char *[]){subscription, consumer, max_count, wait});
}

static void
ack(PGconn *conn, const char *subscription, PGresult *result)
{
	PQclear(execute(conn, "ack", 3,
					(const char *[]){subscription, last_value(result, "token"),
									 last_value(result, "position")}));
}

static void
add_done(Run *run, int64_t count, int64_t wanted)
{
	if (__atomic_add_fetch(&run->done, count, __ATOMIC_SEQ_CST) == wanted)
		run->done_at = now_us();
}

static bool
is_done(const Job *job)
{
	return __atomic_load_n(&job->run->done, __ATOMIC_SEQ_CST) >= job->count;
}

static void
wait_for_start(Run *run)
{
	__atomic_add_fetch(&run->ready, 1, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&run->is_begun, __ATOMIC_SEQ_CST))
		usleep(200);
}

static void
consume(const Job *job, int number)
{
	PGconn *conn = connect_to(job->conninfo);
	char consumer[MAX_TEXT];

	snprintf(consumer, sizeof(consumer), "consumer-%d", number);
	wait_for_start(job->run);
	while (!is_done(job))
	{
		PGresult *result;

		if (job->is_atomic)
			run_sql(conn, "BEGIN");
		result = fetch(conn, job->subscription, consumer, job->batch, "20 ms");
		if (PQntuples(result) > 0)
			ack(conn, job->subscription, result);
		if (job->is_atomic)
			run_sql(conn, "COMMIT");
		add_done(job->run, PQntuples(result), job->count);
		PQclear(result);
	}
	PQfinish(conn);
}

static void
take_from_queue(const Job *job, int number)
{
	PGconn *conn = connect_to(job->conninfo);
	char batch[MAX_TEXT];

	(void) number;
	snprintf(batch, sizeof(batch), "%d", job->batch);
	prepare(conn, "take",
			"DELETE FROM queue WHERE position = ANY (ARRAY(SELECT position FROM queue"
			" ORDER BY position LIMIT $1::bigint FOR UPDATE SKIP LOCKED)) RETURNING *");
	wait_for_start(job->run);
	while (!is_done(job))
	{
		PGresult *result = execute(conn, "take", 1, (const char *[]){batch});

		add_done(job->run, PQntuples(result), job->count);
		if (PQntuples(result) == 0)
			usleep(1000);
		PQclear(result);
	}
	PQfinish(conn);
}

static void
read_all(const Job *job, int number)
{
	PGconn *conn = connect_to(job->conninfo);
	char position[MAX_TEXT] = "0";
	char batch[MAX_TEXT];

	(void) number;
	snprintf(batch, sizeof(batch), "%d", job->batch);
	wait_for_start(job->run);
	while (!is_done(job))
	{
		PGresult *result = execute(conn, "read", 2, (const char *[]){position, batch});

		if (PQntuples(result) == 0)
		{
			fprintf(stderr, "subscribe: the store has fewer events than that\n");
			exit(1);
		}
		snprintf(position, sizeof(position), "%s", last_value(result, "position"));
		add_done(job->run, PQntuples(result), job->count);
		PQclear(result);
	}
	PQfinish(conn);
}

/* Does the work in so many processes, and prints events a second. */
static int
measure(Job job, void (*work)(const Job *job, int number))
{
	int64_t begun;
	int status;
	int failed = 0;

	job.run = shared(sizeof(Run));
	for (int i = 0; i < job.consumers; i++)
	{
		if (fork() == 0)
		{
			work(&job, i);
			_exit(0);
		}
	}
	while (__atomic_load_n(&job.run->ready, __ATOMIC_SEQ_CST) < job.consumers)
		usleep(200);
	begun = now_us();
	__atomic_store_n(&job.run->is_begun, true, __ATOMIC_SEQ_CST);
	while (wait(&status) > 0)
		failed |= status;
	if (failed || job.run->done != job.count)
	{
		fprintf(stderr, "subscribe: %lld events done, %lld expected\n", (long long) job.run->done,
				(long long) job.count);
		return 1;
	}
	printf("%.0f\n", job.count * 1e6 / (job.run->done_at - begun));
	return 0;
}

static int
latency(const char *conninfo, int seconds, int rate, const char *subscription)
{
	PGconn *conn = connect_to(conninfo);
	int delivered = 0;
	Latency latency;

	/* Takes the partitions. */
	PQclear(fetch(conn, subscription, "consumer-0", 1, "0"));
	latency = latency_begin(conninfo, seconds, rate);
	while (delivered < latency.count && now_us() < latency.deadline)
	{
		PGresult *result = fetch(conn, subscription, "consumer-0", 100, "1 s");

		for (int i = 0; i < PQntuples(result); i++)
		{
			/* The data is {"n": number} */
			const char *digits = strchr(PQgetvalue(result, i, PQfnumber(result, "data")), ':');

			delivered += latency_saw(&latency, digits == NULL ? -1 : atoi(digits + 1));
		}
		if (PQntuples(result) > 0)
			ack(conn, subscription, result);
		PQclear(result);
	}
	return latency_end(&latency);
}

int
main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	Job job = {.conninfo = argc > 2 ? argv[2] : NULL, .consumers = 1};

	if (argc == 5 && strcmp(what, "read") == 0)
	{
		job.batch = atoi(argv[3]);
		job.count = atoll(argv[4]);
		return measure(job, read_all);
	}
	if (argc == 6 && strcmp(what, "latency") == 0)
		return latency(argv[2], atoi(argv[3]), atoi(argv[4]), argv[5]);
	if (argc >= 6)
	{
		job.consumers = atoi(argv[3]);
		job.batch = atoi(argv[4]);
		job.count = atoll(argv[5]);
		job.subscription = argv[6];
		job.is_atomic = strcmp(what, "once") == 0;
	}
	if (argc == 6 && strcmp(what, "queue") == 0)
		return measure(job, take_from_queue);
	if (argc == 7 && (job.is_atomic || strcmp(what, "drain") == 0))
		return measure(job, consume);
	fprintf(stderr, "usage: subscribe read CONNINFO BATCH COUNT\n"
					"       subscribe drain|once CONNINFO CONSUMERS BATCH COUNT SUBSCRIPTION\n"
					"       subscribe queue CONNINFO CONSUMERS BATCH COUNT\n"
					"       subscribe latency CONNINFO SECONDS RATE SUBSCRIPTION\n");
	return 2;
}
