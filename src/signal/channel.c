/*-------------------------------------------------------------------------
 *
 * channel.c
 *		Names of LISTEN channels.
 *
 * A name is at most 63 bytes and a plain identifier, which LISTEN takes
 * without quotes:
 *
 *	 eventstore				all events
 *	 eventstore_c_<name>	a category of at most 40 bytes of a-z, 0-9 and _
 *	 eventstore_h_<hash>	any other: the first 128 bits of the SHA-256 of its
 *							bytes, in hexadecimal
 *
 * Memory: results in the current context.  Locks: none.  Calls: nothing of
 * ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "base/compat.h"
#include "signal/channel.h"

#define CHANNEL_ALL        "eventstore"
#define CHANNEL_MAX_PLAIN  40
#define CHANNEL_HASH_BYTES 16

static bool
channel_is_plain(const char *name, int length)
{
	int i;

	if (length == 0 || length > CHANNEL_MAX_PLAIN)
		return false;
	for (i = 0; i < length; i++)
		if (!((name[i] >= 'a' && name[i] <= 'z') || (name[i] >= '0' && name[i] <= '9') ||
			  name[i] == '_'))
			return false;
	return true;
}

/*
 * The channel of a category; of all events where category is NULL.
 */
char *
es_channel_name(const text *category)
{
	const char *name;
	int length;
	StringInfoData channel;
	bytea *hash;
	int i;

	if (category == NULL)
		return pstrdup(CHANNEL_ALL);

	name = VARDATA_ANY(category);
	length = VARSIZE_ANY_EXHDR(category);
	if (channel_is_plain(name, length))
		return psprintf("%s_c_%.*s", CHANNEL_ALL, length, name);

	hash = DatumGetByteaPP(DirectFunctionCall1(sha256_bytea, PointerGetDatum(category)));
	initStringInfo(&channel);
	appendStringInfo(&channel, "%s_h_", CHANNEL_ALL);
	for (i = 0; i < CHANNEL_HASH_BYTES; i++)
		appendStringInfo(&channel, "%02x", (uint8) VARDATA_ANY(hash)[i]);
	return channel.data;
}
