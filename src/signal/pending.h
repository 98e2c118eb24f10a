/*-------------------------------------------------------------------------
 *
 * pending.h
 *		Categories that an open transaction has to tell of.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_PENDING_H
#define ES_PENDING_H

extern void es_pending_add(const text *category);
extern int es_pending_count(void);
extern const text *es_pending_get(int i);
extern void es_pending_keep_sub(SubTransactionId sub, SubTransactionId parent);
extern void es_pending_undo_sub(SubTransactionId sub);
extern void es_pending_forget(void);

#endif /* ES_PENDING_H */
