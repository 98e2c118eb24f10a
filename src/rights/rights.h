/*-------------------------------------------------------------------------
 *
 * rights.h
 *		To which streams a role is bound, as es_grant has said.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_RIGHTS_H
#define ES_RIGHTS_H

#include "rights/bound.h"

/* Streams: all of them, or those within one of the bounds. */
typedef struct EsBounds
{
	bool has_all;
	int count;
	EsBound *items;
} EsBounds;

typedef struct EsRights
{
	Oid role;
	EsBounds sees;    /* what it may read of */
	EsBounds appends; /* what it may append to */
	EsBounds reveals; /* subjects whose data it may read in clear, by their names */
	bool is_unbound;  /* it sees all by a level, or as who it is, not for want of a bound */
} EsRights;

extern void es_rights_init(void);
extern const EsRights *es_rights_of(Oid role);
extern uint64 es_rights_generation(void);
extern bool es_rights_has(const EsBounds *bounds, const text *stream);
extern bool es_rights_cover(const EsBounds *bounds, const text *category, const text *tenant);
extern void es_rights_check_append(const text *stream);
extern void es_rights_check_reveal(const text *subject);

#endif /* ES_RIGHTS_H */
