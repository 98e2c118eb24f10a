/*-------------------------------------------------------------------------
 *
 * errors.h
 *		The SQLSTATEs of eventstore, class SE.
 *
 * docs/errors.md says of each when it is raised and what to do; "make lint"
 * keeps the two equal.  Where PostgreSQL has a standard code (22004, 22023,
 * 54000, 25006, 40001 ...) that one is used instead.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_ERRORS_H
#define ES_ERRORS_H

#include "utils/elog.h"

/* The stream is not where the caller expects it. */
#define ES_ERRCODE_WRONG_EXPECTED_VERSION MAKE_SQLSTATE('S', 'E', '0', '0', '1')

/* An event id is stored already, and the call is not an exact retry. */
#define ES_ERRCODE_DUPLICATE_EVENT_ID MAKE_SQLSTATE('S', 'E', '0', '0', '2')

/* Append to a tombstoned stream. */
#define ES_ERRCODE_STREAM_DELETED MAKE_SQLSTATE('S', 'E', '0', '0', '3')

/* A conditional append: an event matches the condition. */
#define ES_ERRCODE_APPEND_CONDITION_FAILED MAKE_SQLSTATE('S', 'E', '0', '0', '4')

/* A token that is no longer its owner's. */
#define ES_ERRCODE_LEASE_LOST MAKE_SQLSTATE('S', 'E', '0', '0', '5')

/* An inline projection's SQL raised an error. */
#define ES_ERRCODE_PROJECTION_FAILED MAKE_SQLSTATE('S', 'E', '0', '0', '6')

/* UPDATE, DELETE or TRUNCATE of stored events, or INSERT that is no append. */
#define ES_ERRCODE_EVENTS_IMMUTABLE MAKE_SQLSTATE('S', 'E', '0', '0', '7')

/* The stream's slot belongs to another cell. */
#define ES_ERRCODE_WRONG_CELL MAKE_SQLSTATE('S', 'E', '0', '0', '9')

/* Something is to be protected for a subject that was erased. */
#define ES_ERRCODE_SUBJECT_ERASED MAKE_SQLSTATE('S', 'E', '0', '1', '0')

#endif /* ES_ERRORS_H */
