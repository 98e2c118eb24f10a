/*-------------------------------------------------------------------------
 *
 * mark.h
 *		Whose a projection is.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_MARK_H
#define ES_MARK_H

/* Why a projection has no owner. */
#define ES_MARK_LOST "Its owner was dropped, or was not there when the database was restored."

extern Oid es_mark_find(const char *projection, const char *noted_owner);
extern void es_mark_make(const char *projection, Oid owner);
extern void es_mark_rename(const char *projection, const char *new_name);
extern void es_mark_drop(const char *projection);
extern uint32 es_mark_hash(const char *projection);

#endif /* ES_MARK_H */
