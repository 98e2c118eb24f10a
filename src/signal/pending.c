/*-------------------------------------------------------------------------
 *
 * pending.c
 *		Categories that an open transaction has to tell of.
 *
 * Each once, with the subtransaction that has appended to it first: if that is
 * rolled back, all that appended to the category later was inside of it, and
 * is gone, too.  They stand on a stack, so those of the subtransaction that
 * ends are the last ones, and its end costs no more than they do; a set beside
 * it tells whether a category is there.
 *
 * Memory: the transaction's context; es_pending_forget before that is gone.
 * Locks: none.  Calls: names.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "base/names.h"
#include "signal/pending.h"

typedef struct PendingKnown
{
	const text *category;
	uint32 hash;
	char status;
} PendingKnown;

#define SH_PREFIX       pending_set
#define SH_ELEMENT_TYPE PendingKnown
#define SH_KEY_TYPE     const text *
#define SH_KEY          category
#define SH_HASH_KEY(set, key) \
	hash_bytes((const unsigned char *) VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key))
#define SH_EQUAL(set, a, b) es_names_equal(a, b)
#define SH_STORE_HASH
#define SH_GET_HASH(set, entry) (entry)->hash
#define SH_SCOPE                static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* A category, and the subtransaction that appended to it first. */
typedef struct PendingCategory
{
	text *category;
	SubTransactionId sub;
} PendingCategory;

/* Categories that there is room for at first. */
#define PENDING_FIRST 32

static pending_set_hash *pending_set = NULL;
static PendingCategory *pending_stack = NULL;
static int pending_depth = 0;
static int pending_limit = 0;

static void
pending_make(void)
{
	pending_set = pending_set_create(TopTransactionContext, PENDING_FIRST, NULL);
	pending_stack = MemoryContextAlloc(TopTransactionContext,
									   sizeof(PendingCategory) * PENDING_FIRST);
	pending_limit = PENDING_FIRST;
	pending_depth = 0;
}

/* This (sub)transaction appends to a stream of a category. */
void
es_pending_add(const text *category)
{
	MemoryContext caller;
	PendingCategory *entry;
	bool is_known;

	if (pending_set == NULL)
		pending_make();
	if (pending_set_lookup(pending_set, category) != NULL)
		return;

	caller = MemoryContextSwitchTo(TopTransactionContext);
	if (pending_depth == pending_limit)
	{
		pending_limit *= 2;
		pending_stack = repalloc_huge(pending_stack, sizeof(PendingCategory) * pending_limit);
	}
	entry = &pending_stack[pending_depth];
	entry->category = (text *) pg_detoast_datum_copy((struct varlena *) category);
	entry->sub = GetCurrentSubTransactionId();
	(void) pending_set_insert(pending_set, entry->category, &is_known);
	pending_depth++;
	MemoryContextSwitchTo(caller);
}

int
es_pending_count(void)
{
	return pending_depth;
}

/* The i-th of them, from 0. */
const text *
es_pending_get(int i)
{
	return pending_stack[i].category;
}

/* A subtransaction merges into its parent. */
void
es_pending_keep_sub(SubTransactionId sub, SubTransactionId parent)
{
	int i;

	for (i = pending_depth - 1; i >= 0 && pending_stack[i].sub == sub; i--)
		pending_stack[i].sub = parent;
}

/* A subtransaction is rolled back. */
void
es_pending_undo_sub(SubTransactionId sub)
{
	while (pending_depth > 0 && pending_stack[pending_depth - 1].sub == sub)
	{
		text *category = pending_stack[--pending_depth].category;

		(void) pending_set_delete(pending_set, category);
		pfree(category);
	}
}

/* The transaction ends. */
void
es_pending_forget(void)
{
	pending_set = NULL;
	pending_stack = NULL;
	pending_depth = pending_limit = 0;
}
