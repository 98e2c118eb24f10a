/*-------------------------------------------------------------------------
 *
 * custody.h
 *		Who takes events from history, or changes them, and who seals it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_CUSTODY_H
#define ES_CUSTODY_H

extern void es_custody_alter(void);
extern bool es_custody_try_alter(void);
extern bool es_custody_settle(bool may_wait);
extern void es_custody_unsettle(void);

#endif /* ES_CUSTODY_H */
