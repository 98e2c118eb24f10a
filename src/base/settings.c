/*-------------------------------------------------------------------------
 *
 * settings.c
 *		The settings eventstore.*.
 *
 * Memory: static variables.  Locks: none.  Calls: limits.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/varlena.h"

#include "base/limits.h"
#include "base/settings.h"

bool es_guc_notify = true;
double es_guc_notify_queue_limit = 0.9;
char *es_guc_databases = NULL;
int es_guc_projection_workers = 2;
int es_guc_retention_interval = 60;
int es_guc_seal_interval = 0;
char *es_guc_key_provider = NULL;
int es_guc_allow_drop = ES_DROP_WARN;
bool es_guc_restoring = false;

static const struct config_enum_entry settings_drop[] =
	{{"off", ES_DROP_OFF, false}, {"warn", ES_DROP_WARN, false},
	 {"on", ES_DROP_ON, false},   {"false", ES_DROP_OFF, true},
	 {"true", ES_DROP_ON, true},  {"no", ES_DROP_OFF, true},
	 {"yes", ES_DROP_ON, true},   {"0", ES_DROP_OFF, true},
	 {"1", ES_DROP_ON, true},     {NULL, 0, false}};

static bool
settings_check_databases(char **value, void **extra, GucSource source)
{
	char *copy = pstrdup(*value);
	List *names;
	bool is_list = SplitIdentifierString(copy, ',', &names);

	if (!is_list)
		GUC_check_errdetail("List syntax is invalid.");
	list_free(names);
	pfree(copy);
	return is_list;
}

/*
 * Nothing, or a schema and a function: no search_path may lead to another one.
 * Whether it is there is seen when it is called.
 */
static bool
settings_check_key_provider(char **value, void **extra, GucSource source)
{
	char *copy = pstrdup(*value);
	List *names;
	bool is_name = SplitIdentifierString(copy, '.', &names) && list_length(names) == 2;

	if (!is_name && (*value)[0] != '\0')
		GUC_check_errdetail("It has to be the name of a function with that of its schema.");
	list_free(names);
	pfree(copy);
	return is_name || (*value)[0] == '\0';
}

/* Called once, by _PG_init. */
void
es_settings_define(void)
{
	DefineCustomBoolVariable("eventstore.notify", "Sends NOTIFY when events were appended.",
							 "Without the worker, the appending transaction sends it; with the worker, "
							 "the worker does, and follows the server's configuration.",
							 &es_guc_notify, true, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomRealVariable(
		"eventstore.notify_queue_limit",
		"How full the server's NOTIFY queue may be for NOTIFY to be sent, from 0 to 1.",
		"Beyond, appends go on and announce nothing, rather than fail for a queue that is full.",
		&es_guc_notify_queue_limit, 0.9, 0, 0.99, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("eventstore.databases",
							   "Databases that have a worker, separated by commas.",
							   "A database where the extension is not installed has an idle one.",
							   &es_guc_databases, "postgres", PGC_SIGHUP, GUC_LIST_INPUT,
							   settings_check_databases, NULL, NULL);
	DefineCustomIntVariable(
		"eventstore.projection_workers",
		"Processes at the most that apply async projections, in each database that has a worker.",
		"0: none; es_run_projection does the same from any session. They count towards max_worker_processes.",
		&es_guc_projection_workers, 2, 0, 64, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("eventstore.retention_interval",
							"How often the worker applies retention.",
							"0: never; es_apply_retention does the same from any session.",
							&es_guc_retention_interval, 60, 0, 86400, PGC_SIGHUP, GUC_UNIT_S, NULL,
							NULL, NULL);
	DefineCustomIntVariable("eventstore.seal_interval", "How often the worker seals history.",
							"0: never; es_seal does the same from any session.",
							&es_guc_seal_interval, 0, 0, 31536000, PGC_SIGHUP, GUC_UNIT_S, NULL,
							NULL, NULL);
	DefineCustomStringVariable(
		"eventstore.key_provider",
		"Function that has the keys of es_protect, as schema.function; empty: eventstore.subject_keys has.",
		"It takes a subject and whether to make a key if there is none, and returns 32 bytes, or null for "
		"a subject that is erased. It runs with the rights of its owner.",
		&es_guc_key_provider, "", PGC_SUSET, 0, settings_check_key_provider, NULL, NULL);
	DefineCustomEnumVariable(
		"eventstore.allow_drop",
		"Whether DROP EXTENSION, and what else drops it, may delete the events of the store.",
		"off: it is refused while there are events; the default where the library is preloaded. warn: it is told "
		"by a WARNING; the default elsewhere.",
		&es_guc_allow_drop,
		process_shared_preload_libraries_in_progress ? ES_DROP_OFF : ES_DROP_WARN, settings_drop,
		PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("eventstore.restoring",
							 "Lets INSERT into eventstore.events and eventstore.streams through.",
							 "For restores other than by COPY or a script of pg_dump, which need it not. "
							 "What comes without its stream's row, es_repair_streams mends.",
							 &es_guc_restoring, false, PGC_USERSET, 0, NULL, NULL, NULL);
	es_limits_define();
	MarkGUCPrefixReserved("eventstore");
}
