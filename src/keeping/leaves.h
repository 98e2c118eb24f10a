/*-------------------------------------------------------------------------
 *
 * leaves.h
 *		The digests of history, event by event, as it was before it was changed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_LEAVES_H
#define ES_LEAVES_H

#include "base/scan.h"
#include "keeping/digest.h"
#include "keeping/removals.h"

/* What was at a position. */
typedef struct EsLeaf
{
	int64 position;
	bool is_removed;
	bool has_its_category; /* not of a removed event */
	/* What it is, or was when it was removed; and what it was before each of its redactions. */
	uint8 digest[ES_DIGEST_BYTES];
	int before_count;
	uint8 *before;     /* one digest after the other, in the current context */
	bool is_misquoted; /* its redactions do not lead to what it is */
} EsLeaf;

/* A row of eventstore.redactions. */
typedef struct EsRedaction
{
	int64 position;
	uint8 before[ES_DIGEST_BYTES];
	uint8 after[ES_DIGEST_BYTES];
} EsRedaction;

typedef struct EsLeaves
{
	MemoryContext memory; /* in which it was opened */
	Relation events;
	EsScan scan;
	EsDigester *digester;
	bool has_event; /* in scan.slot */

	EsRemovals removals;
	bool has_removal;
	EsRemoval removal;

	Portal redactions;
	bool has_redaction;
	EsRedaction redaction;
} EsLeaves;

extern void es_leaves_open(EsLeaves *leaves, int64 after, int64 upto, EsDigester *digester);
extern bool es_leaves_next(EsLeaves *leaves, int64 upto, EsLeaf *leaf);
extern void es_leaves_close(EsLeaves *leaves);

#endif /* ES_LEAVES_H */
