/*-------------------------------------------------------------------------
 *
 * arguments.h
 *		Arguments that several verbs take.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_ARGUMENTS_H
#define ES_ARGUMENTS_H

#include "access/sdir.h"
#include "datatype/timestamp.h"
#include "fmgr.h"

extern void es_arguments_check_not_null(FunctionCallInfo fcinfo, int argument, const char *name);
extern int64 es_arguments_get_position(FunctionCallInfo fcinfo, int argument, const char *name);
extern int64 es_arguments_get_number(FunctionCallInfo fcinfo, int argument, const char *name,
									 int64 least, int64 most);
extern int64 es_arguments_get_max_count(FunctionCallInfo fcinfo, int argument);
extern ScanDirection es_arguments_get_direction(FunctionCallInfo fcinfo, int argument);
extern text *es_arguments_get_stream(FunctionCallInfo fcinfo, int argument);
extern text *es_arguments_get_subscription(FunctionCallInfo fcinfo, int argument, const char *name);
extern text *es_arguments_get_consumer(FunctionCallInfo fcinfo, int argument);
extern TimestampTz es_arguments_get_time_after(FunctionCallInfo fcinfo, int argument,
											   const char *name, TimestampTz now);

#endif /* ES_ARGUMENTS_H */
