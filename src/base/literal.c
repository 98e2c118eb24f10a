/*-------------------------------------------------------------------------
 *
 * literal.c
 *		Values of other types that are given as text.
 *
 * What PostgreSQL would do with a literal in a statement: it is read by the
 * input function of the type.  But nothing of a payload gets into an error.
 *
 * Memory: results in the current context.  Locks: none.  Calls: nothing of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "base/literal.h"

/*
 * A value read by the input function of its type, without a type modifier.  An
 * error about what stands there is raised again without its detail and context,
 * which quote it.
 */
Datum
es_literal_read(text *literal, PGFunction input)
{
	char *string = text_to_cstring(literal);
	MemoryContext caller = CurrentMemoryContext;
	volatile Datum value = (Datum) 0;

	PG_TRY();
	{
		/* Input functions that take one argument do not look at the others. */
		value = DirectFunctionCall3(input, CStringGetDatum(string), ObjectIdGetDatum(InvalidOid),
									Int32GetDatum(-1));
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		FlushErrorState();
		ereport(ERROR, (errcode(error->sqlerrcode), errmsg_internal("%s", error->message)));
	}
	PG_END_TRY();
	return value;
}

/* The same for an argument, which is not null. */
Datum
es_literal_read_argument(FunctionCallInfo fcinfo, int argument, PGFunction input)
{
	return es_literal_read(PG_GETARG_TEXT_PP(argument), input);
}
