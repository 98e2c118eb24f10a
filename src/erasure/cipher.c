/*-------------------------------------------------------------------------
 *
 * cipher.c
 *		AES-256-GCM under a key of its own for each box: the one file that
 *		calls OpenSSL.
 *
 * A box is salt (16 bytes), nonce (12), ciphertext (as long as the text), tag
 * (16).  Its key is HKDF-SHA256 (RFC 5869) of the caller's key, with the salt,
 * the info "eventstore envelope 1" and 32 bytes of output: one block, so it is
 * two HMACs.  Salt and nonce are random.  With a key for each box, the limit of
 * NIST SP 800-38D on random nonces under one key (2^32 of them) is never
 * approached, however many values a caller's key protects.
 *
 * Without OpenSSL (ES_WITH_OPENSSL, see Makefile) everything here raises 0A000.
 *
 * Memory: results go where the caller says; keys are wiped from the stack.
 * Locks: none.  Calls: nothing of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#ifdef ES_WITH_OPENSSL
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
#include <openssl/core_names.h>
#endif
#endif

#include "erasure/cipher.h"

#ifdef ES_WITH_OPENSSL

#define CIPHER_INFO     "eventstore envelope 1"
#define CIPHER_IDENTITY "eventstore key id"

#define CIPHER_HASH_BYTES 32

/* What cannot happen, short of no memory, or of an OpenSSL that is configured not to do it. */
static void
cipher_failed(void)
{
	ERR_clear_error();
	ereport(ERROR,
			(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
			 errmsg("OpenSSL does not encrypt or decrypt by AES-256-GCM here"),
			 errhint("See whether the configuration of OpenSSL on this server allows AES-256-GCM and HMAC with SHA-256.")));
}

#if OPENSSL_VERSION_NUMBER >= 0x30000000L

/*
 * OpenSSL 3 looks algorithms up by name, which takes longer than using them, so
 * they are looked up once.  What the context keeps of keys is the last box's.
 */
static EVP_MAC_CTX *
cipher_hmac_context(void)
{
	static EVP_MAC_CTX *context = NULL;
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
						   OSSL_PARAM_construct_end()};
	EVP_MAC *mac;

	if (context != NULL)
		return context;
	mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	context = mac == NULL ? NULL : EVP_MAC_CTX_new(mac);
	EVP_MAC_free(mac);
	if (context != NULL && EVP_MAC_CTX_set_params(context, params) != 1)
	{
		EVP_MAC_CTX_free(context);
		context = NULL;
	}
	return context;
}

static const EVP_CIPHER *
cipher_aes(void)
{
	static EVP_CIPHER *aes = NULL;

	if (aes == NULL)
		aes = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	return aes;
}

static void
cipher_hmac(const uint8 *key, int key_length, EsCipherText text, uint8 *hash)
{
	EVP_MAC_CTX *context = cipher_hmac_context();
	size_t length;

	if (context == NULL || EVP_MAC_init(context, key, key_length, NULL) != 1 ||
		EVP_MAC_update(context, text.bytes, text.length) != 1 ||
		EVP_MAC_final(context, hash, &length, CIPHER_HASH_BYTES) != 1)
		cipher_failed();
}

#else

#define cipher_aes() EVP_aes_256_gcm()

static void
cipher_hmac(const uint8 *key, int key_length, EsCipherText text, uint8 *hash)
{
	if (HMAC(EVP_sha256(), key, key_length, text.bytes, text.length, hash, NULL) == NULL)
		cipher_failed();
}

#endif

/* The key of a box. */
static void
cipher_derive(const uint8 *key, const uint8 *salt, uint8 *derived)
{
	/* The info and the block's number, which stands where the string's own zero byte does. */
	uint8 info[] = CIPHER_INFO;
	uint8 extracted[CIPHER_HASH_BYTES];

	info[sizeof(info) - 1] = 1;
	cipher_hmac(salt, ES_CIPHER_SALT_BYTES, (EsCipherText){key, ES_CIPHER_KEY_BYTES}, extracted);
	cipher_hmac(extracted, sizeof(extracted), (EsCipherText){info, sizeof(info)}, derived);
	explicit_bzero(extracted, sizeof(extracted));
}

/* Nothing here raises an error, so that the context is freed. */
static bool
cipher_encrypt(const uint8 *derived, const uint8 *nonce, EsCipherText bound, EsCipherText plain,
			   uint8 *encrypted)
{
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	int length;
	bool is_done = context != NULL && cipher_aes() != NULL &&
		EVP_EncryptInit_ex(context, cipher_aes(), NULL, derived, nonce) == 1 &&
		EVP_EncryptUpdate(context, NULL, &length, bound.bytes, bound.length) == 1 &&
		EVP_EncryptUpdate(context, encrypted, &length, plain.bytes, plain.length) == 1 &&
		EVP_EncryptFinal_ex(context, encrypted + length, &length) == 1 &&
		EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, ES_CIPHER_TAG_BYTES,
							encrypted + plain.length) == 1;

	EVP_CIPHER_CTX_free(context);
	return is_done;
}

/* The same; *is_authentic is the answer, if it is done. */
static bool
cipher_decrypt(const uint8 *derived, const uint8 *nonce, EsCipherText bound, EsCipherText encrypted,
			   uint8 *plain, bool *is_authentic)
{
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	uint8 tag[ES_CIPHER_TAG_BYTES];
	int length;
	bool is_done;

	memcpy(tag, (const uint8 *) encrypted.bytes + encrypted.length, sizeof(tag));
	is_done = context != NULL && cipher_aes() != NULL &&
		EVP_DecryptInit_ex(context, cipher_aes(), NULL, derived, nonce) == 1 &&
		EVP_DecryptUpdate(context, NULL, &length, bound.bytes, bound.length) == 1 &&
		EVP_DecryptUpdate(context, plain, &length, encrypted.bytes, encrypted.length) == 1 &&
		EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, sizeof(tag), tag) == 1;
	*is_authentic = is_done && EVP_DecryptFinal_ex(context, plain + length, &length) == 1;
	EVP_CIPHER_CTX_free(context);
	return is_done;
}

/* Raise 0A000 where there is no OpenSSL. */
void
es_cipher_require(void)
{
}

/*
 * What a key is told from others by, which says nothing about it.
 *
 * key: ES_CIPHER_KEY_BYTES.  id: receives ES_CIPHER_ID_BYTES.
 */
void
es_cipher_identify(const uint8 *key, uint8 *id)
{
	uint8 hash[CIPHER_HASH_BYTES];

	cipher_hmac(key, ES_CIPHER_KEY_BYTES,
				(EsCipherText){CIPHER_IDENTITY, sizeof(CIPHER_IDENTITY) - 1}, hash);
	memcpy(id, hash, ES_CIPHER_ID_BYTES);
}

/*
 * Encrypt.
 *
 * key: ES_CIPHER_KEY_BYTES.  bound: what has to be the same to open the box.
 * box: receives as many bytes as plain has, and ES_CIPHER_OVERHEAD.
 */
void
es_cipher_seal(const uint8 *key, EsCipherText bound, EsCipherText plain, uint8 *box)
{
	uint8 *nonce = box + ES_CIPHER_SALT_BYTES;
	uint8 derived[ES_CIPHER_KEY_BYTES];
	bool is_done;

	if (!pg_strong_random(box, ES_CIPHER_SALT_BYTES + ES_CIPHER_NONCE_BYTES))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random bytes")));
	cipher_derive(key, box, derived);
	is_done = cipher_encrypt(derived, nonce, bound, plain, nonce + ES_CIPHER_NONCE_BYTES);
	explicit_bzero(derived, sizeof(derived));
	if (!is_done)
		cipher_failed();
}

/*
 * Decrypt.
 *
 * plain: receives ES_CIPHER_OVERHEAD bytes less than the box has.
 *
 * Returns false if it is not what was encrypted under this key with this bound
 * to it; what is in plain then means nothing.
 */
bool
es_cipher_open(const uint8 *key, EsCipherText bound, EsCipherText box, uint8 *plain)
{
	const uint8 *salt = box.bytes;
	const uint8 *nonce = salt + ES_CIPHER_SALT_BYTES;
	EsCipherText encrypted = {nonce + ES_CIPHER_NONCE_BYTES, box.length - ES_CIPHER_OVERHEAD};
	uint8 derived[ES_CIPHER_KEY_BYTES];
	bool is_authentic;
	bool is_done;

	if (encrypted.length < 0)
		return false;
	cipher_derive(key, salt, derived);
	is_done = cipher_decrypt(derived, nonce, bound, encrypted, plain, &is_authentic);
	explicit_bzero(derived, sizeof(derived));
	if (!is_done)
		cipher_failed();
	/* What OpenSSL has noted of it would be taken for an error of who calls it next: of the connection. */
	if (!is_authentic)
		ERR_clear_error();
	return is_authentic;
}

#else

void
es_cipher_require(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("values cannot be protected or revealed by this build"),
			 errdetail("eventstore was built without OpenSSL."),
			 errhint("Build it with OpenSSL's development files, for a PostgreSQL that is built with OpenSSL.")));
}

void
es_cipher_identify(const uint8 *key, uint8 *id)
{
	es_cipher_require();
}

void
es_cipher_seal(const uint8 *key, EsCipherText bound, EsCipherText plain, uint8 *box)
{
	es_cipher_require();
}

bool
es_cipher_open(const uint8 *key, EsCipherText bound, EsCipherText box, uint8 *plain)
{
	es_cipher_require();
	return false;
}

#endif
