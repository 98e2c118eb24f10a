/*-------------------------------------------------------------------------
 *
 * bound.h
 *		A bound of a grant: a category, a tenant, or both.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_BOUND_H
#define ES_BOUND_H

typedef struct EsBound
{
	text *category; /* NULL: any */
	text *tenant;   /* NULL: any, or none */
} EsBound;

extern text *es_bound_tenant(const text *stream);
extern bool es_bound_has_tenant(const text *stream, const text *tenant);
extern bool es_bound_fits(const EsBound *bound, const text *stream);
extern bool es_bound_covers(const EsBound *bound, const text *category, const text *tenant);
extern bool es_bound_read(EsBound *bound, const char *source);

#endif /* ES_BOUND_H */
