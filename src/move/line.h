/*-------------------------------------------------------------------------
 *
 * line.h
 *		An event as a JSON object by itself.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_LINE_H
#define ES_LINE_H

#include "utils/jsonb.h"

#include "base/event.h"

extern Jsonb *es_line_write(const Datum *values, const bool *nulls);
extern void es_line_read(EsAppend *append, EsEvent *event, JsonbContainer *object);

#endif /* ES_LINE_H */
