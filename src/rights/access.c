/*-------------------------------------------------------------------------
 *
 * access.c
 *		What sql/40_access.sql needs: es_tenant, and what the store's own policies
 *		on eventstore.events ask.
 *
 * Policies ask as the role that selects, so PUBLIC may execute these: they tell
 * a role nothing but what it may see itself.
 *
 * Memory: the function call's context.  Locks: AccessShare on eventstore.events.
 * Calls: arguments, bound, catalog, names, rights.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "rewrite/rowsecurity.h"
#include "utils/rel.h"

#include "base/arguments.h"
#include "base/catalog.h"
#include "base/compat.h"
#include "base/names.h"
#include "rights/rights.h"

PG_FUNCTION_INFO_V1(es_tenant);
PG_FUNCTION_INFO_V1(es_sees_all);
PG_FUNCTION_INFO_V1(es_sees);
PG_FUNCTION_INFO_V1(es_is_everyone_let_in);

/*
 * es_tenant(stream text) -> text
 */
Datum
es_tenant(PG_FUNCTION_ARGS)
{
	text *tenant = es_bound_tenant(es_arguments_get_stream(fcinfo, 0));

	if (tenant == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(tenant);
}

/*
 * eventstore.sees_all() -> boolean
 */
Datum
es_sees_all(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(es_rights_of(GetUserId())->sees.has_all);
}

/*
 * eventstore.sees(stream text) -> boolean
 */
Datum
es_sees(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(es_rights_has(&es_rights_of(GetUserId())->sees, PG_GETARG_TEXT_PP(0)));
}

/*
 * eventstore.is_everyone_let_in() -> boolean
 *
 * Whether nobody has put a permissive policy of his own on eventstore.events.
 */
Datum
es_is_everyone_let_in(PG_FUNCTION_ARGS)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	bool result = true;
	ListCell *cell;

	if (events->rd_rsdesc != NULL)
		foreach (cell, events->rd_rsdesc->policies)
		{
			const RowSecurityPolicy *policy = lfirst(cell);

			if (policy->permissive && strncmp(policy->policy_name, "eventstore_", 11) != 0)
				result = false;
		}
	relation_close(events, NoLock);
	PG_RETURN_BOOL(result);
}
