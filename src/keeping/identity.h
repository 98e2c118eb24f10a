/*-------------------------------------------------------------------------
 *
 * identity.h
 *		Whether each id is of one event, for ever.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_IDENTITY_H
#define ES_IDENTITY_H

#include "keeping/findings.h"

typedef struct EsIdentity EsIdentity;

extern EsIdentity *es_identity_begin(int memory);
extern void es_identity_add(EsIdentity *identity, Datum id, int64 position, bool is_removed);
extern void es_identity_check(EsIdentity *identity, EsFindings *findings);
extern void es_identity_end(EsIdentity *identity);

#endif /* ES_IDENTITY_H */
