/*
 * A module for tests: holds a session between the callback of its commit and what follows, where it has sent no invalidation yet and still
 * has its locks. Preloaded before eventstore, as callbacks are called in the opposite order of their registration.
 *
 * A session with late.gate set to a path that is a file makes one beside it, "<path>.reached", at its commit, and waits until the file
 * is gone.
 */
#include "postgres.h"

#include <unistd.h>

#include "access/xact.h"
#include "fmgr.h"
#include "utils/guc.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

static char *late_gate;

static void
late_on_end(XactEvent event, void *arg)
{
	char reached[MAXPGPATH];
	FILE *file;

	if (event != XACT_EVENT_COMMIT || late_gate[0] == '\0' || access(late_gate, F_OK) != 0)
		return;
	snprintf(reached, sizeof(reached), "%s.reached", late_gate);
	file = fopen(reached, "w");
	if (file != NULL)
		fclose(file);
	while (access(late_gate, F_OK) == 0)
		pg_usleep(1000);
}

void
_PG_init(void)
{
	DefineCustomStringVariable("late.gate", "The file that keeps a commit waiting.", NULL, &late_gate, "", PGC_USERSET, 0, NULL, NULL, NULL);
	RegisterXactCallback(late_on_end, NULL);
}
