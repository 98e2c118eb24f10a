/*-------------------------------------------------------------------------
 *
 * judge.c
 *		Whether a block of a seal is what history says.
 *
 * History passes by once more (leaves.c): an event counts as it is, or as it was
 * before it was redacted or removed, whichever was sealed.  Which that is tells
 * the outline, and the block's digest proves it.  Where that differs, what has
 * passed by is compared with the outline, which tells which event is missing,
 * was put in or changed.
 *
 * Memory: what passes by is in the current context, which the caller resets with
 * each block.  Locks: none.  Calls: block, digest, findings, leaves.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "base/compat.h"
#include "keeping/judge.h"

/* What is kept of what passes by within one block; what is more is reported at once. */
#define JUDGE_MAX_LEAVES (100 * ES_BLOCK_EVENTS)

#define judge_report(judge, ...) \
	es_findings_add_numbered((judge)->findings, (judge)->seal, __VA_ARGS__)

void
es_judge_begin(EsJudge *judge, EsFindings *findings, EsDigester *digester)
{
	judge->findings = findings;
	judge->digester = digester;
	judge->leaf = palloc(sizeof(EsLeaf) * JUDGE_MAX_LEAVES);
	judge->leaf_count = 0;
}

/* What was sealed of a leaf, if it is one of what it is and was: else what it is. */
static const uint8 *
judge_choose(const EsLeaf *leaf, const uint8 *outline)
{
	int i;

	if (es_block_is_prefix(outline, leaf->digest) || leaf->is_misquoted)
		return leaf->digest;
	for (i = 0; i < leaf->before_count; i++)
		if (es_block_is_prefix(outline, leaf->before + i * ES_DIGEST_BYTES))
			return leaf->before + i * ES_DIGEST_BYTES;
	return leaf->digest;
}

static void
judge_report_leaf(EsJudge *judge, const EsLeaf *leaf, bool is_expected)
{
	if (!is_expected)
		judge_report(judge, "the event at position %lld was not there when it was sealed",
					 (long long) leaf->position);
	else if (leaf->is_removed)
		judge_report(judge,
					 "the event that was removed from position %lld is not the one that was sealed",
					 (long long) leaf->position);
	else
		judge_report(judge, "the event at position %lld was changed%s", (long long) leaf->position,
					 leaf->is_misquoted ? ", and that is not what its redactions say" : "");
}

/*
 * Compare what has passed by with the outline of a block whose digest differs.
 * Both are in order of position.  Returns how many rows that made.
 */
static int
judge_compare(EsJudge *judge, const EsSealBlock *block)
{
	int reported = 0;
	int next = 0;
	int i;

	for (i = 0; i < block->events; i++)
	{
		const uint8 *outline = block->outline + i * ES_BLOCK_OUTLINE_BYTES;
		int64 position = es_block_position(outline);

		for (; next < judge->leaf_count && judge->leaf[next].position < position; next++, reported++)
			judge_report_leaf(judge, &judge->leaf[next], false);
		if (next >= judge->leaf_count || judge->leaf[next].position != position)
		{
			judge_report(judge, "the event at position %lld is not there any more",
						 (long long) position);
			reported++;
			continue;
		}
		if (!es_block_is_prefix(outline, judge_choose(&judge->leaf[next], outline)))
		{
			judge_report_leaf(judge, &judge->leaf[next], true);
			reported++;
		}
		next++;
	}
	for (; next < judge->leaf_count; next++, reported++)
		judge_report_leaf(judge, &judge->leaf[next], false);
	return reported;
}

/*
 * Whether a block has an event at a leaf's position; they come in order.
 *
 * block: NULL: there is none.
 * number: of the block's next event, from 0.
 */
static bool
judge_expects(const EsSealBlock *block, int *number, const EsLeaf *leaf)
{
	for (; block != NULL && *number < block->events; (*number)++)
	{
		int64 position = es_block_position(block->outline + *number * ES_BLOCK_OUTLINE_BYTES);

		if (position >= leaf->position)
			return position == leaf->position;
	}
	return false;
}

/*
 * Have history pass by up to a position, and keep it; not what was removed before
 * it was sealed, which is on the list of removed events, but in no outline.
 *
 * block: that it should be; NULL: none.
 */
static void
judge_pass(EsJudge *judge, EsLeaves *leaves, int64 upto, const EsSealBlock *block)
{
	EsLeaf leaf;
	int number = 0;

	judge->leaf_count = 0;
	while (es_leaves_next(leaves, upto, &leaf))
	{
		bool is_expected = judge_expects(block, &number, &leaf);

		CHECK_FOR_INTERRUPTS();
		if (leaf.is_removed && !is_expected)
			continue;
		if (!leaf.has_its_category)
			judge_report(judge, "the event at position %lld is in another category than its stream",
						 (long long) leaf.position);
		if (judge->leaf_count < JUDGE_MAX_LEAVES)
			judge->leaf[judge->leaf_count++] = leaf;
		else
			judge_report_leaf(judge, &leaf, false);
	}
}

/* Whether the block is what has passed by. */
static bool
judge_is_block(EsJudge *judge, const EsSealBlock *block)
{
	uint8 digest[ES_DIGEST_BYTES];
	int i;

	if (judge->leaf_count != block->events)
		return false;
	for (i = 0; i < judge->leaf_count; i++)
		es_digest_bytes(judge->digester,
						judge_choose(&judge->leaf[i], block->outline + i * ES_BLOCK_OUTLINE_BYTES),
						ES_DIGEST_BYTES);
	es_digest_finish(judge->digester, digest);
	return memcmp(digest, block->digest, ES_DIGEST_BYTES) == 0;
}

/* Whether the outline of a block that is right is right, too. */
static bool
judge_is_outlined(EsJudge *judge, const EsSealBlock *block)
{
	int i;

	for (i = 0; i < block->events; i++)
	{
		const uint8 *outline = block->outline + i * ES_BLOCK_OUTLINE_BYTES;
		const EsLeaf *leaf = &judge->leaf[i];

		if (!es_block_is_prefix(outline, judge_choose(leaf, outline)) ||
			es_block_position(outline) != leaf->position)
			return false;
	}
	return true;
}

/* Whether a block is one of which its events can be told. */
static bool
judge_is_legible(const EsSealBlock *block)
{
	int64 before = 0;
	int i;

	if (block->events < 1 || block->events > ES_BLOCK_EVENTS)
		return false;
	for (i = 0; i < block->events; i++)
	{
		int64 position = es_block_position(block->outline + i * ES_BLOCK_OUTLINE_BYTES);

		if (position <= before)
			return false;
		before = position;
	}
	return before == block->last_position;
}

/*
 * Have history pass by up to the end of a block: is it what was sealed?
 *
 * begin: the position after which the block begins.
 */
void
es_judge_block(EsJudge *judge, EsLeaves *leaves, const EsSealBlock *block, int64 begin)
{
	bool is_legible = judge_is_legible(block);

	judge_pass(judge, leaves, block->last_position, is_legible ? block : NULL);
	if (!is_legible)
		judge_report(judge, "the outline of block %lld was changed beyond recognition",
					 (long long) block->number);
	else if (judge_is_block(judge, block))
	{
		if (!judge_is_outlined(judge, block))
			judge_report(judge, "the outline of block %lld was changed", (long long) block->number);
	}
	else if (judge_compare(judge, block) == 0)
		judge_report(judge,
					 "the events after position %lld and up to %lld are not those that were sealed",
					 (long long) begin, (long long) block->last_position);
}

/* Have history pass by behind the last block, where nothing was. */
void
es_judge_rest(EsJudge *judge, EsLeaves *leaves, int64 upto)
{
	int i;

	judge_pass(judge, leaves, upto, NULL);
	for (i = 0; i < judge->leaf_count; i++)
		judge_report_leaf(judge, &judge->leaf[i], false);
}
