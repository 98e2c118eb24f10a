/*-------------------------------------------------------------------------
 *
 * pairs.c
 *		Pairs of numbers, which are stored as arrays of bigint.
 *
 * Memory: results in the current context.  Locks: none.  Calls: nothing of
 * ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"

#include "subscription/pairs.h"

EsPairs
es_pairs_read(Datum value)
{
	ArrayType *array = DatumGetArrayTypePCopy(value);
	EsPairs pairs = {0, NULL};

	if (ARR_NDIM(array) == 1)
	{
		pairs.count = ARR_DIMS(array)[0] / 2;
		pairs.items = (EsPair *) ARR_DATA_PTR(array);
	}
	return pairs;
}

Datum
es_pairs_write(EsPairs pairs)
{
	Datum *values = palloc(sizeof(Datum) * 2 * (pairs.count + 1));
	int i;

	for (i = 0; i < pairs.count; i++)
	{
		values[2 * i] = Int64GetDatum(pairs.items[i].key);
		values[2 * i + 1] = Int64GetDatum(pairs.items[i].count);
	}
	return PointerGetDatum(construct_array(values, 2 * pairs.count, INT8OID, sizeof(int64),
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* The count of a key; otherwise, where there is none. */
int64
es_pairs_find(EsPairs pairs, int64 key, int64 otherwise)
{
	int i;

	for (i = 0; i < pairs.count; i++)
		if (pairs.items[i].key == key)
			return pairs.items[i].count;
	return otherwise;
}
