/*-------------------------------------------------------------------------
 *
 * latency.h
 *		What follow.c and subscribe.c have in common: sessions, and how soon an
 *		event that one process appends is seen by another.
 *
 *-------------------------------------------------------------------------
 */
#ifndef LATENCY_H
#define LATENCY_H

#define _GNU_SOURCE
#include <errno.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* When event n of the run was committed, and when it was seen; in us. */
typedef struct Times
{
	int64_t committed;
	int64_t seen; /* 0: not yet */
} Times;

typedef struct Latency
{
	int count; /* of events */
	int64_t deadline;
	Times *times;
} Latency;

static int64_t
now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Memory of this process and those that it forks. */
static void *
shared(size_t size)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static void
give_up(PGconn *conn)
{
	fprintf(stderr, "%s: %s", program_invocation_short_name, PQerrorMessage(conn));
	exit(1);
}

static PGconn *
open_session(const char *conninfo)
{
	PGconn *conn = PQconnectdb(conninfo);

	if (PQstatus(conn) != CONNECTION_OK)
		give_up(conn);
	return conn;
}

static PGresult *
checked(PGconn *conn, PGresult *result)
{
	if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
		give_up(conn);
	return result;
}

static void
run_sql(PGconn *conn, const char *sql)
{
	PQclear(checked(conn, PQexec(conn, sql)));
}

static void
append_all(const char *conninfo, const Latency *latency, int rate)
{
	PGconn *conn = open_session(conninfo);
	int64_t begun = now_us();
	char sql[200];

	for (int i = 0; i < latency->count; i++)
	{
		int64_t due = begun + (int64_t) i * 1000000 / rate;
		int64_t now = now_us();

		if (due > now)
			usleep(due - now);
		snprintf(sql, sizeof(sql), "SELECT es_append('follow-%d', -1, 'T', '{\"n\": %d}'::jsonb)",
				 i % 100, i);
		run_sql(conn, sql);
		latency->times[i].committed = now_us();
	}
	PQfinish(conn);
}

/* Appends so many events a second, from a process of its own. */
static Latency
latency_begin(const char *conninfo, int seconds, int rate)
{
	Latency latency = {.count = seconds * rate,
					   .deadline = now_us() + (int64_t) (seconds + 5) * 1000000};

	latency.times = shared(sizeof(Times) * latency.count);
	if (fork() == 0)
	{
		append_all(conninfo, &latency, rate);
		_exit(0);
	}
	return latency;
}

/* Event n has been seen now.  Returns false if there is none such. */
static bool
latency_saw(Latency *latency, int n)
{
	if (n < 0 || n >= latency->count)
		return false;
	latency->times[n].seen = now_us();
	return true;
}

static int
latency_compare(const void *a, const void *b)
{
	int64_t left = *(const int64_t *) a;
	int64_t right = *(const int64_t *) b;

	return (left > right) - (left < right);
}

/* Prints the median and the 99th percentile in milliseconds.  Returns the exit status. */
static int
latency_end(const Latency *latency)
{
	int count = latency->count;
	int64_t *us = calloc(count, sizeof(int64_t));

	(void) wait(NULL);
	for (int i = 0; i < count; i++)
	{
		const Times *times = &latency->times[i];

		if (times->seen == 0)
		{
			fprintf(stderr, "%s: event %d was not seen\n", program_invocation_short_name, i);
			return 1;
		}
		us[i] = times->seen > times->committed ? times->seen - times->committed : 0;
	}
	qsort(us, count, sizeof(int64_t), latency_compare);
	printf("%.2f\t%.2f\n", us[count / 2] / 1000.0, us[count * 99 / 100] / 1000.0);
	return 0;
}

#endif /* LATENCY_H */
