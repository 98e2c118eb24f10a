/*-------------------------------------------------------------------------
 *
 * client.c
 *		What the benchmarks load the server with: sessions that repeat one
 *		prepared statement, with parameters made up anew for each call.
 *
 *	 client [OPTION...] CONNINFO STATEMENT [PARAMETER...]
 *
 *		-c CLIENTS		sessions (1)
 *		-t CALLS		of each session, or
 *		-T SECONDS		how long (1)
 *		-w CALLS		of each session beforehand, not counted (0)
 *		-s FIRST:COUNT	streams to draw from, by number (1:1)
 *		-k CATEGORIES	that streams belong to in turn (1)
 *		-n EVENTS		in a batch (1)
 *		-i NUMBER		where the numbers of new events start (1)
 *		-p POSITION		the largest to draw (0)
 *		-r SEED			of what is drawn (1)
 *		-v QUERY		gives number and version of each stream, for %v
 *
 * Parameters are sent as text, as most clients do.  In a parameter
 *
 *		%s	is the number of the stream drawn for this call, 12 digits
 *		%c	its category, 3 digits
 *		%i	the number of a new event, 12 digits, another one each time
 *		%v	the stream's version; sessions then share no stream
 *		%p	a position drawn for this call
 *		%[ ... %]	is repeated for each event of the batch, with commas
 *
 * A STATEMENT that begins with COPY cannot be prepared; its one parameter is
 * a line of data, sent once for each event of the batch.
 *
 * Each session runs on one processor together with its server process.  They
 * take turns; to wake the other on a processor that sleeps can take longer
 * than an append, and where the scheduler lets them run is chance.
 *
 * An answer without rows, or whose first column is false, counts as failed,
 * and any error ends the run.  Prints, with tabs between: successful calls a
 * second, milliseconds a call, successful calls, failed ones, rows a call, the
 * process ID of the first session's server process, and all calls that were
 * made, those beforehand among them.
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include <libpq-fe.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_PARAMETERS 16
#define BOOLEAN        16 /* OID of the type */

/* What the command line says. */
typedef struct Load
{
	const char *conninfo;
	const char *statement;
	char **parameters;
	int parameter_count;
	bool is_copy;
	int clients;
	int64_t calls; /* of each session; 0 = as many as fit into seconds */
	double seconds;
	int64_t warm_up_calls;
	int64_t first_stream;
	int64_t stream_count;
	int categories;
	int batch;
	int64_t first_event;
	int64_t max_position;
	int seed;
	int64_t *versions; /* by number of stream - first_stream; NULL without -v */
} Load;

typedef struct Text
{
	char *start;
	size_t length;
	size_t size;
} Text;

typedef struct Session
{
	const Load *load;
	int number;
	pthread_t thread;
	PGconn *conn;
	uint64_t random;
	int64_t stream;
	int64_t position;
	int64_t next_event;
	Text texts[MAX_PARAMETERS];
	int64_t succeeded;
	int64_t failed;
	int64_t rows;
	double begun;
	double ended;
} Session;

static pthread_barrier_t all_ready;

static double
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void
give_up(const char *message)
{
	fprintf(stderr, "client: %s\n", message);
	exit(1);
}

/* splitmix64: the same numbers for the same seed everywhere. */
static int64_t
draw(Session *session, int64_t count)
{
	uint64_t z = (session->random += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return (int64_t) ((z ^ (z >> 31)) % (uint64_t) count);
}

static void
text_add(Text *text, const char *data, size_t length)
{
	if (text->length + length + 1 > text->size)
	{
		text->size = (text->length + length + 1) * 2;
		text->start = realloc(text->start, text->size);
		if (text->start == NULL)
			give_up("out of memory");
	}
	memcpy(text->start + text->length, data, length);
	text->length += length;
	text->start[text->length] = '\0';
}

static void
text_add_number(Text *text, int digits, int64_t number)
{
	char digits_of[32];

	text_add(text, digits_of,
			 snprintf(digits_of, sizeof(digits_of), "%0*lld", digits, (long long) number));
}

static void
text_add_variable(Text *text, Session *session, char variable)
{
	const Load *load = session->load;

	switch (variable)
	{
		case 's':
			text_add_number(text, 12, session->stream);
			break;
		case 'c':
			text_add_number(text, 3, session->stream % load->categories);
			break;
		case 'i':
			text_add_number(text, 12, session->next_event);
			session->next_event += load->clients;
			break;
		case 'v':
			text_add_number(text, 1, load->versions[session->stream - load->first_stream]);
			break;
		case 'p':
			text_add_number(text, 1, session->position);
			break;
		default:
			give_up("unknown variable in a parameter");
	}
}

/* Adds what stands between start and end, variables replaced. */
static void
text_add_template(Text *text, Session *session, const char *start, const char *end)
{
	while (start < end)
	{
		const char *percent = memchr(start, '%', end - start);

		if (percent == NULL)
			percent = end;
		text_add(text, start, percent - start);
		if (percent == end)
			return;
		start = percent + 2;
		if (percent[1] == '[')
		{
			const char *close = strstr(start, "%]");

			if (close == NULL)
				give_up("%[ without %]");
			for (int i = 0; i < session->load->batch; i++)
			{
				if (i > 0)
					text_add(text, ",", 1);
				text_add_template(text, session, start, close);
			}
			start = close + 2;
		}
		else
			text_add_variable(text, session, percent[1]);
	}
}

static const char *
render(Session *session, int parameter)
{
	Text *text = &session->texts[parameter];
	const char *template = session->load->parameters[parameter];

	text->length = 0;
	text_add_template(text, session, template, template + strlen(template));
	return text->start == NULL ? "" : text->start;
}

static PGresult *
copy_batch(Session *session)
{
	PGresult *result = PQexec(session->conn, session->load->statement);

	if (PQresultStatus(result) != PGRES_COPY_IN)
		return result;
	PQclear(result);
	for (int i = 0; i < session->load->batch; i++)
	{
		const char *line = render(session, 0);

		if (PQputCopyData(session->conn, line, (int) session->texts[0].length) != 1)
			give_up(PQerrorMessage(session->conn));
	}
	PQputCopyEnd(session->conn, NULL);
	result = PQgetResult(session->conn);
	PQclear(PQgetResult(session->conn));
	return result;
}

/* Streams are drawn from all; where versions are kept, from those that no other session draws. */
static void
draw_stream(Session *session)
{
	const Load *load = session->load;

	if (load->versions == NULL)
		session->stream = load->first_stream + draw(session, load->stream_count);
	else
		session->stream = load->first_stream + session->number +
			draw(session, load->stream_count / load->clients) * load->clients;
	session->position = draw(session, load->max_position + 1);
}

static bool
is_refusal(const PGresult *result)
{
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		return false;
	return PQntuples(result) == 0 ||
		(PQftype(result, 0) == BOOLEAN && *PQgetvalue(result, 0, 0) == 'f');
}

static void
call(Session *session)
{
	const Load *load = session->load;
	const char *values[MAX_PARAMETERS];
	PGresult *result;

	draw_stream(session);
	if (load->is_copy)
		result = copy_batch(session);
	else
	{
		for (int i = 0; i < load->parameter_count; i++)
			values[i] = render(session, i);
		result = PQexecPrepared(session->conn, "s", load->parameter_count, values, NULL, NULL, 0);
	}
	if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
		give_up(PQerrorMessage(session->conn));
	session->rows += PQntuples(result);
	if (is_refusal(result))
		session->failed++;
	else
	{
		session->succeeded++;
		if (load->versions != NULL)
			load->versions[session->stream - load->first_stream] += load->batch;
	}
	PQclear(result);
}

/* Keep a session and its server process on one of the processors that are allowed. */
static void
pin(const Session *session)
{
	cpu_set_t allowed;
	cpu_set_t chosen;
	int processor = 0;

	if (sched_getaffinity(getpid(), sizeof(allowed), &allowed) != 0)
		give_up("cannot tell the processors");
	for (int skip = session->number % CPU_COUNT(&allowed); !CPU_ISSET(processor, &allowed) || skip-- > 0;)
		processor++;
	CPU_ZERO(&chosen);
	CPU_SET(processor, &chosen);
	if (sched_setaffinity(0, sizeof(chosen), &chosen) != 0 ||
		sched_setaffinity(PQbackendPID(session->conn), sizeof(chosen), &chosen) != 0)
		give_up("cannot choose the processor of a server process");
}

static void *
run_session(void *argument)
{
	Session *session = argument;
	const Load *load = session->load;
	double deadline;

	pin(session);
	for (int64_t i = 0; i < load->warm_up_calls; i++)
		call(session);
	session->succeeded = session->failed = session->rows = 0;
	pthread_barrier_wait(&all_ready);
	session->begun = now();
	deadline = session->begun + load->seconds;
	if (load->calls > 0)
		for (int64_t i = 0; i < load->calls; i++)
			call(session);
	else
		do
			call(session);
		while (now() < deadline);
	session->ended = now();
	return NULL;
}

static void
session_open(Session *session, const Load *load, int number)
{
	PGresult *result;

	memset(session, 0, sizeof(*session));
	session->load = load;
	session->number = number;
	session->random = (uint64_t) load->seed * 1000003 + number;
	session->next_event = load->first_event + number;
	session->conn = PQconnectdb(load->conninfo);
	if (PQstatus(session->conn) != CONNECTION_OK)
		give_up(PQerrorMessage(session->conn));
	if (load->is_copy)
		return;
	result = PQprepare(session->conn, "s", load->statement, 0, NULL);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		give_up(PQerrorMessage(session->conn));
	PQclear(result);
}

static int64_t *
read_versions(const Load *load, const char *query)
{
	PGconn *conn = PQconnectdb(load->conninfo);
	PGresult *result = PQexec(conn, query);
	int64_t *versions = calloc(load->stream_count, sizeof(int64_t));

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		give_up(PQerrorMessage(conn));
	for (int row = 0; row < PQntuples(result); row++)
	{
		int64_t stream = atoll(PQgetvalue(result, row, 0)) - load->first_stream;

		if (stream >= 0 && stream < load->stream_count)
			versions[stream] = atoll(PQgetvalue(result, row, 1));
	}
	PQclear(result);
	PQfinish(conn);
	return versions;
}

static Load
load_of_arguments(int argc, char **argv)
{
	Load load = {.clients = 1,
				 .seconds = 1,
				 .first_stream = 1,
				 .stream_count = 1,
				 .categories = 1,
				 .batch = 1,
				 .first_event = 1,
				 .seed = 1};
	const char *versions = NULL;
	long long first;
	long long count;
	int option;

	while ((option = getopt(argc, argv, "+c:t:T:w:s:k:n:i:p:r:v:")) != -1)
		switch (option)
		{
			case 'c':
				load.clients = atoi(optarg);
				break;
			case 't':
				load.calls = atoll(optarg);
				break;
			case 'T':
				load.seconds = atof(optarg);
				break;
			case 'w':
				load.warm_up_calls = atoll(optarg);
				break;
			case 's':
				if (sscanf(optarg, "%lld:%lld", &first, &count) != 2)
					give_up("-s takes FIRST:COUNT");
				load.first_stream = first;
				load.stream_count = count;
				break;
			case 'k':
				load.categories = atoi(optarg);
				break;
			case 'n':
				load.batch = atoi(optarg);
				break;
			case 'i':
				load.first_event = atoll(optarg);
				break;
			case 'p':
				load.max_position = atoll(optarg);
				break;
			case 'r':
				load.seed = atoi(optarg);
				break;
			case 'v':
				versions = optarg;
				break;
			default:
				exit(2);
		}
	if (argc - optind < 2 || argc - optind - 2 > MAX_PARAMETERS)
		give_up("usage: client [OPTION...] CONNINFO STATEMENT [PARAMETER...]");
	load.conninfo = argv[optind];
	load.statement = argv[optind + 1];
	load.parameters = argv + optind + 2;
	load.parameter_count = argc - optind - 2;
	load.is_copy = strncmp(load.statement, "COPY", 4) == 0;
	if (versions != NULL)
		load.versions = read_versions(&load, versions);
	return load;
}

int
main(int argc, char **argv)
{
	Load load = load_of_arguments(argc, argv);
	Session *sessions = calloc(load.clients, sizeof(Session));
	int64_t succeeded = 0;
	int64_t failed = 0;
	int64_t rows = 0;
	int64_t made;
	double seconds = 0;
	int backend;

	pthread_barrier_init(&all_ready, NULL, load.clients);
	for (int i = 0; i < load.clients; i++)
		session_open(&sessions[i], &load, i);
	backend = PQbackendPID(sessions[0].conn);
	for (int i = 0; i < load.clients; i++)
		pthread_create(&sessions[i].thread, NULL, run_session, &sessions[i]);
	for (int i = 0; i < load.clients; i++)
	{
		pthread_join(sessions[i].thread, NULL);
		PQfinish(sessions[i].conn);
		succeeded += sessions[i].succeeded;
		failed += sessions[i].failed;
		rows += sessions[i].rows;
		seconds += (sessions[i].ended - sessions[i].begun) / load.clients;
	}
	made = succeeded + failed + load.warm_up_calls * load.clients;
	printf("%.3f\t%.6f\t%lld\t%lld\t%.3f\t%d\t%lld\n", (double) succeeded / seconds,
		   1000 * seconds * load.clients / (double) (succeeded + failed), (long long) succeeded,
		   (long long) failed, (double) rows / (double) (succeeded + failed), backend,
		   (long long) made);
	return 0;
}
