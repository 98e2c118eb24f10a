/*-------------------------------------------------------------------------
 *
 * worker.h
 *		The background worker of a database.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_WORKER_H
#define ES_WORKER_H

extern PGDLLEXPORT void es_worker_main(Datum database);

#endif /* ES_WORKER_H */
