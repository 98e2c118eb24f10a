/*-------------------------------------------------------------------------
 *
 * shared.h
 *		Shared memory: which database has a worker, and how to wake it; its runners.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_SHARED_H
#define ES_SHARED_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

/* Who works for this database. */
typedef struct EsProcesses
{
	int worker_pid; /* 0: there is no worker */
	int runners;
	bool lacks_process;    /* there is no runner, as none could be started */
	TimestampTz broken_at; /* when a runner broke down last; 0: never */
} EsProcesses;

extern void es_shared_request(void);

extern bool es_shared_is_there(void);
extern bool es_shared_has_worker(void);
extern bool es_shared_wake_worker(void);
extern void es_shared_set_head(int64 head);
extern bool es_shared_get_head(int64 *head);

extern bool es_shared_worker_begin(void);
extern bool es_shared_has_worker_in(Oid database);
extern void es_shared_end_workers(List *but_in);
extern void es_shared_hold(Oid database);
extern void es_shared_unhold(Oid database);
extern bool es_shared_is_held(Oid database);

extern int es_shared_count_runners(Oid database);
extern int es_shared_claim_runner(int limit);
extern void es_shared_release_runner(int number);
extern bool es_shared_runner_begin(int number);
extern void es_shared_runner_set_idle(int number, bool is_idle);
extern bool es_shared_runner_is_idle(int number);
extern bool es_shared_wake_runner(void);
extern bool es_shared_lacks_process(void);
extern void es_shared_get_processes(EsProcesses *processes);

#endif /* ES_SHARED_H */
