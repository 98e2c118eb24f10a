/*-------------------------------------------------------------------------
 *
 * cell.c
 *		Cells: what sql/38_cell.sql needs of C.
 *
 * What a store is stands in a row of eventstore.member; the functions in SQL that
 * write it call the fence for it to hold (fence.c).
 *
 * Memory: the function call's context.  Locks: the fence's.  Calls: arguments,
 * fence, partition.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/utility.h"

#include "base/arguments.h"
#include "base/partition.h"
#include "order/fence.h"

PG_FUNCTION_INFO_V1(es_slot);
PG_FUNCTION_INFO_V1(es_put_up_fence);

/*
 * es_slot(stream text) -> int
 *
 * It needs no store: a router has it, too.
 */
Datum
es_slot(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(es_partition_slot(es_arguments_get_stream(fcinfo, 0)));
}

/*
 * eventstore.put_up_fence() -> void
 */
Datum
es_put_up_fence(PG_FUNCTION_ARGS)
{
	PreventCommandIfReadOnly("es_set_cell()");
	PreventCommandIfParallelMode("es_set_cell()");
	es_fence_put_up();
	PG_RETURN_VOID();
}
