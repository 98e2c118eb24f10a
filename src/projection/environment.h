/*-------------------------------------------------------------------------
 *
 * environment.h
 *		The settings that a projection's SQL runs with.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_ENVIRONMENT_H
#define ES_ENVIRONMENT_H

#include "nodes/pg_list.h"

typedef struct EsEnvironment EsEnvironment;

extern List *es_environment_describe(void);
extern void es_environment_set(const List *settings);
extern EsEnvironment *es_environment_read(void);
extern bool es_environment_is(const EsEnvironment *environment);

#endif /* ES_ENVIRONMENT_H */
