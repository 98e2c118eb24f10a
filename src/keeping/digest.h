/*-------------------------------------------------------------------------
 *
 * digest.h
 *		What an event comes down to: SHA-256 over its bytes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_DIGEST_H
#define ES_DIGEST_H

#include "executor/tuptable.h"
#include "utils/timestamp.h"

#define ES_DIGEST_BYTES 32

/* The form of the bytes, which they begin with; see docs/keeping.md. */
#define ES_DIGEST_FORM 1

/* Hex digits of a digest, with the byte that ends a string. */
#define ES_DIGEST_HEX_SIZE (2 * ES_DIGEST_BYTES + 1)

/* A row of eventstore.events, as far as it counts; values may be toasted. */
typedef struct EsDigestInput
{
	int64 position;
	Datum stream; /* text */
	int64 version;
	Datum id;   /* uuid */
	Datum type; /* text */
	Datum data; /* jsonb */
	bool has_metadata;
	Datum metadata; /* jsonb */
	bool has_tags;
	Datum tags; /* text[] */
	TimestampTz recorded_at;
} EsDigestInput;

/* Makes many digests at the cost of one's preparations. */
typedef struct EsDigester EsDigester;

extern EsDigester *es_digest_begin(void);
extern void es_digest_bytes(EsDigester *digester, const void *bytes, Size length);
extern void es_digest_finish(EsDigester *digester, uint8 *digest);
extern void es_digest_add_event(EsDigester *digester, const EsDigestInput *input, uint8 *digest);
extern void es_digest_end(EsDigester *digester);

extern void es_digest_input(EsDigestInput *input, const Datum *values, const bool *nulls);
extern void es_digest_event(const EsDigestInput *input, uint8 *digest);

#endif /* ES_DIGEST_H */
