/*-------------------------------------------------------------------------
 *
 * provider.h
 *		Keys that a function of the user's has.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_PROVIDER_H
#define ES_PROVIDER_H

extern bool es_provider_is_set(void);
extern bool es_provider_ask(const text *subject, bool is_new, uint8 *key);

#endif /* ES_PROVIDER_H */
