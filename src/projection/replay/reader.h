/*-------------------------------------------------------------------------
 *
 * reader.h
 *		Who may see what a projection's tables were.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_READER_H
#define ES_READER_H

#include "projection/projection.h"

extern void es_reader_check(const EsProjection *projection);

#endif /* ES_READER_H */
