/*-------------------------------------------------------------------------
 *
 * version.c
 *		Which version this library is of, and which the extension: what its SQL
 *		made in this database.
 *
 * A package brings a new library at once, ALTER EXTENSION ... UPDATE new tables
 * later, in each database; and a session, or a server that has preloaded the
 * library, keeps the old one after that.  Columns are known by their numbers, so
 * a library must never touch another version's tables.  The one place through
 * which all come to them, catalog.c, asks here first, each time that it looks one
 * up, which it does whenever one of them has changed.
 *
 * Memory: none.  Locks: AccessShare on pg_extension, for a moment.  Calls:
 * nothing of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

#include "base/catalog.h"
#include "base/version.h"

PG_FUNCTION_INFO_V1(es_version);
PG_FUNCTION_INFO_V1(es_update_run);

/* The version of the extension in this database; NULL: it is not installed. */
static char *
version_of_extension(void)
{
	Relation rel = table_open(ExtensionRelationId, AccessShareLock);
	char *version = NULL;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple row;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(ES_SCHEMA));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	row = systable_getnext(scan);
	if (HeapTupleIsValid(row))
	{
		bool is_null;
		Datum value = heap_getattr(row, Anum_pg_extension_extversion, RelationGetDescr(rel),
								   &is_null);

		version = TextDatumGetCString(value);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return version;
}

/*
 * Whether the extension in this database is of the library's version.  Where
 * there is none, nothing contradicts it.
 */
bool
es_version_is_current(void)
{
	char *version = version_of_extension();

	return version == NULL || strcmp(version, ES_VERSION) == 0;
}

/* The number that a version has next, and the dot behind it; 0 where there is none. */
static int
version_next(const char **rest)
{
	char *end;
	int number = (int) strtol(*rest, &end, 10);

	*rest = *end == '.' ? end + 1 : end;
	return number;
}

/* "0.10.0" is after "0.9.0". */
static bool
version_is_before(const char *a, const char *b)
{
	while (*a != '\0' && *b != '\0')
	{
		int left = version_next(&a);
		int right = version_next(&b);

		if (left != right)
			return left < right;
		if (!isdigit((unsigned char) *a) || !isdigit((unsigned char) *b))
			break;
	}
	return false;
}

/*
 * Say that the extension is of another version than the library, if it is.
 */
void
es_version_tell(int level)
{
	char *version = version_of_extension();

	if (version == NULL || strcmp(version, ES_VERSION) == 0)
		return;
	ereport(level,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("extension \"eventstore\" is of version %s in database \"%s\", but its library is of version %s",
					version, get_database_name(MyDatabaseId), ES_VERSION),
			 version_is_before(version, ES_VERSION)
				 ? errhint("ALTER EXTENSION eventstore UPDATE brings the extension to the library's version.")
				 : errhint("This session has loaded the library before the extension was updated, or the server has: begin another session, or restart the server.")));
}

/*
 * Raise 55000 where the extension is of another version than the library.
 */
void
es_version_require(void)
{
	es_version_tell(ERROR);
}

/*
 * es_version() -> text
 */
Datum
es_version(PG_FUNCTION_ARGS)
{
	es_version_tell(WARNING);
	PG_RETURN_TEXT_P(cstring_to_text(ES_VERSION));
}

static void
update_execute(const char *command)
{
	SPI_connect();
	if (SPI_execute(command, false, 0) < 0)
		elog(ERROR, "could not execute \"%s\"", command);
	SPI_finish();
	CommandCounterIncrement();
}

/*
 * Run a command of an update's script as if it were none of it: what it makes
 * does not become part of the extension, and what it grants not of the rights
 * that pg_dump takes for given.
 *
 * es_update_run(command text) -> void
 *
 * Only a script can call it, which makes it and drops it.
 */
Datum
es_update_run(PG_FUNCTION_ARGS)
{
	if (!creating_extension || !superuser())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("es_update_run() is for the update scripts of extension \"eventstore\"")));
	creating_extension = false;
	PG_TRY();
	{
		update_execute(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	}
	PG_FINALLY();
	{
		creating_extension = true;
	}
	PG_END_TRY();
	PG_RETURN_VOID();
}
