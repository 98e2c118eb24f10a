/*-------------------------------------------------------------------------
 *
 * definition.h
 *		Arguments that define a subscription.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_DEFINITION_H
#define ES_DEFINITION_H

#include "fmgr.h"

extern int es_definition_get_partitions(FunctionCallInfo fcinfo, int argument);
extern int es_definition_get_max_retries(FunctionCallInfo fcinfo, int argument);
extern Datum es_definition_get_lease(FunctionCallInfo fcinfo, int argument);
extern Datum es_definition_get_park_policy(FunctionCallInfo fcinfo, int argument);
extern Datum es_definition_get_category(FunctionCallInfo fcinfo, int argument);
extern Datum es_definition_get_tenant(FunctionCallInfo fcinfo, int argument);
extern Datum es_definition_get_types(FunctionCallInfo fcinfo, int argument);
extern bool es_definition_is_all_categories(FunctionCallInfo fcinfo, int argument);
extern bool es_definition_is_all_tenants(FunctionCallInfo fcinfo, int argument);
extern bool es_definition_is_all_types(FunctionCallInfo fcinfo, int argument);
extern int64 es_definition_get_after_position(FunctionCallInfo fcinfo, int argument);

#endif /* ES_DEFINITION_H */
