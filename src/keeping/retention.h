/*-------------------------------------------------------------------------
 *
 * retention.h
 *		How long events are kept, by age and by number.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_RETENTION_H
#define ES_RETENTION_H

extern long es_retention_due(void);
extern void es_retention_work(void);

#endif /* ES_RETENTION_H */
