/*-------------------------------------------------------------------------
 *
 * succession.h
 *		Whether positions are each event's own, and what marks say of them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_SUCCESSION_H
#define ES_SUCCESSION_H

#include "datatype/timestamp.h"

#include "keeping/findings.h"

typedef struct EsSuccession EsSuccession;

extern EsSuccession *es_succession_begin(int memory);
extern void es_succession_add(EsSuccession *succession, int64 position, TimestampTz recorded_at);
extern void es_succession_check(EsSuccession *succession, int64 last, EsFindings *findings);
extern void es_succession_end(EsSuccession *succession);

#endif /* ES_SUCCESSION_H */
