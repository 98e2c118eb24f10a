/*-------------------------------------------------------------------------
 *
 * difference.h
 *		The difference between a table and its copy.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_DIFFERENCE_H
#define ES_DIFFERENCE_H

#include "projection/replay/shadow.h"

typedef struct EsDifference
{
	const EsShadow *shadow;
	List *columns;   /* of char *: quoted names */
	List *casts;     /* of char *: to the table's type, for each; "": it is the copy's */
	List *updatable; /* those of them that UPDATE may set */
	List *keys;      /* of EsDifferenceKey; NIL: it has none */
	char *changes;   /* where it is noted which rows differ */
} EsDifference;

extern EsDifference *es_difference_make(const EsShadow *shadow);
extern char *es_difference_list(const List *columns, const char *prefix);
extern char *es_difference_key(const EsDifference *difference);
extern char *es_difference_match(const EsDifference *difference);
extern char *es_difference_differs(const EsDifference *difference, const List *columns);
extern void es_difference_see_all(void);
extern char *es_difference_report(const EsDifference *difference, bool names_table);

#endif /* ES_DIFFERENCE_H */
