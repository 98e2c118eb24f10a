/*-------------------------------------------------------------------------
 *
 * states.c
 *		Folding events into the states of their streams.
 *
 * What a state projection does with its events.  Those of a batch are folded
 * stream by stream in memory: what is stored of a stream (statetable.c) is read
 * once and written once; in between there is no SQL but the reducer's own.  If
 * the states take more than work_mem, some are written before the rest of the
 * batch is folded.
 *
 * The reducer is looked up by name for each batch, so that one that is replaced
 * counts from the next batch on.  It runs as the current user, who is the
 * projection's owner; that is the caller's to see to.
 *
 * Memory: a context below the current one, for a batch.  Locks: statetable.c's,
 * and what the reducer takes.  Calls: catalog, names, projection, reducer,
 * statetable.  User code runs here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/names.h"
#include "projection/states.h"

/* A batch that is being folded. */
typedef struct StateBatch
{
	EsStates *states;
	EsReducer reducer;
	EsStateReader reader;
	MemoryContext context; /* of the rows */
	HTAB *rows;            /* of EsStateRow; NULL: there are none */
	Size held;             /* bytes of them */
} StateBatch;

/* A state projection, to be applied to its own table. */
EsStates *
es_states_make(const EsProjection *projection)
{
	EsStates *states = palloc0(sizeof(EsStates));

	states->projection = projection;
	states->reducer = es_compat_name_list(projection->reducer);
	states->is_initial_null = projection->initial == NULL;
	if (!states->is_initial_null)
		states->initial = DirectFunctionCall1(jsonb_in, CStringGetDatum(projection->initial));
	states->table = es_statetable_make();
	if (projection->tables != NIL)
		es_statetable_use(states->table, linitial(projection->tables), InvalidOid);
	return states;
}

/* Not as a name in SQL: the owner may have no right on the schema. */
static Oid
states_find_reducer(const EsStates *states)
{
	Oid types[] = {JSONBOID, es_catalog_event_type()};
	Oid schema = get_namespace_oid(strVal(linitial(states->reducer)), true);
	Oid function = InvalidOid;

	if (OidIsValid(schema))
		function = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
								   CStringGetDatum(strVal(lsecond(states->reducer))),
								   PointerGetDatum(buildoidvector(types, lengthof(types))),
								   ObjectIdGetDatum(schema));
	if (!OidIsValid(function))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("reducer %s(jsonb, eventstore.event) does not exist",
						states->projection->reducer),
				 errhint("Make it again under this name, or drop the projection and make it anew with another reducer.")));
	return function;
}

/* ----------------------------------------------------------------------
 * Reading and writing
 * ----------------------------------------------------------------------
 */

/* The state that is stored of a stream, or the one that it begins with. */
static void
states_read(StateBatch *batch, EsStateRow *row)
{
	const EsStates *states = batch->states;
	Datum state;
	bool is_null;

	if (!es_statetable_read(states->table, &batch->reader, row, &state, &is_null))
	{
		state = states->initial;
		is_null = states->is_initial_null;
	}
	es_reducer_start(&batch->reducer, &row->folded, state, is_null);
}

/* Byte by byte, as the key is ordered. */
static int
states_compare(const void *a, const void *b)
{
	const text *first = (*(EsStateRow *const *) a)->stream;
	const text *second = (*(EsStateRow *const *) b)->stream;
	int lengths[] = {VARSIZE_ANY_EXHDR(first), VARSIZE_ANY_EXHDR(second)};
	int result = memcmp(VARDATA_ANY(first), VARDATA_ANY(second), Min(lengths[0], lengths[1]));

	return result != 0 ? result : lengths[0] - lengths[1];
}

/* The rows of a batch, in the order of their keys. */
static EsStateRow **
states_sort(HTAB *rows, int *count)
{
	EsStateRow **sorted = palloc(sizeof(EsStateRow *) * hash_get_num_entries(rows));
	HASH_SEQ_STATUS status;
	EsStateRow *row;

	*count = 0;
	hash_seq_init(&status, rows);
	while ((row = hash_seq_search(&status)) != NULL)
		sorted[(*count)++] = row;
	qsort(sorted, *count, sizeof(EsStateRow *), states_compare);
	return sorted;
}

/* Write what was folded, and be ready for more. */
static void
states_write(StateBatch *batch)
{
	EsStateRow **rows;
	int count;

	es_statetable_end_reading(&batch->reader);
	if (batch->rows == NULL)
		return;
	batch->states->is_folding = false;
	rows = states_sort(batch->rows, &count);
	es_statetable_write(batch->states->table, rows, count);
	pfree(rows);
	batch->rows = NULL;
	batch->held = 0;
	MemoryContextReset(batch->context);
}

/* ----------------------------------------------------------------------
 * Folding
 * ----------------------------------------------------------------------
 */

static uint32
states_hash(const void *key, Size size)
{
	const text *stream = *(const text *const *) key;

	return hash_bytes((const unsigned char *) VARDATA_ANY(stream), VARSIZE_ANY_EXHDR(stream));
}

static int
states_match(const void *a, const void *b, Size size)
{
	return es_names_equal(*(const text *const *) a, *(const text *const *) b) ? 0 : 1;
}

static HTAB *
states_make_rows(MemoryContext context)
{
	HASHCTL control = {.keysize = sizeof(text *),
					   .entrysize = sizeof(EsStateRow),
					   .hash = states_hash,
					   .match = states_match,
					   .hcxt = context};

	return hash_create("states", 256, &control,
					   HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
}

static Size
states_size(const EsFolded *folded)
{
	return folded->is_null ? 0 : VARSIZE_ANY(DatumGetPointer(folded->state));
}

/* The row of a stream in a batch; read, if it is the first time. */
static EsStateRow *
states_find_row(StateBatch *batch, text *stream)
{
	EsStateRow *row;
	bool is_found;

	if (batch->rows == NULL)
		batch->rows = states_make_rows(batch->context);
	row = hash_search(batch->rows, &stream, HASH_ENTER, &is_found);
	if (is_found)
		return row;
	row->stream = (text *) MemoryContextAlloc(batch->context, VARSIZE_ANY(stream));
	memcpy(row->stream, stream, VARSIZE_ANY(stream));
	states_read(batch, row);
	batch->held += sizeof(EsStateRow) + VARSIZE_ANY(stream) + states_size(&row->folded);
	return row;
}

static void
states_fold(StateBatch *batch, EsStateRow *row, Datum *values, bool *nulls)
{
	es_reducer_fold(&batch->reducer, &row->folded, values, nulls);
	row->version = DatumGetInt64(values[Anum_events_version - 1]);
	row->recorded_at = DatumGetTimestampTz(values[Anum_events_recorded_at - 1]);
}

static void
states_begin(StateBatch *batch, EsStates *states)
{
	memset(batch, 0, sizeof(StateBatch));
	batch->states = states;
	batch->context = AllocSetContextCreate(CurrentMemoryContext, "eventstore states",
										   ALLOCSET_DEFAULT_SIZES);
	es_reducer_begin(&batch->reducer, states_find_reducer(states));
	batch->reducer.context = batch->context;
}

static void
states_end(StateBatch *batch)
{
	es_reducer_end(&batch->reducer);
	MemoryContextDelete(batch->context);
}

/*
 * Nothing is applied yet of what is to come.
 *
 * until: apply no other event after; 0: all.
 */
void
es_states_reset(EsStates *states, TimestampTz until)
{
	states->until = until;
	states->applied = 0;
	states->last = 0;
	states->is_folding = true;
}

/*
 * Fold an event into the state of its stream.  SPI is connected, and the
 * projection's owner is the current user.
 */
void
es_states_apply_one(EsStates *states, Datum *values, bool *nulls)
{
	StateBatch batch;
	EsStateRow row = {.stream = DatumGetTextPP(values[Anum_events_stream - 1])};
	EsStateRow *written = &row;

	states_begin(&batch, states);
	states_read(&batch, &row);
	es_statetable_end_reading(&batch.reader);
	states_fold(&batch, &row, values, nulls);
	states->applied = 1;
	states->is_folding = false;
	es_statetable_write(states->table, &written, 1);
	states_end(&batch);
}

/*
 * The same of the events of a tuplestore, in the order of their positions; of
 * some of them only, where states->until says so.
 */
void
es_states_apply(EsStates *states, Tuplestorestate *events)
{
	StateBatch batch;
	TupleTableSlot *slot;

	states_begin(&batch, states);
	slot = MakeSingleTupleTableSlot(batch.reducer.desc, &TTSOpsMinimalTuple);
	while (tuplestore_gettupleslot(events, true, false, slot))
	{
		EsStateRow *row;
		Size before;

		CHECK_FOR_INTERRUPTS();
		states->is_folding = true;
		slot_getallattrs(slot);
		row = states_find_row(&batch, DatumGetTextPP(slot->tts_values[Anum_events_stream - 1]));
		before = states_size(&row->folded);
		states_fold(&batch, row, slot->tts_values, slot->tts_isnull);
		batch.held = batch.held + states_size(&row->folded) - before;
		states->applied++;
		states->last = DatumGetInt64(slot->tts_values[Anum_events_position - 1]);
		if (states->until != 0 && GetCurrentTimestamp() >= states->until)
			break;
		if (batch.held > work_mem * (Size) 1024)
			states_write(&batch);
	}
	ExecDropSingleTupleTableSlot(slot);
	states_write(&batch);
	states_end(&batch);
}
