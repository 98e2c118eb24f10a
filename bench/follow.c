/*-------------------------------------------------------------------------
 *
 * follow.c
 *		A listener, and how soon it has read what was appended.
 *
 *	 follow listen CONNINFO
 *		LISTENs on the channel of all events, and takes in what it is told,
 *		until it is killed.
 *
 *	 follow latency CONNINFO SECONDS RATE
 *		Appends RATE events a second from one session and reads them in
 *		another, told by NOTIFY.  Prints the median and the 99th percentile,
 *		in milliseconds, of the time from the answer to the append, which comes
 *		after its commit, to the event having been read.
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include <libpq-fe.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* When event n of the run was committed, and when it was read; in us. */
typedef struct Times
{
	int64_t committed;
	int64_t read;
} Times;

static int64_t
now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void
give_up(PGconn *conn)
{
	fprintf(stderr, "follow: %s", PQerrorMessage(conn));
	exit(1);
}

static PGconn *
connect_to(const char *conninfo)
{
	PGconn *conn = PQconnectdb(conninfo);

	if (PQstatus(conn) != CONNECTION_OK)
		give_up(conn);
	return conn;
}

static PGresult *
run(PGconn *conn, const char *sql)
{
	PGresult *result = PQexec(conn, sql);

	if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
		give_up(conn);
	return result;
}

/* Wait for a NOTIFY, at most some milliseconds; take in all there are. */
static bool
wait_for_notify(PGconn *conn, int ms)
{
	struct pollfd socket = {PQsocket(conn), POLLIN, 0};
	PGnotify *notify;
	bool is_told = false;

	(void) poll(&socket, 1, ms);
	if (!PQconsumeInput(conn))
		give_up(conn);
	while ((notify = PQnotifies(conn)) != NULL)
	{
		is_told = true;
		PQfreemem(notify);
	}
	return is_told;
}

static void
append_all(const char *conninfo, Times *times, int count, int rate)
{
	PGconn *conn = connect_to(conninfo);
	int64_t begun = now_us();
	char sql[200];

	for (int i = 0; i < count; i++)
	{
		int64_t due = begun + (int64_t) i * 1000000 / rate;
		int64_t now = now_us();

		if (due > now)
			usleep(due - now);
		snprintf(sql, sizeof(sql), "SELECT es_append('follow-%d', -1, 'T', '{\"n\": %d}'::jsonb)",
				 i % 100, i);
		PQclear(run(conn, sql));
		times[i].committed = now_us();
	}
	PQfinish(conn);
}

static void
read_all(PGconn *conn, Times *times, int count, long long *position)
{
	char sql[200];
	PGresult *result;

	snprintf(sql, sizeof(sql),
			 "SELECT position, data ->> 'n' FROM es_read_all(%lld, NULL) WHERE category = 'follow'",
			 *position);
	result = run(conn, sql);
	for (int i = 0; i < PQntuples(result); i++)
	{
		int n = atoi(PQgetvalue(result, i, 1));

		*position = atoll(PQgetvalue(result, i, 0));
		if (n >= 0 && n < count)
			times[n].read = now_us();
	}
	PQclear(result);
}

static int
compare(const void *a, const void *b)
{
	int64_t left = *(const int64_t *) a;
	int64_t right = *(const int64_t *) b;

	return (left > right) - (left < right);
}

static int
latency(const char *conninfo, int seconds, int rate)
{
	int count = seconds * rate;
	int64_t *latencies = calloc(count, sizeof(int64_t));
	Times *times = mmap(NULL, sizeof(Times) * count, PROT_READ | PROT_WRITE,
						MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	PGconn *conn = connect_to(conninfo);
	PGresult *result;
	long long position;
	int64_t deadline = now_us() + (int64_t) (seconds + 5) * 1000000;

	PQclear(run(conn, "LISTEN eventstore"));
	result = run(conn, "SELECT es_head()");
	position = atoll(PQgetvalue(result, 0, 0));
	PQclear(result);

	if (fork() == 0)
	{
		append_all(conninfo, times, count, rate);
		_exit(0);
	}
	while (times[count - 1].read == 0 && now_us() < deadline)
		if (wait_for_notify(conn, 1000))
			read_all(conn, times, count, &position);
	(void) wait(NULL);

	for (int i = 0; i < count; i++)
	{
		if (times[i].read == 0)
		{
			fprintf(stderr, "follow: event %d was not read\n", i);
			return 1;
		}
		latencies[i] = times[i].read > times[i].committed ? times[i].read - times[i].committed : 0;
	}
	qsort(latencies, count, sizeof(int64_t), compare);
	printf("%.2f\t%.2f\n", latencies[count / 2] / 1000.0, latencies[count * 99 / 100] / 1000.0);
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[1], "latency") == 0)
		return latency(argv[2], atoi(argv[3]), atoi(argv[4]));
	if (argc == 3 && strcmp(argv[1], "listen") == 0)
	{
		PGconn *conn = connect_to(argv[2]);

		PQclear(run(conn, "LISTEN eventstore"));
		for (;;)
			(void) wait_for_notify(conn, -1);
	}
	fprintf(stderr, "usage: follow listen CONNINFO | follow latency CONNINFO SECONDS RATE\n");
	return 2;
}
