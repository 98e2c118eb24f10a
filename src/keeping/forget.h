/*-------------------------------------------------------------------------
 *
 * forget.h
 *		Taking events from a stream.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_FORGET_H
#define ES_FORGET_H

#include "append/immutability.h"
#include "base/sql.h"

extern int64 es_forget_run(EsSql *statement, Datum *values, const char *nulls);
extern int64
es_forget_change(EsSql *statement, Datum *values, const char *nulls, const EsPermit *permit);
extern int64 es_forget_events(const text *stream, int64 first, int64 last);
extern void es_forget_snapshots(const text *stream, int64 first, int64 last);

#endif /* ES_FORGET_H */
