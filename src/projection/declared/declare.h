/*-------------------------------------------------------------------------
 *
 * declare.h
 *		The SQL that makes and keeps a declared table.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_DECLARE_H
#define ES_DECLARE_H

#include "projection/declared/part.h"

/* Where a projection's SQL finds its events. */
typedef enum EsSource
{
	ES_SOURCE_BATCH, /* the ephemeral relation "events" */
	ES_SOURCE_ONE,   /* one event: parameters $1 ..., its columns */
	ES_SOURCE_RANGE  /* eventstore.events after position $1, up to $2 */
} EsSource;

#define ES_SOURCE_COUNT (ES_SOURCE_RANGE + 1)

/* The tables of a declaration, as they are written in SQL. */
typedef struct EsDeclareTables
{
	const char *read;
	List *sides; /* of char *: as many as es_declare_side_count says */
} EsDeclareTables;

extern int es_declare_side_count(const EsAnalysis *analysis);
extern const char *es_declare_side_label(const EsAnalysis *analysis, int number);
extern char *es_declare_type(const EsColumn *column);
extern char *es_declare_key(const EsAnalysis *analysis);
extern char *es_declare_make_read(const EsAnalysis *analysis, const char *table);
extern char *es_declare_make_side(const EsAnalysis *analysis, int number, const char *table);
extern char *es_declare_events(EsSource source, const char *range_condition);
extern char *es_declare_merge(const EsAnalysis *analysis, const EsDeclareTables *tables,
							  EsSource source, const char *range_condition);

#endif /* ES_DECLARE_H */
