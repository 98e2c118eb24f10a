/*-------------------------------------------------------------------------
 *
 * transaction.h
 *		What a transaction that appends owes to others.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_TRANSACTION_H
#define ES_TRANSACTION_H

extern void es_transaction_init(void);
extern void es_transaction_append(const text *category);
extern void es_transaction_wake_consumers(uint32 key);
extern void es_transaction_change_projection(void);

#endif /* ES_TRANSACTION_H */
