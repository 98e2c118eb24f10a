/*-------------------------------------------------------------------------
 *
 * runner.h
 *		The processes that apply async projections.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_RUNNER_H
#define ES_RUNNER_H

extern PGDLLEXPORT void es_runner_main(Datum number);
extern bool es_runner_call(int64 head);

#endif /* ES_RUNNER_H */
