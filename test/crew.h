/*-------------------------------------------------------------------------
 *
 * crew.h
 *		What stress.c and consume.c have in common: processes that wear on a
 *		store, each with connections of its own.
 *
 * Every process is a fork; what they share is in anonymous mappings.  Who
 * includes this defines crew_expects, and calls crew_begin first.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CREW_H
#define CREW_H

#define _GNU_SOURCE
#include <errno.h>
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

static const char *conninfo = "";
static unsigned seed = 1;
static const char *me = "main";
static atomic_long *failures;	/* errors that must not be */
static char sqlstate[6];		/* of the last error */

/* Whether an error is one of those that are meant; its code is in sqlstate. */
static bool crew_expects(void);

static inline int64_t
now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int
pick(int below)
{
	return (int) (random() % below);
}

/* Something that must not be. */
static void
fail(const char *format,...)
{
	va_list		args;
	char		text[2048];

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (atomic_fetch_add(failures, 1) < 20)
		fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, me, text);
}

/* Memory of all processes that are started after. */
static void *
crew_share(size_t size)
{
	void	   *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		exit(2);
	return memory;
}

static void
crew_begin(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	failures = crew_share(sizeof(*failures));
}

/* Run body(index) in a process of its own. */
static pid_t
crew_start(const char *name, void (*body) (int), int index)
{
	static int	started = 0;
	pid_t		pid = fork();

	started++;
	if (pid != 0)
		return pid;
	me = name;
	srandom(seed * 1000 + (unsigned) started);
	body(index);
	exit(0);
}

/* What a server says that ends a session on purpose. */
static void
crew_ignore(void *arg, const char *message)
{
	(void) arg;
	(void) message;
}

static PGconn *
connect_to(const char *to)
{
	for (int tries = 0;; tries++)
	{
		PGconn	   *conn = PQconnectdb(to);

		if (PQstatus(conn) == CONNECTION_OK)
		{
			PQsetNoticeProcessor(conn, crew_ignore, NULL);
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
	if (!crew_expects())
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

/* The number in a result's first field; fallback where there is none. */
static int64_t
ask(PGconn *conn, int64_t fallback, const char *sql)
{
	PGresult   *result = run(conn, "%s", sql);
	int64_t		number = fallback;

	if (result != NULL && PQntuples(result) > 0 && !PQgetisnull(result, 0, 0))
		number = atoll(PQgetvalue(result, 0, 0));
	PQclear(result);
	return number;
}

#endif							/* CREW_H */
