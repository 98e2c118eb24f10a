/*-------------------------------------------------------------------------
 *
 * plain.h
 *		Whether rows may go into a table without an executor.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_PLAIN_H
#define ES_PLAIN_H

#include "utils/relcache.h"

/* A table that has more indexes is not plain. */
#define ES_PLAIN_INDEXES 32

typedef struct EsPlainIndex
{
	Oid oid;
	bool is_of_tags; /* rows without tags have no entry in it */
} EsPlainIndex;

typedef struct EsPlain
{
	Oid table; /* InvalidOid: nothing is known */
	bool is_plain;
	int index_count;
	EsPlainIndex indexes[ES_PLAIN_INDEXES];
} EsPlain;

extern void es_plain_init(void);
extern uint64 es_plain_news(void);
extern const EsPlain *es_plain_find(Relation table);
extern bool es_plain_look(Relation table, const Relation *indexes, int index_count, uint64 news);

#endif /* ES_PLAIN_H */
