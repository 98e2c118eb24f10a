/*-------------------------------------------------------------------------
 *
 * judge.h
 *		Whether a block of a seal is what history says.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_JUDGE_H
#define ES_JUDGE_H

#include "keeping/block.h"
#include "keeping/findings.h"
#include "keeping/leaves.h"

/* A row of eventstore.seal_blocks. */
typedef struct EsSealBlock
{
	int64 seal;
	int64 number;
	int64 last_position;
	int events;
	uint8 digest[ES_DIGEST_BYTES];
	uint8 outline[ES_BLOCK_EVENTS * ES_BLOCK_OUTLINE_BYTES];
} EsSealBlock;

typedef struct EsJudge
{
	EsFindings *findings;
	EsDigester *digester;
	int64 seal;   /* number of the seal that is looked at */
	EsLeaf *leaf; /* what has passed by of the block */
	int leaf_count;
} EsJudge;

extern void es_judge_begin(EsJudge *judge, EsFindings *findings, EsDigester *digester);
extern void es_judge_block(EsJudge *judge, EsLeaves *leaves, const EsSealBlock *block, int64 begin);
extern void es_judge_rest(EsJudge *judge, EsLeaves *leaves, int64 upto);

#endif /* ES_JUDGE_H */
