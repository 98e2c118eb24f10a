/*-------------------------------------------------------------------------
 *
 * redirect.h
 *		A handler's SQL, with copies in place of its tables.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_REDIRECT_H
#define ES_REDIRECT_H

#include "nodes/pg_list.h"

extern char *es_redirect_query(const char *query, const List *tables);

#endif /* ES_REDIRECT_H */
