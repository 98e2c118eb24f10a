/*-------------------------------------------------------------------------
 *
 * limits.c
 *		The settings eventstore.health_*: from when on something is wrong.
 *
 * Two settings for each thing that eventstore.health measures, of one unit: from
 * which value on it is a warning, and critical.  Any session may have its own,
 * as they change nothing but what is told to it.
 *
 * Memory: static variables.  Locks: none.  Calls: nothing of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "utils/guc.h"

#include "base/limits.h"

/* What both settings of one limit have in common. */
typedef struct LimitsKind
{
	const char *warning_name;
	const char *critical_name;
	const char *warning_text;
	const char *critical_text;
	int unit; /* GUC_UNIT_...; 0: none */
} LimitsKind;

/* The value is the default. */
static EsLimit limits[] = {
	{"head_lag", 10, 60},          {"projection_lag", 60, 600},
	{"subscription_lag", 60, 600}, {"parked", 1, 100},
	{"replication_lag", 30, 300},  {"slot_wal", 1024, 10240},
	{"notify_queue", 50, 90},      {"retention_overdue", 3600, 86400},
	{"seal_overdue", 3600, 86400}, {"size", -1, -1},
	{"dead_rows", 40, 70},         {"freeze_age", 500000000, 1200000000},
};

#define LIMITS_KIND(name, what, unit) \
	{ \
		"eventstore.health_" name "_warning", "eventstore.health_" name "_critical", \
			"Warns in eventstore.health from here on: " what ".", \
			"Critical in eventstore.health from here on: " what ".", unit \
	}

/* In the same order. */
static const LimitsKind limits_kinds[] = {
	LIMITS_KIND("head_lag", "for how long an open append holds the head back", GUC_UNIT_S),
	LIMITS_KIND("projection_lag", "age of the first event that a projection was not applied to",
				GUC_UNIT_S),
	LIMITS_KIND("subscription_lag", "age of the first event that a subscription has not done",
				GUC_UNIT_S),
	LIMITS_KIND("parked", "how many events subscriptions have parked", 0),
	LIMITS_KIND("replication_lag", "how far a standby or a mirror is behind", GUC_UNIT_S),
	LIMITS_KIND("slot_wal", "WAL that a replication slot keeps", GUC_UNIT_MB),
	LIMITS_KIND("notify_queue", "how full the server's NOTIFY queue is, in percent", 0),
	LIMITS_KIND("retention_overdue", "for how long events are kept beyond their retention",
				GUC_UNIT_S),
	LIMITS_KIND("seal_overdue",
				"for how long history was not sealed beyond eventstore.seal_interval", GUC_UNIT_S),
	LIMITS_KIND("size", "size of the store's tables with their indexes", GUC_UNIT_MB),
	LIMITS_KIND("dead_rows", "share of dead rows in a table of the store, in percent", 0),
	LIMITS_KIND("freeze_age", "age of the oldest transaction in a table of the store", 0),
};

StaticAssertDecl(lengthof(limits) == lengthof(limits_kinds), "each limit has its settings");

/* The limit of this name; NULL: there is none. */
const EsLimit *
es_limits_find(const char *name)
{
	int i;

	for (i = 0; i < lengthof(limits); i++)
		if (strcmp(limits[i].name, name) == 0)
			return &limits[i];
	return NULL;
}

/* Called once, by es_settings_define. */
void
es_limits_define(void)
{
	int i;

	for (i = 0; i < lengthof(limits); i++)
	{
		const LimitsKind *kind = &limits_kinds[i];
		EsLimit *limit = &limits[i];

		DefineCustomIntVariable(kind->warning_name, kind->warning_text, "-1: never.",
								&limit->warning, limit->warning, -1, INT_MAX, PGC_USERSET,
								kind->unit, NULL, NULL, NULL);
		DefineCustomIntVariable(kind->critical_name, kind->critical_text, "-1: never.",
								&limit->critical, limit->critical, -1, INT_MAX, PGC_USERSET,
								kind->unit, NULL, NULL, NULL);
	}
}
