/*-------------------------------------------------------------------------
 *
 * uuid.h
 *		Event ids that the store makes: UUID version 7.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_UUID_H
#define ES_UUID_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

extern void es_uuid_make(TimestampTz at, pg_uuid_t *id);

#endif /* ES_UUID_H */
