/*-------------------------------------------------------------------------
 *
 * sql.h
 *		Statements in SQL, for what is not worth C.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_SQL_H
#define ES_SQL_H

#include "executor/spi.h"

#define ES_SQL_MAX_ARGUMENTS 12

/* A statement and its plan, which is kept for the session. */
typedef struct EsSql
{
	const char *text;
	int argument_count;
	Oid types[ES_SQL_MAX_ARGUMENTS];
	SPIPlanPtr plan; /* NULL at first */
} EsSql;

/* Its text, and the types of its arguments. */
#define ES_SQL(text, ...) \
	{ \
		text, lengthof(((Oid[]){__VA_ARGS__})), {__VA_ARGS__}, NULL \
	}

extern int64 es_sql_run(EsSql *statement, Datum *values, const char *nulls);
extern int64 es_sql_run_as_owner(EsSql *statement, Datum *values, const char *nulls);
extern int64 es_sql_number(EsSql *statement, Datum *values, const char *nulls);

#endif /* ES_SQL_H */
