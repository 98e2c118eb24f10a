/*-------------------------------------------------------------------------
 *
 * forms.h
 *		Forms of a declaration that are others in disguise.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_FORMS_H
#define ES_FORMS_H

#include "nodes/parsenodes.h"

extern void es_forms_replace_with(Query *query);
extern void es_forms_replace_distinct(Query *query);

#endif /* ES_FORMS_H */
