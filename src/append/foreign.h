/*-------------------------------------------------------------------------
 *
 * foreign.h
 *		Events that are stored without an append.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_FOREIGN_H
#define ES_FOREIGN_H

#include "utils/reltrigger.h"

extern bool es_foreign_is_noted_by(const Trigger *trigger);
extern void es_foreign_allow(TriggerDesc *triggers);

#endif /* ES_FOREIGN_H */
