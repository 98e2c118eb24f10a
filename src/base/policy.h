/*-------------------------------------------------------------------------
 *
 * policy.h
 *		Scans that see what row security lets a role see.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_POLICY_H
#define ES_POLICY_H

#include "access/sdir.h"
#include "access/skey.h"
#include "executor/tuptable.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

typedef struct EsPolicyScan EsPolicyScan;

extern bool es_policy_applies(Relation rel, Oid role);
extern EsPolicyScan *es_policy_plan(Relation rel, Relation index, const ScanKeyData *keys,
									int key_count, Oid role, ScanDirection direction);
extern void es_policy_begin(EsPolicyScan *scan, Snapshot snapshot);
extern TupleTableSlot *es_policy_next(EsPolicyScan *scan);
extern void es_policy_stop(EsPolicyScan *scan);
extern void es_policy_free(EsPolicyScan *scan);

#endif /* ES_POLICY_H */
