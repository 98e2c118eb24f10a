/*-------------------------------------------------------------------------
 *
 * limits.h
 *		The settings eventstore.health_*: from when on something is wrong.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_LIMITS_H
#define ES_LIMITS_H

/* What is measured, and from which value on it is a warning, or critical. */
typedef struct EsLimit
{
	const char *name;
	int warning;  /* -1: never */
	int critical; /* the same */
} EsLimit;

extern const EsLimit *es_limits_find(const char *name);
extern void es_limits_define(void);

#endif /* ES_LIMITS_H */
