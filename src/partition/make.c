/*-------------------------------------------------------------------------
 *
 * make.c
 *		The ranges that come next.
 *
 * A range is made like the newest one, with all its indexes, those included that
 * a DBA has added, and attached.  Neither takes a lock that an append or a reader
 * would wait for: who makes ranges at the same time waits for each other only.
 *
 * Memory: the current context.  Locks: the userlock "ranges", Exclusive;
 * ShareUpdateExclusive on eventstore.events, AccessShare on its newest range; to
 * the end of the transaction.  Calls: catalog, ddl, ranges, sql.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/tablespace.h"
#include "common/int.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "base/ranges.h"
#include "base/sql.h"
#include "base/userlock.h"
#include "partition/ddl.h"
#include "partition/make.h"

/* How many positions a range that is made has. */
int64
es_make_every(void)
{
	static EsSql statement =
		ES_SQL("SELECT every FROM eventstore.partitioning WHERE $1::bigint IS NOT NULL", INT8OID);
	Datum values[] = {Int64GetDatum(0)};
	int64 every = es_sql_number(&statement, values, NULL);

	if (every == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("nobody knows how many positions a partition is to have"),
				 errdetail("Table \"%s.%s\" is empty.", ES_SCHEMA, "partitioning"),
				 errhint("Call es_partition_events() to say it.")));
	return every;
}

/* Say how many. */
void
es_make_set_every(int64 every)
{
	es_ddl_run("INSERT INTO eventstore.partitioning (every) VALUES (%lld) "
			   "ON CONFLICT (only_row) DO UPDATE SET every = excluded.every",
			   (long long) every);
}

/* The name of the range that begins at a position. */
char *
es_make_name(int64 from)
{
	return psprintf("events_%lld", (long long) Max(from, 0));
}

/* A name that nobody has: that of a table that was detached may be in use. */
static char *
make_free_name(int64 from)
{
	char *name = es_make_name(from);
	Oid schema = get_namespace_oid(ES_SCHEMA, false);
	int i;

	for (i = 1; OidIsValid(get_relname_relid(name, schema)); i++)
		name = psprintf("%s_%d", es_make_name(from), i);
	return name;
}

/* Where new rows go: ranges that are cold may have been moved elsewhere. */
static const char *
make_tablespace(Oid model)
{
	Oid tablespace = get_rel_tablespace(model);

	return OidIsValid(tablespace)
		? psprintf(" TABLESPACE %s", quote_identifier(get_tablespace_name(tablespace)))
		: "";
}

/* Make those of a range's indexes that are not there. */
void
es_make_indexes(Oid table)
{
	static const struct
	{
		EsRelation which;
		const char *command;
	} indexes[] = {{ES_EVENTS_PKEY, "ALTER TABLE ONLY %s ADD PRIMARY KEY (position)"},
				   {ES_EVENTS_STREAM_VERSION, "ALTER TABLE ONLY %s ADD UNIQUE (stream, version)"},
				   {ES_EVENTS_ID, "ALTER TABLE ONLY %s ADD UNIQUE (id)"},
				   {ES_EVENTS_CATEGORY_POSITION,
					"CREATE INDEX ON %s (category, position) WITH (deduplicate_items = off)"},
				   {ES_EVENTS_TAGS, "CREATE INDEX ON %s USING eventstore_tags (tags, position)"}};
	int i;

	for (i = 0; i < lengthof(indexes); i++)
	{
		Relation rel = table_open(table, NoLock);
		bool is_there = OidIsValid(es_ranges_index_if_any(rel, indexes[i].which));

		table_close(rel, NoLock);
		if (!is_there)
			es_ddl_run("%s", psprintf(indexes[i].command, es_ddl_table(table)));
	}
}

/* A range that is to be made. */
typedef struct MakeOrder
{
	Oid model; /* the range that it is like */
	int64 from;
	int64 upto;
	bool has_row_security;
} MakeOrder;

/* Make a range, and attach it. */
static void
make_range(const MakeOrder *order)
{
	char *name = make_free_name(order->from);
	char *settings = es_ddl_settings(order->model);
	Oid table;

	es_ddl_run("CREATE TABLE %s.%s (LIKE %s INCLUDING ALL)%s", ES_SCHEMA, name,
			   es_ddl_table(order->model), make_tablespace(order->model));
	if (settings != NULL)
		es_ddl_run("ALTER TABLE %s.%s SET (%s)", ES_SCHEMA, name, settings);
	table = get_relname_relid(name, get_namespace_oid(ES_SCHEMA, false));
	es_ddl_protect(table);
	es_ddl_run("ALTER TABLE ONLY eventstore.events ATTACH PARTITION %s FOR VALUES FROM (%lld) TO (%lld)",
			   es_ddl_table(table), (long long) order->from, (long long) order->upto);
	if (order->has_row_security)
		es_ddl_run("ALTER TABLE ONLY %s ENABLE ROW LEVEL SECURITY", es_ddl_table(table));
}

/* Where the range ends that begins at from and has a position, or would have it. */
static int64
make_end(int64 from, int64 position, int64 every)
{
	int64 end;

	if (pg_mul_s64_overflow(Max(position, from) / every + 1, every, &end))
		end = PG_INT64_MAX;
	return end;
}

/*
 * What one range above all others would be, that goes up to a position at least.
 * Returns false if there are enough.
 */
static bool
make_order(MakeOrder *order, int64 position, int ahead, int64 every)
{
	Relation events = es_catalog_open(ES_EVENTS, ShareUpdateExclusiveLock);
	bool is_due = es_ranges_are_of(events) && es_make_is_due(events, position, ahead);
	EsRange newest;

	if (is_due && es_ranges_count(events) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("\"%s.events\" has no partition left to make others like", ES_SCHEMA),
				 errhint("Attach one again by es_attach_events().")));
	if (is_due)
	{
		newest = es_ranges_get(events, es_ranges_count(events) - 1);
		order->model = newest.table;
		order->from = newest.upto;
		order->upto = make_end(newest.upto, position, every);
		order->has_row_security = RelationGetForm(events)->relrowsecurity;
	}
	relation_close(events, NoLock);
	return is_due;
}

/* Nobody else makes, detaches or attaches ranges to the end of the transaction. */
void
es_make_lock(void)
{
	LOCKTAG tag = es_userlock_tag(ES_USERLOCK_RANGES, 0);

	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

/* The same, where nobody does already.  Returns whether nobody did. */
bool
es_make_try_lock(void)
{
	LOCKTAG tag = es_userlock_tag(ES_USERLOCK_RANGES, 0);

	return LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

/* Whether the table is made of ranges. */
bool
es_make_is_partitioned(void)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	bool result = es_ranges_are_of(events);

	relation_close(events, NoLock);
	return result;
}

/* Whether there are fewer ranges above the one that has a position. */
bool
es_make_is_due(Relation events, int64 position, int ahead)
{
	return es_ranges_find(events, position) + ahead >= es_ranges_count(events);
}

/*
 * Have a range for a position, and some above it.
 *
 * ahead: how many.
 */
void
es_make_upto(int64 position, int ahead)
{
	MakeOrder order;
	int64 every;

	es_make_lock();
	every = es_make_every();
	while (make_order(&order, position, ahead, every))
	{
		CHECK_FOR_INTERRUPTS();
		make_range(&order);
	}
}

/*
 * Whether this transaction has a lock that who makes ranges would wait for.  It
 * cannot make one itself: PostgreSQL attaches none to a table that a session is using.
 */
bool
es_make_is_barred(Relation events)
{
	LOCKTAG tag = es_userlock_tag(ES_USERLOCK_RANGES, 0);

	return CheckRelationLockedByMe(events, ShareUpdateExclusiveLock, true) ||
		es_compat_lock_held_by_me(&tag, ExclusiveLock);
}
