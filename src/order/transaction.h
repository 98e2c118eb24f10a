/*-------------------------------------------------------------------------
 *
 * transaction.h
 *		What a transaction that appends owes to others.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_TRANSACTION_H
#define ES_TRANSACTION_H

#include "base/event.h"

extern void es_transaction_init(void);
extern void es_transaction_append(const EsAppend *append);
extern void es_transaction_change_type(const EsAppend *append, const text *type);
extern void es_transaction_store_foreign(void);
extern void es_transaction_wake_consumers(uint32 key);
extern void es_transaction_change_projection(void);

#endif /* ES_TRANSACTION_H */
