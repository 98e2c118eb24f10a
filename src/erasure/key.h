/*-------------------------------------------------------------------------
 *
 * key.h
 *		Subjects' keys: made, found, destroyed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_KEY_H
#define ES_KEY_H

#include "erasure/envelope.h"

typedef enum EsKeyState
{
	ES_KEY_FOUND,
	ES_KEY_ERASED,
	ES_KEY_LOST
} EsKeyState;

extern void es_key_obtain(text *subject, EsKey *key);
extern EsKeyState es_key_find(const text *subject, const uint8 *id, EsKey *key);
extern void es_key_destroy(text *subject, text *reason);

#endif /* ES_KEY_H */
