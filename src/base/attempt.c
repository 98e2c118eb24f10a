/*-------------------------------------------------------------------------
 *
 * attempt.c
 *		Something that may fail, and leave nothing behind.
 *
 * It runs in a subtransaction, as the body of a plpgsql block with EXCEPTION
 * does: what it has done is taken back when it fails, its locks with it.
 *
 * Memory: the current context, also for what is done.  Locks: none.  Calls:
 * nothing of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "base/attempt.h"

/* Do something.  Returns the error that it has ended with, NULL if with none. */
ErrorData *
es_attempt(EsAttemptAction action, void *argument)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		action(argument);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return error;
}
