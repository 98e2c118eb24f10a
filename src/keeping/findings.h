/*-------------------------------------------------------------------------
 *
 * findings.h
 *		What es_verify and es_verify_seals find.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_FINDINGS_H
#define ES_FINDINGS_H

#include "funcapi.h"

/* The rows that a function is to return. */
typedef ReturnSetInfo EsFindings;

extern void es_findings_add(EsFindings *findings, const char *check, const text *stream,
							const char *format, ...) pg_attribute_printf(4, 5);
extern void es_findings_add_numbered(EsFindings *findings, int64 number, const char *format, ...)
	pg_attribute_printf(3, 4);

#endif /* ES_FINDINGS_H */
