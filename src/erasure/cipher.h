/*-------------------------------------------------------------------------
 *
 * cipher.h
 *		AES-256-GCM under a key of its own for each box.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_CIPHER_H
#define ES_CIPHER_H

#define ES_CIPHER_KEY_BYTES   32
#define ES_CIPHER_ID_BYTES    8
#define ES_CIPHER_SALT_BYTES  16
#define ES_CIPHER_NONCE_BYTES 12
#define ES_CIPHER_TAG_BYTES   16

/* By how much a box is longer than what is in it. */
#define ES_CIPHER_OVERHEAD (ES_CIPHER_SALT_BYTES + ES_CIPHER_NONCE_BYTES + ES_CIPHER_TAG_BYTES)

/* What is bound to a box without being in it, or what is in it. */
typedef struct EsCipherText
{
	const void *bytes;
	int length;
} EsCipherText;

extern void es_cipher_require(void);
extern void es_cipher_identify(const uint8 *key, uint8 *id);
extern void es_cipher_seal(const uint8 *key, EsCipherText bound, EsCipherText plain, uint8 *box);
extern bool es_cipher_open(const uint8 *key, EsCipherText bound, EsCipherText box, uint8 *plain);

#endif /* ES_CIPHER_H */
