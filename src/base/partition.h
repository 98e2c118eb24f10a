/*-------------------------------------------------------------------------
 *
 * partition.h
 *		Partitions: which one a stream belongs to, and sets of them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_PARTITION_H
#define ES_PARTITION_H

/* Limit of partitions of a subscription. */
#define ES_MAX_PARTITIONS 4096

/* A set of partitions is a bit each, lowest first, as get_bit() counts. */
#define es_partition_set_bytes(count)     (((count) + 7) / 8)
#define es_partition_set_has(set, number) (((set)[(number) / 8] >> ((number) % 8)) & 1)
#define es_partition_set_add(set, number) ((set)[(number) / 8] |= (uint8) (1 << ((number) % 8)))

/* Into so many slots streams are divided, which several machines can share. */
#define ES_SLOTS 1024

extern uint64 es_partition_hash(const text *name);
extern int es_partition_number(const text *stream, int partitions);
extern int es_partition_slot(const text *stream);

#endif /* ES_PARTITION_H */
