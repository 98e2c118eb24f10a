/*-------------------------------------------------------------------------
 *
 * key.c
 *		Subjects' keys: made, found, destroyed.
 *
 * Nothing of them is kept in the session: fence and key are looked for each
 * time, by their indexes and as of the moment, at every isolation level.  So an
 * erasure holds for all sessions from its commit on, with nothing to invalidate.
 *
 * A subject has one key, usually.  Where it was lost, as in a restore of a dump
 * without keys, the next protected value makes another one; the ids keep them
 * apart, so that the lost ones can be brought back beside it.
 *
 * Who makes a key and who erases its subject exclude each other by a lock to the
 * end of the transaction.  Who finds a key takes none: that what he protects
 * may not open any more is what erasing means.
 *
 * Keys are read and written without a right on their table, which nobody but its
 * owner has: who may call es_protect or es_reveal may use them, not see them.
 *
 * Memory: the current context.  Locks: userlock "subject"; AccessShare on
 * eventstore.subject_keys, RowExclusive to make or destroy one.  Calls: catalog,
 * cipher, fence, provider, rights, scan, sql.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/scan.h"
#include "base/sql.h"
#include "base/userlock.h"
#include "erasure/fence.h"
#include "erasure/key.h"
#include "erasure/provider.h"
#include "rights/rights.h"

/* ----------------------------------------------------------------------
 * Keys in the table
 * ----------------------------------------------------------------------
 */

static Datum
key_column(const EsScan *scan, AttrNumber column)
{
	bool is_null;

	return slot_getattr(scan->slot, column, &is_null);
}

/* The row that the scan stands at; its values are too short to be out of line. */
static void
key_read_row(const EsScan *scan, EsKey *key)
{
	bytea *id = DatumGetByteaPP(key_column(scan, Anum_subject_keys_id));
	bytea *bytes = DatumGetByteaPP(key_column(scan, Anum_subject_keys_key));

	if (VARSIZE_ANY_EXHDR(id) != ES_CIPHER_ID_BYTES ||
		VARSIZE_ANY_EXHDR(bytes) != ES_CIPHER_KEY_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("a key in eventstore.subject_keys has not the length of a key")));
	memcpy(key->id, VARDATA_ANY(id), ES_CIPHER_ID_BYTES);
	memcpy(key->bytes, VARDATA_ANY(bytes), ES_CIPHER_KEY_BYTES);
}

/*
 * Look for the key of this id, or, if that is NULL, for the newest.
 */
static bool
key_look(const text *subject, const uint8 *id, EsKey *key)
{
	Relation rel = es_catalog_open(ES_SUBJECT_KEYS, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	TimestampTz newest = DT_NOBEGIN;
	bool is_found = false;
	EsScan scan;

	es_scan_open(&scan, rel, ES_SUBJECT_KEYS_PKEY);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(subject));
	if (id != NULL)
		es_scan_add_key(&scan, 2, BTEqualStrategyNumber, F_BYTEAEQ,
						PointerGetDatum(
							cstring_to_text_with_len((const char *) id, ES_CIPHER_ID_BYTES)));
	es_scan_begin(&scan, snapshot);
	while (es_scan_next(&scan, ForwardScanDirection))
	{
		TimestampTz created_at = DatumGetTimestampTz(
			key_column(&scan, Anum_subject_keys_created_at));

		if (is_found && created_at <= newest)
			continue;
		key_read_row(&scan, key);
		newest = created_at;
		is_found = true;
	}
	es_scan_close(&scan);
	UnregisterSnapshot(snapshot);
	relation_close(rel, NoLock);
	return is_found;
}

/* Make one.  Seen at once, by the same statement, too. */
static void
key_make(text *subject, EsKey *key)
{
	Relation rel = es_catalog_open(ES_SUBJECT_KEYS, RowExclusiveLock);
	bool nulls[Natts_subject_keys] = {false};
	Datum values[Natts_subject_keys];
	HeapTuple row;

	if (!pg_strong_random(key->bytes, ES_CIPHER_KEY_BYTES))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate a random key")));
	es_cipher_identify(key->bytes, key->id);
	values[Anum_subject_keys_subject - 1] = PointerGetDatum(subject);
	values[Anum_subject_keys_id - 1] = PointerGetDatum(
		cstring_to_text_with_len((const char *) key->id, ES_CIPHER_ID_BYTES));
	values[Anum_subject_keys_key - 1] = PointerGetDatum(
		cstring_to_text_with_len((const char *) key->bytes, ES_CIPHER_KEY_BYTES));
	values[Anum_subject_keys_created_at - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
	row = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleInsert(rel, row);
	heap_freetuple(row);
	relation_close(rel, NoLock);
	CommandCounterIncrement();
}

/* ----------------------------------------------------------------------
 * Keys, wherever they are
 * ----------------------------------------------------------------------
 */

/* To the end of the transaction. */
static void
key_lock(const text *subject)
{
	uint64 object = hash_bytes_extended((const unsigned char *) VARDATA_ANY(subject),
										(int) VARSIZE_ANY_EXHDR(subject), 0);
	LOCKTAG tag = es_userlock_tag(ES_USERLOCK_SUBJECT, object);

	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

static void
key_check_fence(const text *subject)
{
	TimestampTz erased_at;

	if (!es_fence_stands(subject, &erased_at))
		return;
	/* The fence holds for everybody; when it was set is for whose subject it is. */
	es_fence_refuse(subject,
					es_rights_has(&es_rights_of(GetUserId())->appends, subject)
						? psprintf("It was erased at %s.", timestamptz_to_str(erased_at))
						: "It was erased.");
}

static void
key_obtain_provided(const text *subject, EsKey *key)
{
	if (!es_provider_ask(subject, true, key->bytes))
		es_fence_refuse(subject, "The key provider says so, and does not say since when.");
	es_cipher_identify(key->bytes, key->id);
}

/*
 * The key to protect a subject's values with; made at first use.
 *
 * Raises SE010 if the subject is erased, 25006 where one would have to be made
 * and nothing can be written.
 */
void
es_key_obtain(text *subject, EsKey *key)
{
	key_check_fence(subject);
	if (es_provider_is_set())
	{
		key_obtain_provided(subject, key);
		return;
	}
	if (key_look(subject, NULL, key))
		return;

	PreventCommandIfReadOnly("es_protect()");
	PreventCommandDuringRecovery("es_protect()");
	key_lock(subject);
	key_check_fence(subject);
	if (!key_look(subject, NULL, key))
		key_make(subject, key);
}

/*
 * The key of this id, to open an envelope with.
 */
EsKeyState
es_key_find(const text *subject, const uint8 *id, EsKey *key)
{
	TimestampTz erased_at;

	if (es_fence_stands(subject, &erased_at))
		return ES_KEY_ERASED;
	es_cipher_require();
	if (!es_provider_is_set())
		return key_look(subject, id, key) ? ES_KEY_FOUND : ES_KEY_LOST;
	if (!es_provider_ask(subject, false, key->bytes))
		return ES_KEY_ERASED;
	es_cipher_identify(key->bytes, key->id);
	return memcmp(key->id, id, ES_CIPHER_ID_BYTES) == 0 ? ES_KEY_FOUND : ES_KEY_LOST;
}

/*
 * Erase a subject, as the store's owner: fence it, and delete its keys.  Those
 * that a provider has are the provider's to delete.
 */
void
es_key_destroy(text *subject, text *reason)
{
	static EsSql statement = ES_SQL("DELETE FROM eventstore.subject_keys WHERE subject = $1",
									TEXTOID);
	Datum values[] = {PointerGetDatum(subject)};

	key_lock(subject);
	es_fence_set(subject, reason);
	(void) es_sql_run(&statement, values, NULL);
}
