/*-------------------------------------------------------------------------
 *
 * envelope.c
 *		The form in which a protected value stands in JSON.
 *
 * An object of exactly these four keys and kinds of values, and what is not one
 * is data like any other:
 *
 *	 {"$es": 1, "subject": "customer-42", "key": "0f1e2d3c4b5a6978", "box": "…"}
 *
 * "key" is the id of the subject's key, 8 bytes in hex; "box" is what cipher.c
 * makes of the value's text, in base64.  The text is what jsonb prints, in
 * UTF-8 whatever the server's encoding is, so that it opens in another database
 * and in other programs.  Bound to the box are the format's number (a byte), the
 * key's id (8 bytes) and the subject (the rest, UTF-8): with any of them changed
 * it does not open.
 *
 * Memory: results in the current context.  Locks: none.  Calls: cipher,
 * document.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/base64.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "base/compat.h"
#include "base/document.h"
#include "base/names.h"
#include "erasure/envelope.h"

#define ENVELOPE_FORMAT 1

/* Keys, in the order in which jsonb keeps them: shorter ones first. */
#define ENVELOPE_FORMAT_KEY "$es"
#define ENVELOPE_BOX        "box"
#define ENVELOPE_KEY        "key"
#define ENVELOPE_SUBJECT    "subject"
#define ENVELOPE_KEYS       4

#define ENVELOPE_HEX_BYTES (2 * ES_CIPHER_ID_BYTES)

/* Its base64 has to fit into a string of jsonb, which is 268,435,455 bytes at the most. */
#define ENVELOPE_MAX_BYTES (128 * 1024 * 1024)

/* The shortest one is that of a value of one byte. */
#define ENVELOPE_MIN_BOX (4 * ((ES_CIPHER_OVERHEAD + 1 + 2) / 3))

/* ----------------------------------------------------------------------
 * Parts
 * ----------------------------------------------------------------------
 */

/* A key's id as it stands in an envelope. */
char *
es_envelope_key_name(const uint8 *key_id)
{
	char *name = palloc(ENVELOPE_HEX_BYTES + 1);

	hex_encode((const char *) key_id, ES_CIPHER_ID_BYTES, name);
	name[ENVELOPE_HEX_BYTES] = '\0';
	return name;
}

static bool
envelope_read_hex(const char *hex, uint8 *bytes)
{
	int i;

	memset(bytes, 0, ES_CIPHER_ID_BYTES);
	for (i = 0; i < ENVELOPE_HEX_BYTES; i++)
	{
		const char *digits = "0123456789abcdef";
		const char *digit = hex[i] == '\0' ? NULL : strchr(digits, hex[i]);

		if (digit == NULL)
			return false;
		bytes[i / 2] = (uint8) (bytes[i / 2] << 4 | (digit - digits));
	}
	return true;
}

/* What is bound to the box. */
static EsCipherText
envelope_bind(const char *subject, int subject_length, const uint8 *key_id)
{
	const char *utf8 = pg_server_to_any(subject, subject_length, PG_UTF8);
	int length = utf8 == subject ? subject_length : (int) strlen(utf8);
	StringInfoData bound;

	initStringInfo(&bound);
	appendStringInfoChar(&bound, ENVELOPE_FORMAT);
	appendBinaryStringInfo(&bound, (const char *) key_id, ES_CIPHER_ID_BYTES);
	appendBinaryStringInfo(&bound, utf8, length);
	return (EsCipherText){(uint8 *) bound.data, bound.len};
}

/* A value's text. */
static EsCipherText
envelope_print(Jsonb *value)
{
	char *text = JsonbToCString(NULL, &value->root, VARSIZE(value));
	char *utf8 = pg_server_to_any(text, (int) strlen(text), PG_UTF8);
	Size length = strlen(utf8);

	if (length > ENVELOPE_MAX_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("value is too long to be protected"),
				 errdetail("As text it has %zu bytes; the limit is %d.", length,
						   ENVELOPE_MAX_BYTES)));
	return (EsCipherText){utf8, (int) length};
}

static JsonbValue
envelope_string(const char *string, int length)
{
	JsonbValue value = {.type = jbvString};

	value.val.string.val = (char *) string;
	value.val.string.len = length;
	return value;
}

static void
envelope_push(JsonbParseState **state, const char *name, JsonbValue value)
{
	JsonbValue key = envelope_string(name, (int) strlen(name));

	(void) pushJsonbValue(state, WJB_KEY, &key);
	(void) pushJsonbValue(state, WJB_VALUE, &value);
}

/* ----------------------------------------------------------------------
 * Making
 * ----------------------------------------------------------------------
 */

/*
 * A value, protected under a key of its subject.
 */
Jsonb *
es_envelope_make(const text *subject, const EsKey *key, Jsonb *value)
{
	const char *name = VARDATA_ANY(subject);
	int name_length = (int) VARSIZE_ANY_EXHDR(subject);
	EsCipherText plain = envelope_print(value);
	int box_length = plain.length + ES_CIPHER_OVERHEAD;
	uint8 *box = palloc(box_length);
	int room = pg_b64_enc_len(box_length);
	char *base64 = palloc(room);
	JsonbValue format = {.type = jbvNumeric};
	JsonbParseState *state = NULL;

	es_cipher_seal(key->bytes, envelope_bind(name, name_length, key->id), plain, box);
	format.val.numeric = int64_to_numeric(ENVELOPE_FORMAT);
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	envelope_push(&state, ENVELOPE_FORMAT_KEY, format);
	envelope_push(&state, ENVELOPE_BOX,
				  envelope_string(base64,
								  pg_b64_encode((const void *) box, box_length, base64, room)));
	envelope_push(&state, ENVELOPE_KEY,
				  envelope_string(es_envelope_key_name(key->id), ENVELOPE_HEX_BYTES));
	envelope_push(&state, ENVELOPE_SUBJECT, envelope_string(name, name_length));
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* ----------------------------------------------------------------------
 * Reading
 * ----------------------------------------------------------------------
 */

static bool
envelope_get(JsonbContainer *object, const char *name, enum jbvType type, JsonbValue *value)
{
	return getKeyJsonValueFromContainer(object, name, (int) strlen(name), value) != NULL &&
		value->type == type;
}

static bool
envelope_is_format(const JsonbValue *format)
{
	return DatumGetBool(DirectFunctionCall2(numeric_eq, NumericGetDatum(format->val.numeric),
											NumericGetDatum(int64_to_numeric(ENVELOPE_FORMAT))));
}

/* Whether an object is an envelope; envelope receives its parts. */
bool
es_envelope_read(JsonbContainer *object, EsEnvelope *envelope)
{
	JsonbValue format;
	JsonbValue subject;
	JsonbValue key;
	JsonbValue box;

	if (!JsonContainerIsObject(object) || JsonContainerSize(object) != ENVELOPE_KEYS ||
		!envelope_get(object, ENVELOPE_FORMAT_KEY, jbvNumeric, &format) ||
		!envelope_get(object, ENVELOPE_SUBJECT, jbvString, &subject) ||
		!envelope_get(object, ENVELOPE_KEY, jbvString, &key) ||
		!envelope_get(object, ENVELOPE_BOX, jbvString, &box))
		return false;
	envelope->subject = subject.val.string.val;
	envelope->subject_length = subject.val.string.len;
	envelope->box = box.val.string.val;
	envelope->box_length = box.val.string.len;
	return envelope->subject_length > 0 && envelope->subject_length <= ES_MAX_SUBJECT_BYTES &&
		envelope->box_length >= ENVELOPE_MIN_BOX && key.val.string.len == ENVELOPE_HEX_BYTES &&
		envelope_read_hex(key.val.string.val, envelope->key_id) && envelope_is_format(&format);
}

/*
 * What is in an envelope; NULL if it does not open with the key.
 */
Jsonb *
es_envelope_open(const EsEnvelope *envelope, const EsKey *key)
{
	int room = pg_b64_dec_len(envelope->box_length);
	uint8 *box = palloc(room);
	int length = pg_b64_decode(envelope->box, envelope->box_length, (void *) box, room);
	EsCipherText bound = envelope_bind(envelope->subject, envelope->subject_length,
									   envelope->key_id);
	char *plain;

	if (length < ES_CIPHER_OVERHEAD)
		return NULL;
	plain = palloc(length - ES_CIPHER_OVERHEAD + 1);
	if (!es_cipher_open(key->bytes, bound, (EsCipherText){box, length}, (uint8 *) plain))
		return NULL;
	plain[length - ES_CIPHER_OVERHEAD] = '\0';
	plain = pg_any_to_server(plain, length - ES_CIPHER_OVERHEAD, PG_UTF8);
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(plain)));
}

/*
 * Whether there is an envelope, at any depth; of a subject, or, if that is
 * NULL, of any.
 */
bool
es_envelope_is_in(JsonbContainer *container, const text *subject)
{
	JsonbIterator *it = JsonbIteratorInit(container);
	JsonbIteratorToken token;
	EsEnvelope envelope;
	JsonbValue value;

	check_stack_depth();
	if (es_envelope_read(container, &envelope))
		return subject == NULL ||
			(envelope.subject_length == (int) VARSIZE_ANY_EXHDR(subject) &&
			 memcmp(envelope.subject, VARDATA_ANY(subject), envelope.subject_length) == 0);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if ((token == WJB_VALUE || token == WJB_ELEM) && value.type == jbvBinary &&
			es_envelope_is_in(value.val.binary.data, subject))
			return true;
	}
	return false;
}
