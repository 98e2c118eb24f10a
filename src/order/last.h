/*-------------------------------------------------------------------------
 *
 * last.h
 *		The position of the last event that this session appended.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_LAST_H
#define ES_LAST_H

extern void es_last_init(void);
extern void es_last_remember(int64 position);
extern bool es_last_get(int64 *position);
extern void es_last_keep(void);
extern void es_last_undo(void);
extern void es_last_keep_sub(SubTransactionId sub, SubTransactionId parent);
extern void es_last_undo_sub(SubTransactionId sub);

#endif /* ES_LAST_H */
