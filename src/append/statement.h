/*-------------------------------------------------------------------------
 *
 * statement.h
 *		Insertion into eventstore.events, as one INSERT does it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_STATEMENT_H
#define ES_STATEMENT_H

#include "utils/relcache.h"

#include "append/rows.h"

extern void es_statement_insert(Relation events, EsRows *rows, int event_count);

#endif /* ES_STATEMENT_H */
