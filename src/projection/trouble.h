/*-------------------------------------------------------------------------
 *
 * trouble.h
 *		What keeps projections from going on.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_TROUBLE_H
#define ES_TROUBLE_H

extern bool es_trouble_is_listed(void);
extern const char *es_trouble_of_database(void);

#endif /* ES_TROUBLE_H */
