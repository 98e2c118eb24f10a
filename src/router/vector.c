/*-------------------------------------------------------------------------
 *
 * vector.c
 *		A position of each feed, as the router's readers take and return it: a
 *		JSON object such as {"1": 4711, "2": 99}.
 *
 * A reader returns one with each row, of which one position is another one than
 * in that before.  So it is kept as jsonb keeps objects, with the keys in order,
 * and is made into one anew without being sorted.
 *
 * Memory: what is kept, in the context in which it was read; what is returned,
 * in the current one.  Locks: none.  Calls: nothing of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "router/vector.h"

/* A feed's number, as a key. */
typedef struct VectorKey
{
	char string[12];
	int length;
} VectorKey;

static VectorKey
vector_key(int32 feed)
{
	VectorKey key;

	pg_ltoa(feed, key.string);
	key.length = (int) strlen(key.string);
	return key;
}

static int
vector_compare(const JsonbValue *place, const VectorKey *key)
{
	if (place->val.string.len != key->length)
		return place->val.string.len < key->length ? -1 : 1;
	return memcmp(place->val.string.val, key->string, key->length);
}

/* Where a key stands, or would have to; *is_there whether it does. */
static int
vector_locate(const EsVector *vector, const VectorKey *key, bool *is_there)
{
	int order = 1;
	int i;

	for (i = 0; i < vector->count; i++)
		if ((order = vector_compare(&vector->places[i].key, key)) >= 0)
			break;
	*is_there = i < vector->count && order == 0;
	return i;
}

/*
 * Take one apart, which is numbers by feed: eventstore.check_vector has seen that.
 *
 * json: stays where it is.  more: so many other feeds may get a position.
 */
void
es_vector_read(EsVector *vector, Jsonb *json, int more)
{
	int size = (int) JsonContainerSize(&json->root) + more;
	JsonbIterator *iterator = JsonbIteratorInit(&json->root);
	JsonbIteratorToken token;
	JsonbValue value;

	vector->memory = CurrentMemoryContext;
	vector->places = palloc(Max(size, 1) * sizeof(JsonbPair));
	vector->is_own = palloc0(Max(size, 1) * sizeof(bool));
	vector->count = 0;
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			vector->places[vector->count].key = value;
		else if (token == WJB_VALUE)
			vector->places[vector->count++].value = value;
	}
}

/* Whether there is a position of a feed, and which one. */
bool
es_vector_find(const EsVector *vector, int32 feed, int64 *position)
{
	VectorKey key = vector_key(feed);
	bool is_there;
	int place = vector_locate(vector, &key, &is_there);
	Numeric number;

	if (!is_there)
		return false;
	number = vector->places[place].value.val.numeric;
	*position = DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(number)));
	return true;
}

/* Makes place for a feed that has had none. */
static void
vector_insert(EsVector *vector, int place, const VectorKey *key)
{
	JsonbPair *pair = &vector->places[place];

	memmove(pair + 1, pair, (vector->count - place) * sizeof(JsonbPair));
	memmove(vector->is_own + place + 1, vector->is_own + place,
			(vector->count - place) * sizeof(bool));
	vector->count++;
	vector->is_own[place] = false;
	pair->key.type = jbvString;
	pair->key.val.string.val = pnstrdup(key->string, key->length);
	pair->key.val.string.len = key->length;
	pair->value.type = jbvNumeric;
}

/* The position of a feed is this one from now on. */
void
es_vector_set(EsVector *vector, int32 feed, int64 position)
{
	MemoryContext outside = MemoryContextSwitchTo(vector->memory);
	VectorKey key = vector_key(feed);
	bool is_there;
	int place = vector_locate(vector, &key, &is_there);

	if (!is_there)
		vector_insert(vector, place, &key);
	if (vector->is_own[place])
		pfree(vector->places[place].value.val.numeric);
	vector->places[place].value.val.numeric = int64_to_numeric(position);
	vector->is_own[place] = true;
	MemoryContextSwitchTo(outside);
}

/* The vector, as jsonb. */
Datum
es_vector_get(const EsVector *vector)
{
	JsonbValue object;

	object.type = jbvObject;
	object.val.object.nPairs = vector->count;
	object.val.object.pairs = vector->places;
	return JsonbPGetDatum(JsonbValueToJsonb(&object));
}
