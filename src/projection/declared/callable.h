/*-------------------------------------------------------------------------
 *
 * callable.h
 *		Functions and aggregates that a declared table can use.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_CALLABLE_H
#define ES_CALLABLE_H

/* Aggregates that are kept in a way of their own. */
typedef enum EsCallable
{
	ES_CALLABLE_OTHER,
	ES_CALLABLE_COUNT,
	ES_CALLABLE_SUM,
	ES_CALLABLE_AVG,
	ES_CALLABLE_LATEST,     /* jsonb_object_agg */
	ES_CALLABLE_FIRST,      /* es_first */
	ES_CALLABLE_LAST,       /* es_last */
	ES_CALLABLE_LIST,       /* array_agg */
	ES_CALLABLE_JSONB_LIST, /* jsonb_agg */
	ES_CALLABLE_STRING_LIST /* string_agg of text */
} EsCallable;

/* How an aggregate merges two states. */
typedef struct EsCallableCombine
{
	char *name;             /* qualified name of the function */
	bool starts_with_input; /* the first input is the first state */

	/* If there is no way: why, as it ends a sentence, and what to do. */
	const char *reason;
	const char *hint;
} EsCallableCombine;

extern bool es_callable_check(Oid function, void *context);
extern char *es_callable_name(Oid function);
extern char *es_callable_operator(Oid operator);
extern char *es_callable_collation(Oid collation);
extern char *es_callable_pick_name(bool is_last);
extern EsCallable es_callable_which(Oid aggregate);
extern bool es_callable_find_combine(Oid aggregate, EsCallableCombine *combine);

#endif /* ES_CALLABLE_H */
