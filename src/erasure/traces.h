/*-------------------------------------------------------------------------
 *
 * traces.h
 *		Snapshots of what an erased subject's values may be in.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_TRACES_H
#define ES_TRACES_H

extern void es_traces_remove(const text *subject);

#endif /* ES_TRACES_H */
