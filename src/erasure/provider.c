/*-------------------------------------------------------------------------
 *
 * provider.c
 *		Keys that a function of the user's has: eventstore.key_provider.
 *
 * Only who may set the setting chooses the function, and its name says its
 * schema, so no search_path leads to another one.  It runs with the rights of
 * its own owner, like a SECURITY DEFINER function, and with a search_path that
 * leads nowhere: then nobody else needs a right to call it, which would be the
 * right to read keys, and whoever calls us lends it none.
 *
 * Memory: the current context.  Locks: what the function takes.  Calls: cipher,
 * settings.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "base/compat.h"
#include "base/settings.h"
#include "erasure/cipher.h"
#include "erasure/provider.h"

#define PROVIDER_SIGNATURE "(subject text, is_new boolean)"

/* Whether keys come from a function. */
bool
es_provider_is_set(void)
{
	return es_guc_key_provider != NULL && es_guc_key_provider[0] != '\0';
}

/* The function; *owner receives whose it is. */
static Oid
provider_find(Oid *owner)
{
	Oid types[] = {TEXTOID, BOOLOID};
	Form_pg_proc form;
	bool fits = false;
	HeapTuple tuple;
	List *names;
	Oid found;

	/* Two names: settings.c has seen to that. */
	if (!SplitIdentifierString(pstrdup(es_guc_key_provider), '.', &names) || list_length(names) != 2)
		elog(ERROR, "unexpected name of a key provider: %s", es_guc_key_provider);
	tuple = SearchSysCache3(PROCNAMEARGSNSP, CStringGetDatum(lsecond(names)),
							PointerGetDatum(buildoidvector(types, lengthof(types))),
							ObjectIdGetDatum(get_namespace_oid(linitial(names), true)));
	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("key provider \"%s\" does not exist", es_guc_key_provider),
				 errdetail("eventstore.key_provider has to name a function %s.", PROVIDER_SIGNATURE)));
	form = (Form_pg_proc) GETSTRUCT(tuple);
	found = form->oid;
	*owner = form->proowner;
	fits = form->prokind == PROKIND_FUNCTION && form->prorettype == BYTEAOID && !form->proretset;
	ReleaseSysCache(tuple);
	if (!fits)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
				 errmsg("key provider \"%s\" must be a function that returns bytea",
						es_guc_key_provider)));
	return found;
}

/* Returns false if it is null. */
static bool
provider_call(Oid function, Oid owner, const text *subject, bool is_new, bytea **key)
{
	LOCAL_FCINFO(fcinfo, 2);
	FmgrInfo info;
	Datum result;
	int security;
	int nest;
	Oid user;

	fmgr_info(function, &info);
	InitFunctionCallInfoData(*fcinfo, &info, 2, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = PointerGetDatum(subject);
	fcinfo->args[0].isnull = false;
	fcinfo->args[1].value = BoolGetDatum(is_new);
	fcinfo->args[1].isnull = false;

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(owner, security | SECURITY_LOCAL_USERID_CHANGE);
	nest = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	result = FunctionCallInvoke(fcinfo);
	AtEOXact_GUC(true, nest);
	SetUserIdAndSecContext(user, security);
	if (fcinfo->isnull)
		return false;
	*key = DatumGetByteaPP(result);
	return true;
}

/*
 * Ask the function for a subject's key.
 *
 * is_new: whether it shall make one if there is none.
 * key: receives ES_CIPHER_KEY_BYTES.
 *
 * Returns false if the function says that the subject is erased.
 */
bool
es_provider_ask(const text *subject, bool is_new, uint8 *key)
{
	Oid owner;
	Oid function = provider_find(&owner);
	bytea *given;

	if (!provider_call(function, owner, subject, is_new, &given))
		return false;
	if (VARSIZE_ANY_EXHDR(given) != ES_CIPHER_KEY_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("key provider \"%s\" returned no key", es_guc_key_provider),
				 errdetail("It returned %zu bytes for subject \"%s\"; a key has %d.",
						   VARSIZE_ANY_EXHDR(given), text_to_cstring(subject),
						   ES_CIPHER_KEY_BYTES),
				 errhint("It has to return null for a subject that is erased, and to raise an error where it has no key.")));
	memcpy(key, VARDATA_ANY(given), ES_CIPHER_KEY_BYTES);
	return true;
}
