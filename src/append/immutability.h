/*-------------------------------------------------------------------------
 *
 * immutability.h
 *		Stored events are never changed, but by what forgets them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_IMMUTABILITY_H
#define ES_IMMUTABILITY_H

typedef enum EsChange
{
	ES_CHANGE_REMOVE,
	ES_CHANGE_REDACT
} EsChange;

/* Which change of which events is permitted. */
typedef struct EsPermit
{
	EsChange change;
	const text *stream;
	int64 first; /* versions */
	int64 last;
} EsPermit;

extern void es_immutability_except(const EsPermit *permit, void (*action)(void *), void *argument);

#endif /* ES_IMMUTABILITY_H */
