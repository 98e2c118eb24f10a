/*-------------------------------------------------------------------------
 *
 * window.c
 *		Between positions taken and rows in the table: who is there.
 *
 * Whoever looks, having taken position P, for events below P finds the rows
 * of open transactions in the indexes, too; but not those whose appender has
 * taken its positions and has not inserted its rows yet.  That is a moment,
 * the appender's window.  It opens it before it takes positions, and closes it
 * when the rows are in; who looks waits first until each window that was open
 * has been closed.  Then every row below P is there, or never will be.
 *
 * A window is a number in those bits of the session's own PGPROC field
 * delayChkptFlags that PostgreSQL has no use for: appenders pay two stores for
 * it, it needs no shared memory of our own, others can read it, and the end of
 * a transaction sets the field to zero, whatever way it ends.
 *
 * The order of stores and loads: a window is opened before the sequence's page
 * is locked to take positions.  Whoever takes higher ones locks that page
 * later, and so sees the window open, or closed again; and if closed, the rows,
 * as their pages were unlocked before.
 *
 * Memory: static variables of the backend.  Locks: none; who waits for long
 * waits for the other's transaction, so that the deadlock detector knows.
 * Calls: nothing of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/proc.h"

#include "order/window.h"

/* PostgreSQL's own flags are below. */
#define WINDOW_SHIFT   8
#define WINDOW_NUMBERS (1 << 22)

StaticAssertDecl(DELAY_CHKPT_COMPLETE < 1 << WINDOW_SHIFT, "windows have bits of their own");

/* How long is looked again, in microseconds, before the transaction is waited for. */
#define WINDOW_FIRST_PAUSE 10
#define WINDOW_LAST_PAUSE  1000
#define WINDOW_PATIENCE    20000

static int window_number = 0; /* of the last one */

/* The subtransaction that has one open; InvalidSubTransactionId: none is. */
static SubTransactionId window_sub = InvalidSubTransactionId;

/* Whether positions have been taken in it. */
static bool window_has_positions = false;

static void
window_set(int number)
{
	volatile PGPROC *proc = MyProc;

	proc->delayChkptFlags = (proc->delayChkptFlags & ((1 << WINDOW_SHIFT) - 1)) |
		(number << WINDOW_SHIFT);
}

/* The window that a session has open; 0: none. */
static int
window_get(volatile PGPROC *proc)
{
	return proc->delayChkptFlags >> WINDOW_SHIFT;
}

/* Have others see the window open, under a new number. */
void
es_window_resume(void)
{
	window_number = window_number % (WINDOW_NUMBERS - 1) + 1;
	window_set(window_number);
}

/*
 * Open the window, before positions are taken.  Returns false if it is open
 * already, as a trigger's append finds it inside of another's: then it is that
 * one's to close.
 */
bool
es_window_open(void)
{
	if (window_sub != InvalidSubTransactionId)
		return false;
	window_sub = GetCurrentSubTransactionId();
	window_has_positions = false;
	es_window_resume();
	return true;
}

/* Positions have been taken in it. */
void
es_window_take(void)
{
	window_has_positions = true;
}

/*
 * Close it for a while, if it is open and there are no positions yet.  Returns
 * whether es_window_resume has to be called.
 */
bool
es_window_suspend(void)
{
	if (window_sub == InvalidSubTransactionId || window_has_positions)
		return false;
	window_set(0);
	return true;
}

/* Close it: the rows are in the table and in its indexes. */
void
es_window_close(void)
{
	pg_write_barrier();
	window_set(0);
	window_sub = InvalidSubTransactionId;
}

/* A subtransaction is rolled back: so are its rows. */
void
es_window_abort_sub(SubTransactionId sub)
{
	if (window_sub == sub)
		es_window_close();
}

/* The transaction is over; its PGPROC is clean already. */
void
es_window_forget(void)
{
	window_sub = InvalidSubTransactionId;
}

static void
window_wait_for(volatile PGPROC *proc, int number)
{
	TransactionId xid = proc->xid;
	long pause = WINDOW_FIRST_PAUSE;
	long waited = 0;

	while (window_get(proc) == number)
	{
		CHECK_FOR_INTERRUPTS();
		if (waited >= WINDOW_PATIENCE && TransactionIdIsValid(xid))
		{
			XactLockTableWait(xid, NULL, NULL, XLTW_None);
			return;
		}
		pg_usleep(pause);
		waited += pause;
		pause = Min(pause * 2, WINDOW_LAST_PAUSE);
	}
}

/*
 * Wait until every window that others have open in this database at this
 * moment is closed.  Call it with positions taken and rows inserted.
 */
void
es_window_wait_for_others(void)
{
	uint32 i;

	pg_memory_barrier();
	for (i = 0; i < ProcGlobal->allProcCount; i++)
	{
		volatile PGPROC *proc = &ProcGlobal->allProcs[i];
		int number = window_get(proc);

		if (number != 0 && proc != MyProc && proc->databaseId == MyDatabaseId)
			window_wait_for(proc, number);
	}
	pg_memory_barrier();
}
