/*-------------------------------------------------------------------------
 *
 * refuse.h
 *		How a declaration is refused: one message, the reason as its detail.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_REFUSE_H
#define ES_REFUSE_H

#include "utils/elog.h"

/* Raise 0A000: the reason as detail, maybe with a hint. */
#define es_refuse(...) \
	ereport(ERROR, \
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED), \
			 errmsg("the query can not be maintained incrementally"), __VA_ARGS__))

#define ES_REFUSE_WRITE_HANDLER \
	"write a handler: INSERT ... SELECT ... FROM events ... ON CONFLICT, UPDATE, DELETE or MERGE."
#define ES_REFUSE_HANDLER_HINT "Instead, " ES_REFUSE_WRITE_HANDLER

#endif /* ES_REFUSE_H */
