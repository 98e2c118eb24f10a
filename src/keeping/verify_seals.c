/*-------------------------------------------------------------------------
 *
 * verify_seals.c
 *		es_verify_seals: is history what was sealed?
 *
 * The seals must follow each other without a gap, and each seal's digest be that
 * of its blocks, its row and the seal before.  Then each block is compared with
 * history (judge.c).
 *
 * One snapshot, the statement's, sees it all.  Nobody waits, and nothing is
 * written but a row that says what has come of it, where that can be, so it works
 * on a standby and beside everything else.
 *
 * Memory: a block's is given back with it.  Locks: AccessShare on the tables.
 * Calls: as_owner, block, digest, findings, judge, leaves, sql.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/compat.h"
#include "base/sql.h"
#include "keeping/as_owner.h"
#include "keeping/block.h"
#include "keeping/digest.h"
#include "keeping/findings.h"
#include "keeping/judge.h"
#include "keeping/leaves.h"

PG_FUNCTION_INFO_V1(es_verify_seals);

typedef struct SealCheck
{
	EsJudge judge;
	EsDigester *of_seal;
	EsLeaves leaves;
	MemoryContext memory; /* for a block */

	Portal blocks;
	bool has_block;
	EsSealBlock block; /* the next one */
	int64 position;    /* how far history has passed by */
} SealCheck;

/* ----------------------------------------------------------------------
 * What was stored
 * ----------------------------------------------------------------------
 */

static Datum
seals_get(int column)
{
	bool is_null;

	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, &is_null);
}

/* Bytes of a fixed length; zeroes where there are too few. */
static void
seals_get_bytes(int column, uint8 *bytes, Size length)
{
	bytea *value = DatumGetByteaPP(seals_get(column));

	memset(bytes, 0, length);
	memcpy(bytes, VARDATA_ANY(value), Min(length, VARSIZE_ANY_EXHDR(value)));
}

static Portal
seals_open(const char *query)
{
	return SPI_cursor_open_with_args(NULL, query, 0, NULL, NULL, NULL, true, CURSOR_OPT_NO_SCROLL);
}

static bool
seals_fetch(Portal portal)
{
	SPI_cursor_fetch(portal, true, 1);
	return SPI_processed > 0;
}

static void
seals_next_block(SealCheck *check)
{
	EsSealBlock *block = &check->block;

	check->has_block = seals_fetch(check->blocks);
	if (check->has_block)
	{
		block->seal = DatumGetInt64(seals_get(1));
		block->number = DatumGetInt64(seals_get(2));
		block->last_position = DatumGetInt64(seals_get(3));
		block->events = DatumGetInt32(seals_get(4));
		seals_get_bytes(5, block->digest, ES_DIGEST_BYTES);
		seals_get_bytes(6, block->outline, sizeof(block->outline));
	}
	SPI_freetuptable(SPI_tuptable);
}

static bool
seals_next(Portal portal, EsSeal *seal)
{
	bool has_seal = seals_fetch(portal);

	if (has_seal)
	{
		seal->number = DatumGetInt64(seals_get(1));
		seal->after = DatumGetInt64(seals_get(2));
		seal->upto = DatumGetInt64(seals_get(3));
		seal->events = DatumGetInt64(seals_get(4));
		seal->sealed_at = DatumGetTimestampTz(seals_get(5));
		seals_get_bytes(6, seal->digest, ES_DIGEST_BYTES);
	}
	SPI_freetuptable(SPI_tuptable);
	return has_seal;
}

/* ----------------------------------------------------------------------
 * A seal
 * ----------------------------------------------------------------------
 */

#define seals_report(check, seal, ...) \
	es_findings_add_numbered((check)->judge.findings, (seal)->number, __VA_ARGS__)

static void
seals_check_block(SealCheck *check, const EsSeal *seal)
{
	const EsSealBlock *block = &check->block;
	MemoryContext caller = MemoryContextSwitchTo(check->memory);
	int64 begin = check->position;

	if (block->last_position <= begin || block->last_position > seal->upto)
		seals_report(check, seal, "block %lld is out of place", (long long) block->number);
	else
	{
		es_judge_block(&check->judge, &check->leaves, block, begin);
		check->position = block->last_position;
	}
	MemoryContextSwitchTo(caller);
	MemoryContextReset(check->memory);
}

/* Does it follow the one before? */
static void
seals_check_place(SealCheck *check, const EsSeal *before, const EsSeal *seal)
{
	if (seal->number != before->number + 1)
		seals_report(check, seal, "it follows seal %lld", (long long) before->number);
	if (seal->after != before->upto)
		seals_report(check, seal, "it begins after position %lld, the one before ends with %lld",
					 (long long) seal->after, (long long) before->upto);
	if (seal->upto <= seal->after)
		seals_report(check, seal, "it ends with position %lld, after which it begins",
					 (long long) seal->upto);
}

/* A range that no seal is of passes by unseen. */
static void
seals_skip(SealCheck *check, int64 upto)
{
	EsLeaf leaf;

	while (es_leaves_next(&check->leaves, upto, &leaf))
		CHECK_FOR_INTERRUPTS();
	check->position = Max(check->position, upto);
}

static void
seals_check_one(SealCheck *check, const EsSeal *before, const EsSeal *seal)
{
	uint8 digest[ES_DIGEST_BYTES];
	MemoryContext caller;
	int64 events = 0;

	check->judge.seal = seal->number;
	seals_check_place(check, before, seal);
	es_block_seal_begin(check->of_seal, before);
	for (; check->has_block && check->block.seal < seal->number; seals_next_block(check))
		es_findings_add_numbered(check->judge.findings, check->block.seal,
								 "there is block %lld, but no such seal",
								 (long long) check->block.number);
	seals_skip(check, seal->after);
	for (; check->has_block && check->block.seal == seal->number; seals_next_block(check))
	{
		events += check->block.events;
		es_digest_bytes(check->of_seal, check->block.digest, ES_DIGEST_BYTES);
		seals_check_block(check, seal);
	}
	es_block_seal_finish(check->of_seal, seal, digest);
	if (memcmp(digest, seal->digest, ES_DIGEST_BYTES) != 0)
		seals_report(check, seal,
					 "its digest is not that of its row, its blocks and the seal before");
	if (events != seal->events)
		seals_report(check, seal, "it is of %lld events, but its blocks are of %lld",
					 (long long) seal->events, (long long) events);

	/* Where blocks are missing, their events would seem to have been put in. */
	caller = MemoryContextSwitchTo(check->memory);
	if (events == seal->events)
		es_judge_rest(&check->judge, &check->leaves, seal->upto);
	seals_skip(check, seal->upto);
	MemoryContextSwitchTo(caller);
	MemoryContextReset(check->memory);
}

static void
seals_check_all(SealCheck *check, int64 upto)
{
	Portal seals = seals_open("SELECT seal, after_position, upto, events, sealed_at, digest "
							  "FROM eventstore.seals ORDER BY seal");
	EsSeal before = {0};
	EsSeal seal;

	check->blocks = seals_open("SELECT seal, block, last_position, events, digest, outline "
							   "FROM eventstore.seal_blocks ORDER BY seal, block");
	seals_next_block(check);
	es_leaves_open(&check->leaves, 0, upto, check->judge.digester);
	while (seals_next(seals, &seal))
	{
		seals_check_one(check, &before, &seal);
		before = seal;
	}
	for (; check->has_block; seals_next_block(check))
		es_findings_add_numbered(check->judge.findings, check->block.seal,
								 "there is block %lld, but no such seal",
								 (long long) check->block.number);
	es_leaves_close(&check->leaves);
	SPI_cursor_close(check->blocks);
	SPI_cursor_close(seals);
}

/* Up to where history is sealed. */
static int64
seals_find_end(void)
{
	bool is_null;
	int64 upto;

	if (SPI_execute("SELECT max(upto) FROM eventstore.seals", true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not find the last seal");
	upto = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null));
	SPI_freetuptable(SPI_tuptable);
	return is_null ? 0 : upto;
}

/* Note what has come of it, where that can be written down; nobody is waited for. */
static void
seals_note(int64 upto, int64 differences, Oid role)
{
	static EsSql statement =
		ES_SQL("INSERT INTO eventstore.seal_verifications (verified_at, verified_by, upto, differences) "
			   "VALUES (pg_catalog.clock_timestamp(), $3, $1, $2)",
			   INT8OID, INT8OID, TEXTOID);
	Datum values[] = {Int64GetDatum(upto), Int64GetDatum(differences),
					  CStringGetTextDatum(GetUserNameFromId(role, false))};

	if (!RecoveryInProgress() && !XactReadOnly && !IsInParallelMode())
		(void) es_sql_run(&statement, values, NULL);
}

/*
 * es_verify_seals() -> SETOF (seal bigint, detail text)
 */
Datum
es_verify_seals(PG_FUNCTION_ARGS)
{
	EsDigester *digester;
	SealCheck *check;
	EsAsOwner owner;
	int64 upto;

	InitMaterializedSRF(fcinfo, 0);
	PushCopiedSnapshot(GetActiveSnapshot());
	UpdateActiveSnapshotCommandId();
	SPI_connect();
	es_as_owner_begin(&owner);
	check = palloc0(sizeof(SealCheck));
	digester = es_digest_begin();
	es_judge_begin(&check->judge, (EsFindings *) fcinfo->resultinfo, digester);
	check->of_seal = es_digest_begin();
	check->memory = AllocSetContextCreate(CurrentMemoryContext, "block", ALLOCSET_DEFAULT_SIZES);
	upto = seals_find_end();
	seals_check_all(check, upto);
	es_digest_end(check->of_seal);
	es_digest_end(digester);
	seals_note(upto, tuplestore_tuple_count(((ReturnSetInfo *) fcinfo->resultinfo)->setResult),
			   owner.user);
	es_as_owner_end(&owner);
	SPI_finish();
	PopActiveSnapshot();
	return (Datum) 0;
}
