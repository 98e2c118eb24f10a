/*-------------------------------------------------------------------------
 *
 * truncate.h
 *		A stream's beginning, or all of it, is forgotten.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_TRUNCATE_H
#define ES_TRUNCATE_H

extern int64 es_truncate_between(const text *stream, int64 from, int64 before_version);

#endif /* ES_TRUNCATE_H */
