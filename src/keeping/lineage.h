/*-------------------------------------------------------------------------
 *
 * lineage.h
 *		Whether each stream is what its events make of it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_LINEAGE_H
#define ES_LINEAGE_H

#include "datatype/timestamp.h"

#include "keeping/findings.h"

/* What is known of a stream, in the order in which it is looked at. */
typedef enum EsLineageKind
{
	ES_LINEAGE_ROW,       /* the row in eventstore.streams: its version */
	ES_LINEAGE_BEGINNING, /* the version before the one that it was imported from on */
	ES_LINEAGE_REMOVED,   /* an event that was removed */
	ES_LINEAGE_EVENT
} EsLineageKind;

typedef struct EsLineageEntry
{
	EsLineageKind kind;
	Datum stream; /* text */
	int64 version;
	int64 position;          /* of events, removed or not */
	TimestampTz recorded_at; /* not of removed events */
	bool is_tombstoned;      /* of the row */
} EsLineageEntry;

typedef struct EsLineage EsLineage;

extern EsLineage *es_lineage_begin(int memory);
extern void es_lineage_add(EsLineage *lineage, const EsLineageEntry *entry);
extern void es_lineage_check(EsLineage *lineage, EsFindings *findings);
extern void es_lineage_end(EsLineage *lineage);

#endif /* ES_LINEAGE_H */
