/*-------------------------------------------------------------------------
 *
 * expected.c
 *		The expected version of an append: whether a stream is there.
 *
 * Memory: none.  Locks: none.  Calls: nothing of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "append/expected.h"
#include "base/errors.h"
#include "base/event.h"

/*
 * Whether a stream at a version is where the caller of an append expects it.
 *
 * version: the stream's, moved on by earlier entries of the same call.
 */
bool
es_expected_fits(const EsStream *stream, int64 expected_version, int64 version)
{
	if (stream->is_tombstoned)
		return false;
	switch (expected_version)
	{
		case ES_EXPECT_ANY:
			return true;
		case ES_EXPECT_EXISTS:
			return version > 0;
		default:
			return version == expected_version;
	}
}

/*
 * Raise SE003 or SE001 unless es_expected_fits.
 */
void
es_expected_check(const EsStream *stream, int64 expected_version, int64 version)
{
	char *name;

	if (es_expected_fits(stream, expected_version, version))
		return;

	name = text_to_cstring(stream->name);
	if (stream->is_tombstoned)
		ereport(ERROR,
				(errcode(ES_ERRCODE_STREAM_DELETED),
				 errmsg("stream \"%s\" is deleted", name),
				 errhint("A tombstoned stream takes no event any more; use another name.")));
	ereport(ERROR,
			(errcode(ES_ERRCODE_WRONG_EXPECTED_VERSION),
			 errmsg("wrong expected version for stream \"%s\"", name),
			 errdetail("Stream \"%s\" is at version %lld, expected %lld.",
					   name, (long long) version, (long long) expected_version),
			 expected_version == ES_EXPECT_EXISTS ?
			 errhint("-2 expects at least one event.") :
			 errhint("Read the stream again, decide anew, and append with its version.")));
}
