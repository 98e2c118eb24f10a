/*-------------------------------------------------------------------------
 *
 * literal.h
 *		Values of other types that are given as text.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_LITERAL_H
#define ES_LITERAL_H

#include "fmgr.h"

extern Datum es_literal_read(text *literal, PGFunction input);
extern Datum es_literal_read_argument(FunctionCallInfo fcinfo, int argument, PGFunction input);

#endif /* ES_LITERAL_H */
