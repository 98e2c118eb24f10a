/*-------------------------------------------------------------------------
 *
 * projection.c
 *		Projections: what is known of one, its lock, and its owner.
 *
 * The rows of eventstore.projections, read by a scan (definition.c writes them),
 * and always under a snapshot of the moment: a REPEATABLE READ transaction has
 * to apply a projection that was made after its snapshot, too.
 *
 * Whoever changes a projection or moves its checkpoint holds its lock to the
 * end of the transaction.  Appends that apply an inline one do not take it; for
 * them, see barrier.c.
 *
 * Memory: results in the current context.  Locks: AccessShare or RowExclusive
 * on the relations; the projection's own, a userlock.  Calls: catalog, checkpoint,
 * mark, names, omission, scan, shared, stale, transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/names.h"
#include "base/scan.h"
#include "base/userlock.h"
#include "order/transaction.h"
#include "projection/checkpoint.h"
#include "projection/mark.h"
#include "projection/omission.h"
#include "projection/projection.h"
#include "projection/stale.h"
#include "signal/shared.h"

PG_FUNCTION_INFO_V1(es_forget_projections);

/* Values of the column state, in the order of EsProjectionState, ... */
const char *const es_projection_states[] = {"running", "paused", "failed"};

/* ... and of on_error, in that of EsOnError. */
const char *const es_projection_on_error[] = {"fail", "stop", "skip"};

/* ----------------------------------------------------------------------
 * Reading
 * ----------------------------------------------------------------------
 */

static char *
projection_get_text(TupleTableSlot *slot, AttrNumber column)
{
	bool is_null;
	Datum value = slot_getattr(slot, column, &is_null);

	return TextDatumGetCString(value);
}

static bool
projection_has_text(TupleTableSlot *slot, AttrNumber column, const char *expected)
{
	return strcmp(projection_get_text(slot, column), expected) == 0;
}

static char *
projection_get_text_or_null(TupleTableSlot *slot, AttrNumber column)
{
	bool is_null;

	(void) slot_getattr(slot, column, &is_null);
	return is_null ? NULL : projection_get_text(slot, column);
}

/* A column of type jsonb, as text. */
static char *
projection_get_jsonb(TupleTableSlot *slot, AttrNumber column)
{
	bool is_null;
	Datum value = slot_getattr(slot, column, &is_null);

	return is_null ? NULL : DatumGetCString(DirectFunctionCall1(jsonb_out, value));
}

/* Elements of an array of text; count is 0 for null. */
static Datum *
projection_get_array(TupleTableSlot *slot, AttrNumber column, int *count, bool *is_null)
{
	Datum value = slot_getattr(slot, column, is_null);
	Datum *elements = NULL;
	bool *nulls;

	*count = 0;
	if (!*is_null)
		deconstruct_array(DatumGetArrayTypePCopy(value), TEXTOID, -1, false, TYPALIGN_INT,
						  &elements, &nulls, count);
	return elements;
}

static List *
projection_get_list(TupleTableSlot *slot, AttrNumber column)
{
	List *result = NIL;
	bool is_null;
	int count;
	Datum *elements = projection_get_array(slot, column, &count, &is_null);
	int i;

	for (i = 0; i < count; i++)
		result = lappend(result, TextDatumGetCString(elements[i]));
	return result;
}

static void
projection_get_filter(TupleTableSlot *slot, AttrNumber column, EsFilter *filter)
{
	bool is_null;
	Datum *elements = projection_get_array(slot, column, &filter->count, &is_null);
	int i;

	filter->is_on = !is_null;
	filter->names = palloc(sizeof(text *) * Max(filter->count, 1));
	for (i = 0; i < filter->count; i++)
		filter->names[i] = DatumGetTextPP(elements[i]);
}

/* One that has missed something has failed, whatever else it says. */
static void
projection_read_missed(EsProjection *projection)
{
	if (!projection->is_inline || projection->on_error != ES_ON_ERROR_STOP)
		return;
	projection->first_missed = es_omission_first(ES_OMISSION_MISSED, projection->name);
	if (projection->first_missed == 0 || projection->state != ES_PROJECTION_RUNNING)
		return;
	projection->notes_missed = true;
	projection->state = projection->saved_state = ES_PROJECTION_FAILED;
}

/* Where it has been since it was made. */
static void
projection_read_checkpoint(EsProjection *projection, Snapshot snapshot)
{
	EsCheckpoint checkpoint;

	if (!es_checkpoint_find(projection->name, snapshot, &checkpoint))
		return;
	projection->position = checkpoint.position;
	projection->events_applied = checkpoint.events_applied;
}

static EsProjection *
projection_read(TupleTableSlot *slot, Snapshot snapshot)
{
	EsProjection *projection = palloc0(sizeof(EsProjection));
	bool is_null;

	projection->name = projection_get_text(slot, Anum_projections_name);
	projection->owner = projection_get_text(slot, Anum_projections_owner);
	projection->query = projection_get_text(slot, Anum_projections_query);
	projection->is_inline = projection_has_text(slot, Anum_projections_mode, "inline");
	projection->is_declared = DatumGetBool(
		slot_getattr(slot, Anum_projections_is_declared, &is_null));
	projection->is_by_event = !projection->is_declared &&
		projection_has_text(slot, Anum_projections_granularity, "event");
	while (!projection_has_text(slot, Anum_projections_on_error,
								es_projection_on_error[projection->on_error]))
		projection->on_error++;
	projection->tables = projection_get_list(slot, Anum_projections_tables);
	projection->settings = projection_get_list(slot, Anum_projections_settings);
	projection->lookups = projection_get_list(slot, Anum_projections_lookups);
	projection->reducer = projection_get_text_or_null(slot, Anum_projections_reducer);
	projection->initial = projection_get_jsonb(slot, Anum_projections_initial);
	projection_get_filter(slot, Anum_projections_categories, &projection->categories);
	projection_get_filter(slot, Anum_projections_types, &projection->types);
	while (
		!projection_has_text(slot, Anum_projections_state, es_projection_states[projection->state]))
		projection->state++;
	projection->saved_state = projection->state;
	projection->role = es_mark_find(projection->name, projection->owner);
	projection->is_stale = es_stale_find(projection->name, NULL);
	projection->position = DatumGetInt64(slot_getattr(slot, Anum_projections_position, &is_null));
	projection->events_applied = DatumGetInt64(
		slot_getattr(slot, Anum_projections_events_applied, &is_null));
	projection_read_checkpoint(projection, snapshot);
	projection_read_missed(projection);
	return projection;
}

/*
 * All projections in the order of their names; or, if given, that of a name.
 *
 * seen_by: the snapshot to see them by.
 */
static List *
projection_scan(const char *name, Snapshot seen_by)
{
	Relation rel = es_catalog_open(ES_PROJECTIONS, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(seen_by);
	List *result = NIL;
	EsScan scan;

	/* The marks of what is found are looked up in caches. */
	AcceptInvalidationMessages();
	es_scan_open(&scan, rel, ES_PROJECTIONS_PKEY);
	if (name != NULL)
		es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(name));
	es_scan_begin(&scan, snapshot);
	while (es_scan_next(&scan, ForwardScanDirection))
		result = lappend(result, projection_read(scan.slot, snapshot));
	es_scan_close(&scan);
	UnregisterSnapshot(snapshot);
	relation_close(rel, NoLock);
	return result;
}

/* All projections, in the order of their names. */
List *
es_projection_list(void)
{
	return projection_scan(NULL, GetLatestSnapshot());
}

/* NULL: there is none of this name. */
EsProjection *
es_projection_find(const char *name)
{
	List *found = projection_scan(name, GetLatestSnapshot());

	return found == NIL ? NULL : linitial(found);
}

static EsProjection *
projection_require(EsProjection *projection, const char *name)
{
	if (projection == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("projection \"%s\" does not exist", name)));
	return projection;
}

/* Raises 42704 if there is none of this name. */
EsProjection *
es_projection_get(const char *name)
{
	return projection_require(es_projection_find(name), name);
}

/*
 * The same, as the next statement of this transaction will see it: above READ
 * COMMITTED that is not as it is now.
 */
EsProjection *
es_projection_get_visible(const char *name)
{
	Snapshot snapshot = IsolationUsesXactSnapshot() ? GetActiveSnapshot() : GetLatestSnapshot();
	List *found = projection_scan(name, snapshot);

	return projection_require(found == NIL ? NULL : linitial(found), name);
}

/* ----------------------------------------------------------------------
 * Lock and owner
 * ----------------------------------------------------------------------
 */

/* Two names with the same hash only wait for each other. */
static LOCKTAG
projection_tag(const char *name, EsUserlock kind)
{
	return es_userlock_tag(kind,
						   hash_bytes_extended((const unsigned char *) name, (int) strlen(name), 0));
}

/* Have a projection for oneself until the end of the transaction. */
void
es_projection_lock(const char *name)
{
	LOCKTAG tag = projection_tag(name, ES_USERLOCK_PROJECTION);

	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

/*
 * The opposite, where nothing was changed meanwhile.  Who would have applied it,
 * had it not been locked, is told to look again.
 */
void
es_projection_unlock(const char *name)
{
	LOCKTAG tag = projection_tag(name, ES_USERLOCK_PROJECTION);

	(void) LockRelease(&tag, ExclusiveLock, false);
	(void) es_shared_wake_worker();
}

/* Have it if nobody else has; returns whether it is so. */
bool
es_projection_try_lock(const char *name)
{
	LOCKTAG tag = projection_tag(name, ES_USERLOCK_PROJECTION);

	return LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

/*
 * Keep rebuilds of a projection out until the end of the transaction; by a
 * rebuild, and by who drops it.  Before the projection's lock.
 *
 * waits: until the rebuild that is there has ended.  Returns whether it is held.
 */
bool
es_projection_lock_rebuild(const char *name, bool waits)
{
	LOCKTAG tag = projection_tag(name, ES_USERLOCK_REBUILD);

	return LockAcquire(&tag, ExclusiveLock, false, !waits) != LOCKACQUIRE_NOT_AVAIL;
}

/* Whether the current user owns the projection, or the store. */
bool
es_projection_is_own(const EsProjection *projection)
{
	Relation rel = es_catalog_open(ES_PROJECTIONS, AccessShareLock);
	Oid store_owner = rel->rd_rel->relowner;

	relation_close(rel, NoLock);
	return has_privs_of_role(GetUserId(), store_owner) ||
		(OidIsValid(projection->role) && has_privs_of_role(GetUserId(), projection->role));
}

/*
 * Raise 42501 unless the current user owns the projection, or the store.
 */
void
es_projection_check_owner(const EsProjection *projection)
{
	if (!es_projection_is_own(projection))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of projection \"%s\"", projection->name)));
}

/* The owner of a projection.  Raises 42704 if it has none. */
Oid
es_projection_owner(const EsProjection *projection)
{
	if (!OidIsValid(projection->role))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("projection \"%s\" has no owner", projection->name),
				 errdetail(ES_MARK_LOST),
				 errhint("es_reassign_projection gives it one, es_drop_projection drops it.")));
	return projection->role;
}

/* ----------------------------------------------------------------------
 * Telling
 * ----------------------------------------------------------------------
 */

/* Raise SE006 with the error that a projection has met at a stored event. */
void
es_projection_raise(const EsProjection *projection, const EsProjectionError *error)
{
	ereport(ERROR,
			(errcode(ES_ERRCODE_PROJECTION_FAILED),
			 errmsg("projection \"%s\" failed", projection->name),
			 errdetail("Projection \"%s\", position %lld: %s: %s", projection->name,
					   (long long) error->position, unpack_sql_state(error->code), error->message),
			 errhint("Mend the projection's SQL or tables, or leave the event out: es_skip_event(%s, %lld).",
					 quote_literal_cstr(projection->name), (long long) error->position)));
}

/* Tell that a projection has stopped at an event, or gone on without it. */
void
es_projection_warn(const EsProjection *projection, const EsProjectionError *error)
{
	const char *name = quote_literal_cstr(projection->name);

	ereport(WARNING,
			(errmsg("projection \"%s\" failed at position %lld: %s", projection->name,
					(long long) error->position, error->message),
			 projection->state == ES_PROJECTION_FAILED
				 ? errhint("It has stopped. es_resume_projection(%s) tries again, es_skip_event(%s, %lld) leaves the event out.",
						   name, name, (long long) error->position)
				 : errhint("It goes on without this event; see eventstore.skipped_events.")));
}

/*
 * Trigger on eventstore.projections: every session has to read it anew.
 */
Datum
es_forget_projections(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager", "forget_projections")));
	CacheInvalidateRelcache(trigger->tg_relation);
	es_transaction_change_projection();
	return PointerGetDatum(NULL);
}

/* ----------------------------------------------------------------------
 * Filters
 * ----------------------------------------------------------------------
 */

/* Whether a filter lets a name pass. */
bool
es_projection_has_name(const EsFilter *filter, const text *name)
{
	int i;

	if (!filter->is_on)
		return true;
	for (i = 0; i < filter->count; i++)
		if (es_names_equal(filter->names[i], name))
			return true;
	return false;
}
