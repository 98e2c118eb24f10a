/*-------------------------------------------------------------------------
 *
 * witness.c
 *		What a process is doing with a projection, for when it dies of that.
 *
 * A projection's SQL can end the process that runs it: it runs out of memory
 * and is killed, it crashes, it terminates itself.  That takes back whatever the
 * transaction has written, and shared memory with it where the server starts
 * anew.  So what a process is about to do stands in a file, from before it
 * begins until just before it commits or is rolled back: only the holder of the
 * projection's lock writes it, and who has the lock next and finds that somebody
 * was at work knows what it died of.  The file is not flushed: an event does not
 * take the machine down.  There is none where nothing is to be remembered.
 *
 * Not everybody who ends at work died of it.  When another process dies, the
 * postmaster ends all others by SIGQUIT; and SIGTERM may come from it, or from a
 * session.  es_witness_watch has handlers for both, which note it; a FATAL error is
 * noted with its message.
 *
 * The files are in the folder of temporary statistics, which backups leave out
 * and which a restart after a crash does not empty.  Where one can not be
 * written, that is told once, and things go on without.
 *
 * Memory: static variables.  Locks: the caller holds the projection's.  Calls:
 * catalog, shared.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "common/hashfn.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"

#include "base/catalog.h"
#include "projection/witness.h"
#include "signal/shared.h"

#define WITNESS_MAGIC 0x45530001

/* The file of what this process is at work on; -1: on nothing. */
static volatile sig_atomic_t witness_file = -1;
static char witness_path[MAXPGPATH];

/* Who has sent SIGTERM; 0: nobody. */
static volatile sig_atomic_t witness_terminated_by = 0;

/* The error that this process ends with; its SQLSTATE, 0: none. */
static int witness_error_code = 0;
static char witness_error[ES_WITNESS_MESSAGE_BYTES];

static emit_log_hook_type witness_previous_log_hook = NULL;

/* ----------------------------------------------------------------------
 * Files
 * ----------------------------------------------------------------------
 */

static void
witness_make_path(const char *projection, char *path)
{
	uint64 hash = hash_bytes_extended((const unsigned char *) projection, (int) strlen(projection),
									  0);

	snprintf(path, MAXPGPATH, "%s/eventstore.%u.%08x%08x", PG_STAT_TMP_DIR, MyDatabaseId,
			 (uint32) (hash >> 32), (uint32) hash);
}

static void
witness_complain(const char *path)
{
	static bool is_told = false;

	if (!is_told)
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", path),
				 errdetail("Events of which the process dies that applies them are not found out.")));
	is_told = true;
}

static int
witness_open(const char *path, int flags)
{
	return BasicOpenFile(path, O_RDWR | PG_BINARY | flags);
}

static bool
witness_write(int file, const EsWitness *witness)
{
	return pwrite(file, witness, sizeof(EsWitness), 0) == sizeof(EsWitness);
}

/*
 * What is remembered of a projection.
 *
 * witness: receives it; as empty as can be where that is nothing.
 */
void
es_witness_read(const char *projection, EsWitness *witness)
{
	char path[MAXPGPATH];
	int file;
	bool is_read = false;

	witness_make_path(projection, path);
	file = witness_open(path, 0);
	if (file >= 0)
	{
		is_read = pread(file, witness, sizeof(EsWitness), 0) == sizeof(EsWitness);
		close(file);
	}
	if (is_read && witness->magic == WITNESS_MAGIC &&
		witness->store == es_catalog_oid(ES_POSITIONS) &&
		strncmp(witness->projection, projection, sizeof(witness->projection)) == 0)
		return;
	memset(witness, 0, sizeof(EsWitness));
	witness->magic = WITNESS_MAGIC;
	witness->store = es_catalog_oid(ES_POSITIONS);
	strlcpy(witness->projection, projection, sizeof(witness->projection));
}

/* Remember something of a projection that nobody is at work on. */
void
es_witness_save(EsWitness *witness)
{
	char path[MAXPGPATH];
	int file;

	witness_make_path(witness->projection, path);
	witness->state = ES_WITNESS_IDLE;
	if (witness->suspects == 0 && witness->pause_ms == 0)
	{
		(void) unlink(path);
		return;
	}
	file = witness_open(path, O_CREAT);
	if (file < 0 || !witness_write(file, witness))
		witness_complain(path);
	if (file >= 0)
		close(file);
}

/* Remember nothing of a projection. */
void
es_witness_forget(const char *projection)
{
	char path[MAXPGPATH];

	witness_make_path(projection, path);
	(void) unlink(path);
}

/*
 * A projection, that nobody is at work on, has another name.  Where that is
 * rolled back, nothing is remembered.
 */
void
es_witness_rename(const char *projection, const char *new_name)
{
	EsWitness witness;
	char path[MAXPGPATH];
	int file;

	es_witness_read(projection, &witness);
	es_witness_forget(projection);
	es_witness_forget(new_name);
	if (witness.state == ES_WITNESS_IDLE && witness.suspects == 0 && witness.pause_ms == 0)
		return;
	strlcpy(witness.projection, new_name, sizeof(witness.projection));
	witness_make_path(new_name, path);
	file = witness_open(path, O_CREAT);
	if (file < 0 || !witness_write(file, &witness))
		witness_complain(path);
	if (file >= 0)
		close(file);
}

/* This process begins to apply a batch: after, upto and count of the witness. */
void
es_witness_begin(EsWitness *witness)
{
	int file;

	witness_make_path(witness->projection, witness_path);
	witness->state = ES_WITNESS_AT_WORK;
	if (!witness->is_deadly)
		witness->code = 0;
	file = witness_open(witness_path, O_CREAT);
	if (file < 0 || !witness_write(file, witness))
		witness_complain(witness_path);
	witness_file = file;
}

/* It is through, in whatever way, and has the projection's lock still. */
void
es_witness_end(EsWitness *witness)
{
	int file = witness_file;

	witness_file = -1;
	if (file >= 0)
		close(file);
	es_witness_save(witness);
}

/* ----------------------------------------------------------------------
 * The end of a process
 * ----------------------------------------------------------------------
 */

/* SIGQUIT: somebody else has died, or the server is stopped at once. */
static void
witness_on_quit(SIGNAL_ARGS)
{
	const int32 state = ES_WITNESS_ENDED;
	ssize_t written pg_attribute_unused() = 0;

	if (witness_file >= 0)
		written = pwrite(witness_file, &state, sizeof(state), offsetof(EsWitness, state));
	_exit(2);
}

static void
witness_on_terminate(int signal_number, siginfo_t *info, void *context)
{
	witness_terminated_by = info->si_pid;
	die(signal_number);
}

/* Keep what ends the process. */
static void
witness_on_log(ErrorData *error)
{
	if (error->elevel >= FATAL && witness_file >= 0)
	{
		witness_error_code = error->sqlerrcode;
		strlcpy(witness_error, error->message == NULL ? "" : error->message, sizeof(witness_error));
	}
	if (witness_previous_log_hook)
		witness_previous_log_hook(error);
}

/*
 * Whether this process has been told to end for a reason that has nothing to do
 * with what it does: the server stops, or the database has to be empty.
 */
static bool
witness_is_over(void)
{
	return witness_terminated_by == PostmasterPid || es_shared_is_held(MyDatabaseId);
}

static void
witness_on_exit(int code, Datum arg)
{
	EsWitness witness;

	if (witness_file < 0)
		return;
	if (pread(witness_file, &witness, sizeof(witness), 0) != sizeof(witness))
		return;
	if (witness_terminated_by != 0 && witness_is_over())
	{
		es_witness_end(&witness);
		return;
	}
	/* Who terminates himself, by whatever function, is as good as dead. */
	witness.state = witness_terminated_by != 0 && witness_terminated_by != MyProcPid
		? ES_WITNESS_ENDED
		: ES_WITNESS_BROKEN;
	witness.code = witness_error_code;
	strlcpy(witness.message, witness_error, sizeof(witness.message));
	if (!witness_write(witness_file, &witness))
		witness_complain(witness_path);
	close(witness_file);
	witness_file = -1;
}

/*
 * From now on the end of this process is noted.  For a process of ours, whose
 * signals they are, after it has set its handlers.
 */
void
es_witness_watch(void)
{
	struct sigaction terminate = {.sa_sigaction = witness_on_terminate,
								  .sa_flags = SA_SIGINFO | SA_RESTART};

	sigemptyset(&terminate.sa_mask);
	(void) sigaction(SIGTERM, &terminate, NULL);
	pqsignal(SIGQUIT, witness_on_quit);
	witness_previous_log_hook = emit_log_hook;
	emit_log_hook = witness_on_log;
	before_shmem_exit(witness_on_exit, (Datum) 0);
}
