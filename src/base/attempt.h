/*-------------------------------------------------------------------------
 *
 * attempt.h
 *		Something that may fail, and leave nothing behind.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_ATTEMPT_H
#define ES_ATTEMPT_H

#include "utils/elog.h"

typedef void (*EsAttemptAction)(void *argument);

extern ErrorData *es_attempt(EsAttemptAction action, void *argument);

#endif /* ES_ATTEMPT_H */
