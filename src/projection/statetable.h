/*-------------------------------------------------------------------------
 *
 * statetable.h
 *		The table of a state projection.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_STATETABLE_H
#define ES_STATETABLE_H

#include "access/tupdesc.h"
#include "datatype/timestamp.h"
#include "executor/spi.h"
#include "storage/itemptr.h"

#include "base/reducer.h"
#include "base/scan.h"

/* Its columns. */
enum
{
	ES_STATE_STREAM,
	ES_STATE_VERSION,
	ES_STATE_STATE,
	ES_STATE_RECORDED_AT,
	ES_STATE_COLUMNS
};

/* A stream's row. */
typedef struct EsStateRow
{
	text *stream;
	int64 version;
	TimestampTz recorded_at;
	EsFolded folded;
	ItemPointerData place; /* where it is stored; invalid: nowhere */
} EsStateRow;

/*
 * The table, ready to be written.  It lives in the memory context that it was
 * made in, and its plans end with that.
 */
typedef struct EsStateTable
{
	const char *name; /* as it is written in SQL */
	List *names;      /* of String */
	Oid copy;         /* that stands for it; InvalidOid: none */
	TupleDesc desc;   /* of its columns, as they are written */
	SPIPlanPtr place; /* writes a row where it stands; NULL: not made yet */
	SPIPlanPtr one;   /* writes a row that may be there */
	SPIPlanPtr many;  /* the same of relation "states" */
	MemoryContextCallback on_reset;
} EsStateTable;

/* The table, while it is read; all zero at first. */
typedef struct EsStateReader
{
	Relation rel; /* NULL: it is not open */
	Snapshot snapshot;
	EsScan scan; /* by the key; begun where it has a desc */
	AttrNumber columns[ES_STATE_COLUMNS];
} EsStateReader;

extern char *es_statetable_create(const char *table);
extern bool es_statetable_has_column(const char *column);
extern char *es_statetable_missing(Oid table);
extern EsStateTable *es_statetable_make(void);
extern void es_statetable_use(EsStateTable *table, const char *name, Oid copy);

extern bool es_statetable_read(EsStateTable *table, EsStateReader *reader, EsStateRow *row,
							   Datum *state, bool *is_null);
extern void es_statetable_end_reading(EsStateReader *reader);
extern void es_statetable_write(EsStateTable *table, EsStateRow *const *rows, int count);

#endif /* ES_STATETABLE_H */
