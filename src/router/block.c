/*
 * block.c
 *		Whether a statement could still be rolled back: what the router has sent to
 *		another machine could not.
 *
 * Called in databases that have no store, too: by extension eventstore_router,
 * whose functions are SQL else.
 *
 * Memory: none.  Locks: none.  Calls: nothing of ours.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"

PG_FUNCTION_INFO_V1(es_is_in_block);

/*
 * eventstore.is_in_block() → boolean
 *
 * Whether the statement is in a transaction block, in a subtransaction, or in a
 * string of several statements.  Where it is not, and comes by a pipeline, it is
 * committed before the next one.
 */
Datum
es_is_in_block(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(IsInTransactionBlock(true));
}
