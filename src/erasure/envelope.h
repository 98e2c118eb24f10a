/*-------------------------------------------------------------------------
 *
 * envelope.h
 *		The form in which a protected value stands in JSON.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_ENVELOPE_H
#define ES_ENVELOPE_H

#include "utils/jsonb.h"

#include "erasure/cipher.h"

/* A subject's key. */
typedef struct EsKey
{
	uint8 bytes[ES_CIPHER_KEY_BYTES];
	uint8 id[ES_CIPHER_ID_BYTES];
} EsKey;

/* An envelope as it stands in JSON, in which the strings are. */
typedef struct EsEnvelope
{
	const char *subject;
	int subject_length;
	uint8 key_id[ES_CIPHER_ID_BYTES];
	const char *box; /* base64 */
	int box_length;
} EsEnvelope;

extern Jsonb *es_envelope_make(const text *subject, const EsKey *key, Jsonb *value);
extern bool es_envelope_read(JsonbContainer *object, EsEnvelope *envelope);
extern Jsonb *es_envelope_open(const EsEnvelope *envelope, const EsKey *key);
extern bool es_envelope_is_in(JsonbContainer *container, const text *subject);
extern char *es_envelope_key_name(const uint8 *key_id);

#endif /* ES_ENVELOPE_H */
