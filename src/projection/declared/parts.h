/*-------------------------------------------------------------------------
 *
 * parts.h
 *		The partial aggregates that a declared table is kept by.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_PARTS_H
#define ES_PARTS_H

#include "nodes/parsenodes.h"

/* How a partial aggregate is computed for a batch, and merged into what is stored. */
typedef enum EsPartKind
{
	ES_PART_COUNT,   /* count: adds up */
	ES_PART_SUM,     /* sum: adds up, null as long as there is no value */
	ES_PART_COMBINE, /* min, max, bool_and ...: the aggregate's own combine function */
	ES_PART_FIRST,   /* the value at the lowest position */
	ES_PART_LAST,    /* the value at the highest position */
	ES_PART_LATEST   /* jsonb_object_agg by position: the latest value of each key */
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
	int second_argument; /* the values of jsonb_object_agg */
	int filter;

	char *aggregate;        /* qualified name: computes it for a batch */
	char *combine;          /* qualified name of the combine function */
	bool starts_with_input; /* for a single row it is the argument itself */
	Oid type;
	int32 typmod;
	Oid collation;
} EsPart;

/* An output column of a declared table. */
typedef struct EsColumn
{
	char *name;
	Oid type;
	int32 typmod;
	Oid collation;
	int key;  /* which GROUP BY column it is, from 1; 0 = none */
	int part; /* which partial aggregate it is, and nothing else; 0 = none */
} EsColumn;

typedef struct EsAnalysis
{
	bool is_declared;    /* else a handler, and the rest is not set */
	bool is_one_to_one;  /* an event makes one row at the most */
	bool needs_position; /* a part needs it */

	int column_count;
	EsColumn *columns;
	int key_count;
	EsColumn **keys; /* the columns that are GROUP BY columns */
	int part_count;
	EsPart *parts;

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

extern Node *es_parts_replace(Node *node, void *state);

#endif /* ES_PARTS_H */
