/*-------------------------------------------------------------------------
 *
 * eventstore.c
 *		The library's entry point.  src/eventstore.h is the map of the rest.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "append/plain.h"
#include "base/catalog.h"
#include "base/hint.h"
#include "base/ranges.h"
#include "base/settings.h"
#include "eventstore.h"
#include "keeping/drop.h"
#include "order/last.h"
#include "order/transaction.h"
#include "projection/replay/cordon.h"
#include "projection/roster.h"
#include "rights/rights.h"
#include "server/launcher.h"
#include "signal/counters.h"
#include "signal/shared.h"

PG_MODULE_MAGIC;

/*
 * Called once a process: by the first call of one of our functions, or, with
 * shared_preload_libraries, by the postmaster.
 */
void
_PG_init(void)
{
	bool is_preloaded = process_shared_preload_libraries_in_progress;

	es_settings_define();
	es_catalog_init();
	es_ranges_init();
	es_plain_init();
	es_rights_init();
	es_transaction_init();
	es_last_init();
	es_roster_init();
	es_cordon_init();
	es_drop_init();
	if (is_preloaded)
	{
		es_hint_request();
		es_shared_request();
		es_counters_request();
		es_launcher_register();
	}
}
