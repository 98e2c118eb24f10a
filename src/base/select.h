/*-------------------------------------------------------------------------
 *
 * select.h
 *		The SELECT that a scan stands for.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_SELECT_H
#define ES_SELECT_H

#include "access/attnum.h"
#include "access/sdir.h"
#include "access/skey.h"
#include "executor/tuptable.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

/* Columns that an index of the store has at the most. */
#define ES_SELECT_COLUMNS 4

/* What is looked for. */
typedef struct EsSelectWhat
{
	Relation table;
	int column_count; /* of the index whose order the rows are to have */
	AttrNumber columns[ES_SELECT_COLUMNS];
	const ScanKeyData *keys; /* on the index's columns; their values stay valid */
	int key_count;
	Oid role;
	int security; /* es_select_security's */
	ScanDirection direction;

	/* If it is of events; else nothing of it counts. */
	bool is_of_events;
	int64 low; /* positions */
	int64 high;
	Datum tags; /* an array, all of which the rows have; 0: none in particular */
	Datum ids;  /* an array, one of which the rows have; 0: any */

	/* Where the table is a foreign one; else nothing of it counts. */
	TupleDesc row;  /* as what its rows come */
	bool wants_all; /* else null stands for each column that is not one of these */
	Bitmapset *wanted;
} EsSelectWhat;

typedef struct EsSelect EsSelect;

extern bool es_select_has_policies(Relation rel, Oid role);
extern int es_select_security(Oid role);
extern EsSelect *es_select_plan(const EsSelectWhat *what);
extern void es_select_begin(EsSelect *select, Snapshot snapshot);
extern TupleTableSlot *es_select_next(EsSelect *select);
extern void es_select_stop(EsSelect *select);
extern void es_select_free(EsSelect *select);

#endif /* ES_SELECT_H */
