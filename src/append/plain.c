/*-------------------------------------------------------------------------
 *
 * plain.c
 *		Whether rows may go into a table without an executor.
 *
 * They may where no trigger fires but those of foreign.c, no constraint is to be
 * checked, there is no column but the store's own, and every index is a plain
 * B-tree (a unique one of columns that messages may show), or that of tags.
 *
 * To look costs a single event as much as one of its index entries, so what was
 * found is remembered, of the few tables that events go into, until the relation
 * cache has news of the table or of one of its indexes.  Nobody remembers what
 * may have been out of date when it was looked at: es_plain_news tells whether
 * there were any news meanwhile, of whatever relation.
 *
 * Memory: static variables.  Locks: none; the caller holds RowExclusive on the
 * table and its indexes.  Calls: conceal, foreign, tag_index.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_am.h"
#include "catalog/pg_index.h"
#include "catalog/pg_trigger.h"
#include "utils/inval.h"
#include "utils/rel.h"

#include "append/foreign.h"
#include "append/plain.h"
#include "base/catalog.h"
#include "base/conceal.h"
#include "condition/tag_index.h"

/* ----------------------------------------------------------------------
 * What is remembered
 * ----------------------------------------------------------------------
 */

/* eventstore.events, and where it is made of ranges, those that are appended to. */
#define PLAIN_TABLES 4

static EsPlain plain_known[PLAIN_TABLES];
static uint64 plain_news = 0;

static bool
plain_is_about(const EsPlain *known, Oid relid)
{
	int i;

	if (known->table == relid)
		return true;
	for (i = 0; i < known->index_count; i++)
		if (known->indexes[i].oid == relid)
			return true;
	return false;
}

/* Relcache callback: relid is InvalidOid where everything is invalidated. */
static void
plain_forget(Datum arg, Oid relid)
{
	int i;

	plain_news++;
	for (i = 0; i < PLAIN_TABLES; i++)
		if (!OidIsValid(relid) || plain_is_about(&plain_known[i], relid))
			plain_known[i].table = InvalidOid;
}

/* Called once, when the library is loaded. */
void
es_plain_init(void)
{
	CacheRegisterRelcacheCallback(plain_forget, (Datum) 0);
}

/* A number that changes whenever the relation cache has news. */
uint64
es_plain_news(void)
{
	return plain_news;
}

/*
 * What is known of a table; NULL: nothing.  What it points to is as it was until
 * somebody looks at another table; but where locks were taken since, only if it
 * is found again it is still true.
 */
const EsPlain *
es_plain_find(Relation table)
{
	Oid oid = RelationGetRelid(table);
	int i;

	for (i = 0; i < PLAIN_TABLES; i++)
		if (plain_known[i].table == oid)
			return &plain_known[i];
	return NULL;
}

static void
plain_remember(Relation table, const Relation *indexes, int index_count, bool is_plain)
{
	static int oldest = 0;
	EsPlain *known = &plain_known[oldest];
	int i;

	oldest = (oldest + 1) % PLAIN_TABLES;
	known->table = RelationGetRelid(table);
	known->is_plain = is_plain;
	known->index_count = index_count;
	for (i = 0; i < index_count; i++)
	{
		known->indexes[i].oid = RelationGetRelid(indexes[i]);
		known->indexes[i].is_of_tags = es_tag_index_is(indexes[i]);
	}
}

/* ----------------------------------------------------------------------
 * What is looked at
 * ----------------------------------------------------------------------
 */

/* Whether an INSERT fires a trigger that is not for others' only. */
static bool
plain_has_trigger(const TriggerDesc *triggers)
{
	int i;

	if (triggers == NULL)
		return false;
	for (i = 0; i < triggers->numtriggers; i++)
		if (TRIGGER_FOR_INSERT(triggers->triggers[i].tgtype) &&
			!es_foreign_is_noted_by(&triggers->triggers[i]))
			return true;
	return false;
}

/* Whether the table has no column but the store's own, as they were made. */
static bool
plain_has_own_columns(Relation table)
{
	TupleDesc desc = RelationGetDescr(table);

	return desc->natts == Natts_event &&
		!TupleDescAttr(desc, Anum_events_metadata - 1)->attnotnull &&
		!TupleDescAttr(desc, Anum_events_tags - 1)->attnotnull;
}

/* Whether the error that a key is there already shows what messages may show. */
static bool
plain_shows_key(const FormData_pg_index *form, Relation table)
{
	int i;

	for (i = 0; i < form->indnkeyatts; i++)
		if (!es_conceal_shows(table, Natts_event, form->indkey.values[i]))
			return false;
	return true;
}

/*
 * Whether an index wants its columns as they are, of every row, and at once:
 * one of a deferrable constraint comes with a trigger.
 */
static bool
plain_is_index(Relation index, Relation table)
{
	const FormData_pg_index *form = index->rd_index;

	return (index->rd_rel->relam == BTREE_AM_OID || es_tag_index_is(index)) && form->indisready &&
		!form->indisexclusion &&
		heap_attisnull(index->rd_indextuple, Anum_pg_index_indexprs, NULL) &&
		heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL) &&
		(!form->indisunique || plain_shows_key(form, table));
}

/*
 * Look at a table of which nothing is known.
 *
 * indexes: all that it has, open.
 * news: what es_plain_news was before they were listed and opened.
 */
bool
es_plain_look(Relation table, const Relation *indexes, int index_count, uint64 news)
{
	bool is_plain = plain_has_own_columns(table) && !plain_has_trigger(table->trigdesc) &&
		table->rd_rel->relchecks == 0;
	int i;

	for (i = 0; i < index_count; i++)
		is_plain = is_plain && plain_is_index(indexes[i], table);
	if (news == plain_news)
		plain_remember(table, indexes, index_count, is_plain);
	return is_plain;
}
