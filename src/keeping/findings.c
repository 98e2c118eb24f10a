/*-------------------------------------------------------------------------
 *
 * findings.c
 *		What es_verify and es_verify_seals find.
 *
 * Memory: rows in the result's tuplestore; nothing stays in the current context.  Locks: none.  Calls: nothing of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "base/compat.h"
#include "keeping/findings.h"

static text *findings_format(const char *format, va_list *arguments) pg_attribute_printf(1, 0);

static text *
findings_format(const char *format, va_list *arguments)
{
	StringInfoData detail;
	text *result;

	initStringInfo(&detail);
	for (;;)
	{
		va_list copy;
		int needed;

		va_copy(copy, *arguments);
		needed = appendStringInfoVA(&detail, format, copy);
		va_end(copy);
		if (needed == 0)
			break;
		enlargeStringInfo(&detail, needed);
	}
	result = cstring_to_text_with_len(detail.data, detail.len);
	pfree(detail.data);
	return result;
}

/*
 * A row of es_verify.
 *
 * stream: NULL where it is about none.
 */
void
es_findings_add(EsFindings *findings, const char *check, const text *stream, const char *format, ...)
{
	bool nulls[] = {false, stream == NULL, false};
	Datum values[3];
	va_list arguments;

	va_start(arguments, format);
	values[0] = CStringGetTextDatum(check);
	values[1] = PointerGetDatum(stream);
	values[2] = PointerGetDatum(findings_format(format, &arguments));
	va_end(arguments);
	tuplestore_putvalues(findings->setResult, findings->setDesc, values, nulls);
	pfree(DatumGetPointer(values[0]));
	pfree(DatumGetPointer(values[2]));
}

/* A row of es_verify_seals. */
void
es_findings_add_numbered(EsFindings *findings, int64 number, const char *format, ...)
{
	bool nulls[] = {false, false};
	Datum values[2];
	va_list arguments;

	va_start(arguments, format);
	values[0] = Int64GetDatum(number);
	values[1] = PointerGetDatum(findings_format(format, &arguments));
	va_end(arguments);
	tuplestore_putvalues(findings->setResult, findings->setDesc, values, nulls);
	pfree(DatumGetPointer(values[1]));
}
