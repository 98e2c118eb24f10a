/*-------------------------------------------------------------------------
 *
 * eventstore.c
 *		The library's entry point.  src/eventstore.h is the map of the rest.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"

#include "catalog.h"
#include "eventstore.h"

PG_MODULE_MAGIC;

/* Loaded by the first call of one of our functions, once a backend. */
void
_PG_init(void)
{
	es_catalog_init();
}
