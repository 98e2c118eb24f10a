/*-------------------------------------------------------------------------
 *
 * names.c
 *		Names that callers give: streams, categories, event types, tags.
 *
 * Each check raises 22023 for an empty name, 54000 for one over its limit;
 * limits count bytes of the server encoding.  All names compare byte by byte.
 *
 * Memory: results in the current context.  Locks: none.  Calls: nothing of
 * ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/names.h"

/* what: how messages call the name, as in "stream name". */
static void
names_check_length(const text *name, Size limit, const char *what)
{
	Size length = VARSIZE_ANY_EXHDR(name);

	if (length == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be empty", what)));
	if (length > limit)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("%s is too long", what),
				 errdetail("It has %zu bytes; the limit is %zu.", length, limit)));
}

/* Raise unless stream is a stream's name: 1 to ES_MAX_STREAM_BYTES bytes. */
void
es_names_check_stream(const text *stream)
{
	names_check_length(stream, ES_MAX_STREAM_BYTES, "stream name");
}

/* Raise unless type is an event type: 1 to ES_MAX_TYPE_BYTES bytes. */
void
es_names_check_type(const text *type)
{
	names_check_length(type, ES_MAX_TYPE_BYTES, "event type");
}

/* Raise unless it may be a category: at most ES_MAX_STREAM_BYTES bytes, or none. */
void
es_names_check_category(const text *category)
{
	if (VARSIZE_ANY_EXHDR(category) > 0)
		names_check_length(category, ES_MAX_STREAM_BYTES, "category");
}

/* Raise unless a stream may have it as its tenant: 1 to ES_MAX_STREAM_BYTES bytes, none of them '}'. */
void
es_names_check_tenant(const text *tenant)
{
	names_check_length(tenant, ES_MAX_STREAM_BYTES, "tenant");
	if (memchr(VARDATA_ANY(tenant), '}', VARSIZE_ANY_EXHDR(tenant)) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no stream has this tenant"),
				 errhint("The tenant of a stream is what stands in the first {...} of its name.")));
}

/* Raise unless it is a subscription's name: 1 to ES_MAX_STREAM_BYTES bytes. */
void
es_names_check_subscription(const text *subscription)
{
	names_check_length(subscription, ES_MAX_STREAM_BYTES, "subscription name");
}

/* Raise unless it is a consumer's name: 1 to ES_MAX_STREAM_BYTES bytes. */
void
es_names_check_consumer(const text *consumer)
{
	names_check_length(consumer, ES_MAX_STREAM_BYTES, "consumer name");
}

/* Raise unless it is a subject: 1 to ES_MAX_SUBJECT_BYTES bytes. */
void
es_names_check_subject(const text *subject)
{
	names_check_length(subject, ES_MAX_SUBJECT_BYTES, "subject");
}

/* Raise unless it is a tag: 1 to ES_MAX_TAG_BYTES bytes. */
void
es_names_check_tag(const text *tag)
{
	names_check_length(tag, ES_MAX_TAG_BYTES, "tag");
}

/*
 * Raise unless tags is a plain list of tags: at most one dimension, no
 * nulls, each tag 1 to ES_MAX_TAG_BYTES bytes.
 */
void
es_names_check_tags(ArrayType *tags)
{
	ArrayIterator iterator;
	Datum tag;
	bool is_null;

	if (ARR_NDIM(tags) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("tags must be a one-dimensional array")));

	iterator = array_create_iterator(tags, 0, NULL);
	while (array_iterate(iterator, &tag, &is_null))
	{
		if (is_null)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("tag must not be null")));
		es_names_check_tag((text *) DatumGetPointer(tag));
	}
	array_free_iterator(iterator);
}

/* Whether two names are the same, byte by byte. */
bool
es_names_equal(const text *a, const text *b)
{
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

/*
 * The category of a stream: what stands before its first '-', or the whole
 * name where there is none.  Every server encoding keeps '-' a single byte
 * that is no part of another character.
 *
 * Returns a new text, or stream itself.
 */
text *
es_names_category(const text *stream)
{
	const char *name = VARDATA_ANY(stream);
	const char *dash = memchr(name, '-', VARSIZE_ANY_EXHDR(stream));
	text *category;
	Size length;

	if (dash == NULL)
		return (text *) stream;

	length = dash - name;
	category = (text *) palloc(VARHDRSZ + length);
	SET_VARSIZE(category, VARHDRSZ + length);
	memcpy(VARDATA(category), name, length);
	return category;
}

/* Whether a category is that of a stream. */
bool
es_names_is_category(const text *stream, const text *category)
{
	const char *name = VARDATA_ANY(stream);
	Size length = VARSIZE_ANY_EXHDR(stream);
	const char *dash = memchr(name, '-', length);

	if (dash != NULL)
		length = dash - name;
	return VARSIZE_ANY_EXHDR(category) == length &&
		memcmp(VARDATA_ANY(category), name, length) == 0;
}

/*
 * Where the tenant stands in a stream's name: what is in its first {...}.  Every
 * server encoding keeps '{' and '}' single bytes that are no part of another
 * character, too.
 *
 * size: receives its bytes.  Returns NULL if there is none.
 */
const char *
es_names_find_tenant(const text *stream, Size *size)
{
	const char *name = VARDATA_ANY(stream);
	const char *end = name + VARSIZE_ANY_EXHDR(stream);
	const char *open = memchr(name, '{', end - name);
	const char *close;

	if (open == NULL)
		return NULL;
	close = memchr(open, '}', end - open);
	if (close == NULL || close == open + 1)
		return NULL;
	*size = close - open - 1;
	return open + 1;
}
