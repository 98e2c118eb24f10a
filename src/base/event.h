/*-------------------------------------------------------------------------
 *
 * event.h
 *		Events that a caller wants appended, checked and ready to store.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_EVENT_H
#define ES_EVENT_H

#include "utils/array.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/* Values of expected_version that are no version. */
#define ES_EXPECT_NO_STREAM INT64CONST(0)
#define ES_EXPECT_ANY       INT64CONST(-1)
#define ES_EXPECT_EXISTS    INT64CONST(-2)

typedef struct EsEvent
{
	/* As given by the caller; NULL where there is none. */
	text *type;
	Jsonb *data;
	Jsonb *metadata;
	ArrayType *tags;
	pg_uuid_t id;
	bool has_given_id; /* else the store makes one */

	/* Assigned by the append. */
	int64 version;
	int64 position;
} EsEvent;

/* The events of one entry of a call: they go to one stream. */
typedef struct EsAppend
{
	text *stream;
	text *category;
	int64 expected_version;
	int event_count; /* > 0 */
	EsEvent *events;
	TimestampTz recorded_at; /* assigned by the append, unless it is imported */

	/*
	 * One event that comes from another store: it keeps its time, and the version
	 * after the expected one.  What is stored already is passed over.
	 */
	bool is_imported;
	bool is_stored; /* result: it was there before */

	/* No event could come in up to this position when ids were looked up; of ranges only. */
	int64 ids_closed_upto;

	/* Result: version and position of the last event. */
	int64 last_version;
	int64 last_position;
} EsAppend;

/* Raise 22023: an argument has not the form that it should have. */
#define es_event_malformed(...) \
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg(__VA_ARGS__)))

extern void es_event_check(EsEvent *event);
extern void es_event_append_init(EsAppend *append, text *stream, int64 expected_version);
extern void es_event_from_arrays(EsAppend *append, ArrayType *types, ArrayType *data,
								 ArrayType *metadata, ArrayType *ids);

#endif /* ES_EVENT_H */
