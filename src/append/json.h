/*-------------------------------------------------------------------------
 *
 * json.h
 *		Events that a caller gives as JSON.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_JSON_H
#define ES_JSON_H

#include "base/event.h"

extern bool es_json_set_key(EsEvent *event, const JsonbValue *key, JsonbValue *value);
extern void es_json_complete_event(EsEvent *event);
extern void es_json_read_events(EsAppend *append, Jsonb *events);
extern EsAppend *es_json_read_batch(Jsonb *batch, int *append_count);

#endif /* ES_JSON_H */
