/*-------------------------------------------------------------------------
 *
 * part.h
 *		A partial aggregate, and what is known of a declaration.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_PART_H
#define ES_PART_H

#include "nodes/parsenodes.h"

/*
 * How a partial aggregate is computed for a batch, and merged into what is
 * stored.  From ES_PART_FIRST on it takes more than one column.
 */
typedef enum EsPartKind
{
	ES_PART_COUNT,    /* count: adds up */
	ES_PART_SUM,      /* sum: adds up, null as long as there is no value */
	ES_PART_COMBINE,  /* min, max, bool_and ...: the aggregate's own combine function */
	ES_PART_DISTINCT, /* count(DISTINCT): adds up what is new in a table of the values */
	ES_PART_FIRST,    /* the value at the lowest position */
	ES_PART_LAST,     /* the value at the highest position */
	ES_PART_FIRST_BY, /* the value by the lowest of another; of several, at the lowest position */
	ES_PART_LAST_BY,  /* the value by the highest of another */
	ES_PART_LATEST,   /* jsonb_object_agg by position: the latest value of each key */
	ES_PART_LIST      /* array_agg, jsonb_agg, string_agg by position: all of the values */
} EsPartKind;

/*
 * A partial aggregate.  Its arguments and its filter are columns a1 ... of
 * EsAnalysis.rows; 0 = it has none.
 */
typedef struct EsPart
{
	EsPartKind kind;
	Oid function; /* of a combined aggregate; else InvalidOid */
	int argument;
	int second_argument; /* the values of jsonb_object_agg; what es_last goes by */
	int filter;
	bool skips_nulls; /* of a list */

	char *aggregate;        /* qualified name: computes it for a batch */
	char *combine;          /* qualified name of the combine function */
	bool starts_with_input; /* for a single row it is the argument itself */
	Oid type;
	int32 typmod;
	Oid collation;

	/* What is compared: by what es_last goes, or the values of count(DISTINCT). */
	Oid by_type;
	int32 by_typmod;
	Oid by_collation;
	char *by_equals; /* operators, as they stand between two values */
	char *by_before; /* of es_last it is the one that is higher */
} EsPart;

/* An output column of a declared table. */
typedef struct EsColumn
{
	char *name;
	Oid type;
	int32 typmod;
	Oid collation;
	int key;          /* which GROUP BY column it is, from 1; 0 = none */
	int part;         /* which partial aggregate it is, and nothing else; 0 = none */
	bool is_nullable; /* a key */
} EsColumn;

typedef struct EsAnalysis
{
	bool is_declared;    /* else a handler */
	bool is_one_to_one;  /* an event makes one row at the most */
	bool needs_position; /* a part needs it */

	int column_count;
	EsColumn *columns;
	int key_count;
	EsColumn **keys; /* the columns that are GROUP BY columns */
	bool has_nullable_key;
	int part_count;
	EsPart *parts;
	List *looked_up; /* OIDs of tables that are looked up */

	/* The query as it stands, in one form, from "events". */
	char *query;

	/*
	 * SELECT of a row for each row that is grouped, from "events": keys k1 ...,
	 * arguments and filters a1 ..., and, if needed, "position".
	 */
	char *rows;

	/*
	 * SELECT of the output columns from "merged", whose columns are keys k1 ...
	 * and parts p1 ...
	 */
	char *output;

	/* Of a handler, and nothing else of it. */
	Query *handler;
} EsAnalysis;

/* Taking output expressions apart. */
typedef struct EsPartsState
{
	Query *query;
	EsAnalysis *analysis; /* receives the parts */
	List *key_exprs;      /* in the order of analysis->keys */
	List *arguments;      /* receives the expressions a1 ... */
	Node *position;       /* receives the column, if it is needed */
} EsPartsState;

extern EsPart *
es_part_get(EsPartsState *state, EsPartKind kind, Aggref *call, Expr *first, Expr *second);
extern Node *es_part_var(EsPartsState *state, const EsPart *part);
extern void es_part_set_type(EsPart *part, Node *value);
extern void es_part_set_by(EsPart *part, Node *value, Oid collation);
extern void es_part_check_type(Oid type);

#endif /* ES_PART_H */
