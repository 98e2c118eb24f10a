/*-------------------------------------------------------------------------
 *
 * place.h
 *		Places: how rows that are written all the time are found.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_PLACE_H
#define ES_PLACE_H

#include "access/htup.h"
#include "access/relscan.h"

#include "base/scan.h"

/* A table whose rows have a place, and what places.c has to know of it. */
typedef struct EsPlaceTable
{
	EsRelation heap;
	EsRelation by_place;    /* index (subscription, place, revision) */
	EsRelation by_revision; /* index (subscription, revision, place) */
	AttrNumber subscription;
	AttrNumber place;
	AttrNumber revision;
	AttrNumber base;
} EsPlaceTable;

/* Where a row is, and whose. */
typedef struct EsPlaceRow
{
	int place;
	int64 revision;
	int64 base;  /* that the next version is to have */
	bool is_own; /* this transaction wrote it, and may not commit */
	ItemPointerData tid;
	TransactionId writer;  /* another's, open, that wrote it; or invalid */
	TransactionId remover; /* another's, open, that deletes it; or invalid */
} EsPlaceRow;

/* A revision: an entry of the index, and what the table has there. */
typedef struct EsPlaceEntry
{
	int place;
	int64 revision;
	ItemPointerData tid; /* the beginning of a chain of versions */
	bool is_new;         /* recall.c: it was not remembered */
} EsPlaceEntry;

typedef enum EsPlaceState
{
	ES_PLACE_GONE,    /* it is not there any more */
	ES_PLACE_ABORTED, /* nobody committed it: what is below counts */
	ES_PLACE_OPEN,    /* of another open transaction: the base counts, too */
	ES_PLACE_SETTLED, /* committed, or of this transaction: nothing else counts */
	ES_PLACE_DELETED, /* the same, and deleted by this transaction */
	ES_PLACE_OVER     /* the same, and deleted for good */
} EsPlaceState;

/* A row that counts. */
typedef struct EsPlaced
{
	EsPlaceRow row;
	HeapTuple tuple;
} EsPlaced;

/* Rows of a subscription. */
typedef struct EsPlaces
{
	int count;
	int space;
	EsPlaced *items;
} EsPlaces;

/* What visits go through. */
typedef struct EsPlaceVisit
{
	const EsPlaceTable *table;
	Relation heap;
	const text *subscription;
	struct IndexFetchTableData *fetch;
	TupleTableSlot *slot;
	SnapshotData dirty;
	EsPlaces *found; /* receives rows that count */

	/* Of the last entry */
	int64 base;   /* if it is open */
	bool has_row; /* that counts */
} EsPlaceVisit;

extern void es_place_open(EsPlaceVisit *visit, const EsPlaceTable *table, Relation heap,
						  const text *subscription, EsPlaces *found);
extern void es_place_close(EsPlaceVisit *visit);
extern EsPlaceState es_place_visit(EsPlaceVisit *visit, const EsPlaceEntry *entry);

extern bool es_place_is_stale(const EsPlaceRow *row);
extern bool es_place_has_room(Relation heap, const EsPlaceRow *row, Size length);
extern bool es_place_find_lower(Relation heap, const EsPlaceRow *row, Size length);

#endif /* ES_PLACE_H */
