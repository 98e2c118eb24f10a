/*-------------------------------------------------------------------------
 *
 * launcher.h
 *		The process that keeps a worker in each of eventstore.databases.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_LAUNCHER_H
#define ES_LAUNCHER_H

extern void es_launcher_register(void);
extern PGDLLEXPORT void es_launcher_main(Datum arg);

#endif /* ES_LAUNCHER_H */
