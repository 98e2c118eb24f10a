/*-------------------------------------------------------------------------
 *
 * digest.c
 *		What an event comes down to: SHA-256 over its bytes.
 *
 * The bytes are those of docs/keeping.md, "The digest of an event", so that
 * anybody can compute the same from a SELECT: numbers, ids and times as
 * PostgreSQL's binary protocol sends them, texts and JSON as it prints them, in
 * UTF8, each with its length before it.  What is stored says nothing of these,
 * so a digest outlives dump, restore and the next major.
 *
 * Memory: a digester in the current context; what an event's digest takes is
 * left to the caller to reset.  PostgreSQL's hash belongs to the resource owner.
 * Locks: none.  Calls: nothing of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "utils/array.h"
#include "utils/jsonb.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "keeping/digest.h"

PG_FUNCTION_INFO_V1(es_event_digest);

/* The length of what is null. */
#define DIGEST_NULL (-1)

/* So many bytes are hashed before another field is added, and no more are kept for the next event. */
#define DIGEST_BUFFER_BYTES 65536

struct EsDigester
{
	MemoryContext memory; /* of bytes */
	pg_cryptohash_ctx *hash;
	bool is_started;
	StringInfoData bytes; /* not hashed yet */
};

static void
digest_check(EsDigester *digester, int status)
{
	if (status < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute a SHA-256 digest: %s",
						pg_cryptohash_error(digester->hash))));
}

/*
 * Prepare to make digests.  End it with es_digest_end, in the same resource
 * owner; an error ends it, too.
 */
EsDigester *
es_digest_begin(void)
{
	EsDigester *digester = (EsDigester *) palloc0(sizeof(EsDigester));

	digester->memory = CurrentMemoryContext;
	initStringInfo(&digester->bytes);
	digester->hash = pg_cryptohash_create(PG_SHA256);
	if (digester->hash == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errdetail("A SHA-256 digest could not be begun.")));
	return digester;
}

/* Let go of what it took. */
void
es_digest_end(EsDigester *digester)
{
	pg_cryptohash_free(digester->hash);
	pfree(digester->bytes.data);
	pfree(digester);
}

/*
 * Add bytes to the digest that es_digest_finish makes.
 */
void
es_digest_bytes(EsDigester *digester, const void *bytes, Size length)
{
	if (!digester->is_started)
		digest_check(digester, pg_cryptohash_init(digester->hash));
	digester->is_started = true;
	digest_check(digester, pg_cryptohash_update(digester->hash, (const uint8 *) bytes, length));
}

/*
 * The digest of the bytes since the last one.
 *
 * digest: receives ES_DIGEST_BYTES bytes.
 */
void
es_digest_finish(EsDigester *digester, uint8 *digest)
{
	if (!digester->is_started)
		es_digest_bytes(digester, "", 0);
	digest_check(digester, pg_cryptohash_final(digester->hash, digest, ES_DIGEST_BYTES));
	digester->is_started = false;
}

static void
digest_flush(EsDigester *digester)
{
	es_digest_bytes(digester, digester->bytes.data, digester->bytes.len);
	if (digester->bytes.maxlen <= 2 * DIGEST_BUFFER_BYTES)
		resetStringInfo(&digester->bytes);
	else
	{
		MemoryContext caller = MemoryContextSwitchTo(digester->memory);

		pfree(digester->bytes.data);
		initStringInfo(&digester->bytes);
		MemoryContextSwitchTo(caller);
	}
}

static void
digest_add_int32(EsDigester *digester, int32 value)
{
	uint32 bytes = pg_hton32((uint32) value);

	appendBinaryStringInfo(&digester->bytes, (char *) &bytes, sizeof(bytes));
}

static void
digest_add_int64(EsDigester *digester, int64 value)
{
	uint64 bytes = pg_hton64((uint64) value);

	appendBinaryStringInfo(&digester->bytes, (char *) &bytes, sizeof(bytes));
}

/* A length and bytes of the server encoding; these in UTF8, where there is a way from the one to the other. */
static void
digest_add_chars(EsDigester *digester, const char *chars, int length)
{
	int encoding = GetDatabaseEncoding();
	char *converted = (char *) chars;

	if (encoding != PG_UTF8 && encoding != PG_SQL_ASCII && encoding != PG_MULE_INTERNAL)
	{
		converted = pg_server_to_any(chars, length, PG_UTF8);
		if (converted != chars)
			length = (int) strlen(converted);
	}
	digest_add_int32(digester, length);
	appendBinaryStringInfo(&digester->bytes, converted, length);
	if (converted != chars)
		pfree(converted);
}

static void
digest_add_text(EsDigester *digester, Datum value)
{
	text *chars = DatumGetTextPP(value);

	digest_add_chars(digester, VARDATA_ANY(chars), VARSIZE_ANY_EXHDR(chars));
}

/* A length and JSON as text. */
static void
digest_add_json(EsDigester *digester, Datum value)
{
	Jsonb *document = DatumGetJsonbP(value);
	StringInfo bytes = &digester->bytes;

	if (bytes->len > DIGEST_BUFFER_BYTES)
		digest_flush(digester);
	if (GetDatabaseEncoding() == PG_UTF8)
	{
		int start = bytes->len;
		uint32 length;

		/* Printed in place; the length is known afterwards. */
		digest_add_int32(digester, 0);
		JsonbToCString(bytes, &document->root, VARSIZE(document));
		length = pg_hton32((uint32) (bytes->len - start - sizeof(length)));
		memcpy(bytes->data + start, &length, sizeof(length));
	}
	else
	{
		StringInfoData printed;

		initStringInfo(&printed);
		JsonbToCString(&printed, &document->root, VARSIZE(document));
		digest_add_chars(digester, printed.data, printed.len);
		pfree(printed.data);
	}
}

/* The count of tags, and each with its length. */
static void
digest_add_tags(EsDigester *digester, Datum value)
{
	Datum *tags;
	bool *nulls;
	int count;
	int i;

	deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false, TYPALIGN_INT, &tags, &nulls,
					  &count);
	digest_add_int32(digester, count);
	for (i = 0; i < count; i++)
	{
		if (nulls[i])
			digest_add_int32(digester, DIGEST_NULL);
		else
			digest_add_text(digester, tags[i]);
		if (digester->bytes.len > DIGEST_BUFFER_BYTES)
			digest_flush(digester);
	}
	pfree(tags);
	pfree(nulls);
}

/*
 * The digest of an event.  Detoasts and prints in the current context, which the
 * caller resets now and then.
 *
 * digest: receives ES_DIGEST_BYTES bytes.
 */
void
es_digest_add_event(EsDigester *digester, const EsDigestInput *input, uint8 *digest)
{
	appendStringInfoChar(&digester->bytes, ES_DIGEST_FORM);
	digest_add_int64(digester, input->position);
	digest_add_int64(digester, input->version);
	appendBinaryStringInfo(&digester->bytes, (char *) DatumGetUUIDP(input->id)->data, UUID_LEN);
	digest_add_int64(digester, input->recorded_at);
	digest_add_text(digester, input->stream);
	digest_add_text(digester, input->type);
	digest_add_json(digester, input->data);
	if (input->has_metadata)
		digest_add_json(digester, input->metadata);
	else
		digest_add_int32(digester, DIGEST_NULL);
	if (input->has_tags)
		digest_add_tags(digester, input->tags);
	else
		digest_add_int32(digester, DIGEST_NULL);
	digest_flush(digester);
	es_digest_finish(digester, digest);
}

/*
 * The digest of one event; who makes many begins a digester.
 */
void
es_digest_event(const EsDigestInput *input, uint8 *digest)
{
	EsDigester *digester = es_digest_begin();

	es_digest_add_event(digester, input, digest);
	es_digest_end(digester);
}

/*
 * What counts of a row of eventstore.events, or of a value of eventstore.event;
 * input points into it.
 */
void
es_digest_input(EsDigestInput *input, const Datum *values, const bool *nulls)
{
	input->position = DatumGetInt64(values[Anum_events_position - 1]);
	input->stream = values[Anum_events_stream - 1];
	input->version = DatumGetInt64(values[Anum_events_version - 1]);
	input->id = values[Anum_events_id - 1];
	input->type = values[Anum_events_type - 1];
	input->data = values[Anum_events_data - 1];
	input->has_metadata = !nulls[Anum_events_metadata - 1];
	input->metadata = values[Anum_events_metadata - 1];
	input->has_tags = !nulls[Anum_events_tags - 1];
	input->tags = values[Anum_events_tags - 1];
	input->recorded_at = DatumGetTimestampTz(values[Anum_events_recorded_at - 1]);
}

/* Whether what every event has is there. */
static bool
digest_is_whole(const bool *nulls)
{
	int i;

	for (i = 0; i < Natts_event; i++)
	{
		if (nulls[i] && i != Anum_events_metadata - 1 && i != Anum_events_tags - 1)
			return false;
	}
	return true;
}

/*
 * eventstore.event_digest(event eventstore.event) -> bytea
 */
Datum
es_event_digest(PG_FUNCTION_ARGS)
{
	HeapTupleHeader header = PG_GETARG_HEAPTUPLEHEADER(0);
	HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(header), .t_data = header};
	TupleDesc desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(header),
											HeapTupleHeaderGetTypMod(header));
	Datum values[Natts_event];
	bool nulls[Natts_event];
	EsDigestInput input;
	bytea *digest;

	Assert(desc->natts == Natts_event);
	heap_deform_tuple(&tuple, desc, values, nulls);
	ReleaseTupleDesc(desc);
	if (!digest_is_whole(nulls))
		PG_RETURN_NULL();

	digest = (bytea *) palloc(VARHDRSZ + ES_DIGEST_BYTES);
	SET_VARSIZE(digest, VARHDRSZ + ES_DIGEST_BYTES);
	es_digest_input(&input, values, nulls);
	es_digest_event(&input, (uint8 *) VARDATA(digest));
	PG_RETURN_BYTEA_P(digest);
}
