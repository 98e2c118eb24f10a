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
#include "latency.h"

#include <poll.h>

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
read_all(PGconn *conn, Latency *latency, long long *position)
{
	char sql[200];
	PGresult *result;

	snprintf(sql, sizeof(sql),
			 "SELECT position, data ->> 'n' FROM es_read_all(%lld, NULL) WHERE category = 'follow'",
			 *position);
	result = checked(conn, PQexec(conn, sql));
	for (int i = 0; i < PQntuples(result); i++)
	{
		*position = atoll(PQgetvalue(result, i, 0));
		(void) latency_saw(latency, atoi(PQgetvalue(result, i, 1)));
	}
	PQclear(result);
}

static int
measure(const char *conninfo, int seconds, int rate)
{
	PGconn *conn = open_session(conninfo);
	PGresult *result;
	long long position;
	Latency latency;

	run_sql(conn, "LISTEN eventstore");
	result = checked(conn, PQexec(conn, "SELECT es_head()"));
	position = atoll(PQgetvalue(result, 0, 0));
	PQclear(result);

	latency = latency_begin(conninfo, seconds, rate);
	while (latency.times[latency.count - 1].seen == 0 && now_us() < latency.deadline)
		if (wait_for_notify(conn, 1000))
			read_all(conn, &latency, &position);
	return latency_end(&latency);
}

int
main(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[1], "latency") == 0)
		return measure(argv[2], atoi(argv[3]), atoi(argv[4]));
	if (argc == 3 && strcmp(argv[1], "listen") == 0)
	{
		PGconn *conn = open_session(argv[2]);

		run_sql(conn, "LISTEN eventstore");
		for (;;)
			(void) wait_for_notify(conn, -1);
	}
	fprintf(stderr, "usage: follow listen CONNINFO | follow latency CONNINFO SECONDS RATE\n");
	return 2;
}
