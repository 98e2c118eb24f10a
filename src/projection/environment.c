/*-------------------------------------------------------------------------
 *
 * environment.c
 *		The settings that a projection's SQL runs with.
 *
 * They decide what SQL text means, and what functions return that count as
 * immutable or depend on nothing but settings: a projection's SQL runs with
 * those of its creation, whoever appends, else the same events would not always
 * come to the same.  They are kept as text, name=value, search_path first.
 *
 * Where a session has them already, nothing has to be set.  Whether it has is
 * told from variables, as looking settings up by name would cost as much as all
 * the rest of a small append.
 *
 * Memory: results in the current context.  Locks: none.  Calls: nothing of
 * ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "miscadmin.h"
#include "parser/parse_expr.h"
#include "parser/parser.h"
#include "pgtime.h"
#include "tsearch/ts_cache.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/bytea.h"
#include "utils/float.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/xml.h"

#include "base/compat.h"
#include "projection/environment.h"

/* All but search_path; environment_read_variables has to know each. */
static const char *const environment_names[] = {"TimeZone",
												"DateStyle",
												"IntervalStyle",
												"extra_float_digits",
												"bytea_output",
												"standard_conforming_strings",
												"backslash_quote",
												"transform_null_equals",
												"array_nulls",
												"quote_all_identifiers",
												"row_security",
												"xmlbinary",
												"xmloption",
												"lc_monetary",
												"lc_numeric",
												"lc_time",
												"default_text_search_config"};

/* The same as variables have them; no padding, so that they compare as bytes. */
typedef struct EnvironmentVariables
{
	const void *timezone;
	int numbers[14]; /* an even count */
	char locales[3][NAMEDATALEN];
	char text_search[2 * NAMEDATALEN + 8]; /* schema and name, quoted */
} EnvironmentVariables;

struct EsEnvironment
{
	EsSearchPath *search_path;
	EnvironmentVariables variables;
};

/* ----------------------------------------------------------------------
 * As text
 * ----------------------------------------------------------------------
 */

/*
 * The schemas of search_path, temporary ones last: what somebody has in a
 * temporary schema must not come before the tables that are meant.
 */
static char *
environment_search_path(void)
{
	List *schemas = fetch_search_path(false);
	StringInfoData path;
	ListCell *cell;

	initStringInfo(&path);
	foreach (cell, schemas)
	{
		char *schema = get_namespace_name(lfirst_oid(cell));

		if (schema != NULL && !isAnyTempNamespace(lfirst_oid(cell)))
			appendStringInfo(&path, "%s, ", quote_identifier(schema));
	}
	appendStringInfoString(&path, "pg_temp");
	return path.data;
}

/* The settings of this moment: a list of "name=value". */
List *
es_environment_describe(void)
{
	List *settings = list_make1(psprintf("search_path=%s", environment_search_path()));
	int i;

	for (i = 0; i < lengthof(environment_names); i++)
		settings = lappend(settings,
						   psprintf("%s=%s", environment_names[i],
									GetConfigOption(environment_names[i], false, false)));
	return settings;
}

static void
environment_set_one(const char *setting)
{
	const char *value = strchr(setting, '=');
	char name[NAMEDATALEN];
	const char *current;

	strlcpy(name, setting, Min(value - setting + 1, NAMEDATALEN));
	value++;
	current = GetConfigOption(name, true, false);
	if (current != NULL && strcmp(current, value) == 0)
		return;
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
							 false);
}

/* Have these settings until the GUC nest level ends. */
void
es_environment_set(const List *settings)
{
	const ListCell *cell;

	foreach (cell, settings)
		environment_set_one(lfirst(cell));
}

/* ----------------------------------------------------------------------
 * As variables
 * ----------------------------------------------------------------------
 */

static void
environment_read_variables(EnvironmentVariables *variables)
{
	memset(variables, 0, sizeof(EnvironmentVariables));
	variables->timezone = session_timezone;
	variables->numbers[0] = DateStyle;
	variables->numbers[1] = DateOrder;
	variables->numbers[2] = IntervalStyle;
	variables->numbers[3] = extra_float_digits;
	variables->numbers[4] = bytea_output;
	variables->numbers[5] = standard_conforming_strings;
	variables->numbers[6] = backslash_quote;
	variables->numbers[7] = Transform_null_equals;
	variables->numbers[8] = Array_nulls;
	variables->numbers[9] = xmlbinary;
	variables->numbers[10] = xmloption;
	variables->numbers[11] = quote_all_identifiers;
	variables->numbers[12] = row_security;
	strlcpy(variables->locales[0], locale_monetary, NAMEDATALEN);
	strlcpy(variables->locales[1], locale_numeric, NAMEDATALEN);
	strlcpy(variables->locales[2], locale_time, NAMEDATALEN);
	strlcpy(variables->text_search, TSCurrentConfig, sizeof(variables->text_search));
}

/* The settings of this moment, to be compared with those of another. */
EsEnvironment *
es_environment_read(void)
{
	EsEnvironment *environment = palloc(sizeof(EsEnvironment));

	environment->search_path = es_compat_search_path();
	environment_read_variables(&environment->variables);
	return environment;
}

/* Whether all settings are as they were then. */
bool
es_environment_is(const EsEnvironment *environment)
{
	EnvironmentVariables variables;

	if (!es_compat_is_search_path(environment->search_path))
		return false;
	environment_read_variables(&variables);
	return memcmp(&variables, &environment->variables, sizeof(variables)) == 0;
}
