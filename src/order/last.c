/*-------------------------------------------------------------------------
 *
 * last.c
 *		The position of the last event that this session appended.
 *
 * What is rolled back does not count, to a savepoint neither: each
 * (sub)transaction that appends keeps what was there before it, on a stack,
 * and its end takes it from there.  A prepared transaction does not count
 * either, as it is decided later, and maybe elsewhere.
 *
 * DISCARD ALL, which poolers send between two clients, forgets it, and so does
 * DISCARD SEQUENCES, as they do lastval().
 *
 * Memory: static variables; the stack in TopMemoryContext, as deep as
 * subtransactions that append are nested.  Locks: none.  Calls: catalog.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/memutils.h"

#include "base/catalog.h"
#include "order/last.h"

/* A position, and of which store (its sequence's OID). */
typedef struct LastPosition
{
	int64 position;
	Oid store; /* InvalidOid: none */
} LastPosition;

/* What was there before a (sub)transaction appended first. */
typedef struct LastBefore
{
	LastPosition before;
	SubTransactionId sub;
} LastBefore;

static LastPosition last = {0, InvalidOid};

/* Of the open (sub)transactions that have appended, the innermost last. */
static LastBefore *last_stack = NULL;
static int last_depth = 0;
static int last_limit = 0;

static ProcessUtility_hook_type last_previous_utility = NULL;

static void
last_push(SubTransactionId sub)
{
	if (last_depth == last_limit)
	{
		int limit = Max(8, last_limit * 2);

		if (last_stack == NULL)
			last_stack = MemoryContextAlloc(TopMemoryContext, sizeof(LastBefore) * limit);
		else
			last_stack = repalloc(last_stack, sizeof(LastBefore) * limit);
		last_limit = limit;
	}
	last_stack[last_depth].before = last;
	last_stack[last_depth].sub = sub;
	last_depth++;
}

/* Note the position of the last event of an append. */
void
es_last_remember(int64 position)
{
	SubTransactionId sub = GetCurrentSubTransactionId();

	if (last_depth == 0 || last_stack[last_depth - 1].sub != sub)
		last_push(sub);
	last.position = position;
	last.store = es_catalog_oid(ES_POSITIONS);
}

/* Returns false if this session has not appended yet to this store. */
bool
es_last_get(int64 *position)
{
	*position = last.position;
	return OidIsValid(last.store) && last.store == es_catalog_oid(ES_POSITIONS);
}

/* The transaction is committed. */
void
es_last_keep(void)
{
	last_depth = 0;
}

/* The transaction is rolled back, or prepared. */
void
es_last_undo(void)
{
	if (last_depth > 0)
		last = last_stack[0].before;
	last_depth = 0;
}

/* A subtransaction merges into its parent. */
void
es_last_keep_sub(SubTransactionId sub, SubTransactionId parent)
{
	if (last_depth == 0 || last_stack[last_depth - 1].sub != sub)
		return;
	if (last_depth > 1 && last_stack[last_depth - 2].sub == parent)
		last_depth--;
	else
		last_stack[last_depth - 1].sub = parent;
}

/* A subtransaction is rolled back. */
void
es_last_undo_sub(SubTransactionId sub)
{
	if (last_depth == 0 || last_stack[last_depth - 1].sub != sub)
		return;
	last_depth--;
	last = last_stack[last_depth].before;
}

/* ----------------------------------------------------------------------
 * DISCARD
 * ----------------------------------------------------------------------
 */

/* Whatever is rolled back later, it does not come back. */
static void
last_forget(void)
{
	const LastPosition none = {0, InvalidOid};
	int i;

	last = none;
	for (i = 0; i < last_depth; i++)
		last_stack[i].before = none;
}

static bool
last_is_forgotten_by(Node *command)
{
	return IsA(command, DiscardStmt) &&
		(castNode(DiscardStmt, command)->target == DISCARD_ALL ||
		 castNode(DiscardStmt, command)->target == DISCARD_SEQUENCES);
}

static void
last_utility(PlannedStmt *statement, const char *source, bool read_only_tree,
			 ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *environment,
			 DestReceiver *receiver, QueryCompletion *completion)
{
	/* Asked before: the command may end the portal that holds the statement. */
	bool is_forgotten = last_is_forgotten_by(statement->utilityStmt);

	if (last_previous_utility)
		last_previous_utility(statement, source, read_only_tree, context, params, environment,
							  receiver, completion);
	else
		standard_ProcessUtility(statement, source, read_only_tree, context, params, environment,
								receiver, completion);
	if (is_forgotten)
		last_forget();
}

/* Called once, by _PG_init. */
void
es_last_init(void)
{
	last_previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = last_utility;
}
