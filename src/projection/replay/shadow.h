/*-------------------------------------------------------------------------
 *
 * shadow.h
 *		Copies of a projection's tables, for a replay.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_SHADOW_H
#define ES_SHADOW_H

#include "nodes/pg_list.h"
#include "storage/block.h"

/* What the names of our own temporary tables begin with. */
#define ES_SHADOW_PREFIX "es_copy_"

/* A temporary table that a replay works on in place of a table. */
typedef struct EsShadow
{
	Oid owner;        /* of both, or at least a role that may write both */
	Oid table;        /* what it stands for */
	char *table_name; /* qualified, quoted */
	Oid oid;
	char *name;       /* qualified, quoted */
	BlockNumber size; /* when it was tidied up last */
} EsShadow;

extern char *es_shadow_next_name(void);
extern uint64 es_shadow_execute(Oid role, int security_flags, const char *sql);
extern void es_shadow_check_names(const List *tables);
extern EsShadow *es_shadow_make(Oid owner, char *table_name, char *name, const char *create);
extern EsShadow *es_shadow_make_like(Oid owner, char *table_name);
extern bool es_shadow_has_sequence(const EsShadow *shadow, const char *column);
extern void es_shadow_check_triggers(const List *shadows);
extern void es_shadow_tidy(EsShadow *shadow);
extern char *es_shadow_extract(const EsShadow *shadow, const char *columns);
extern void es_shadow_drop(const EsShadow *shadow, const char *name);
extern void es_shadow_grant(const EsShadow *shadow, const char *name, Oid role);
extern List *es_shadow_columns(Oid table);

#endif /* ES_SHADOW_H */
