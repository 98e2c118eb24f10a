/*-------------------------------------------------------------------------
 *
 * window.h
 *		Between positions taken and rows in the table: who is there.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_WINDOW_H
#define ES_WINDOW_H

extern bool es_window_open(void);
extern void es_window_take(void);
extern bool es_window_suspend(void);
extern void es_window_resume(void);
extern void es_window_close(void);
extern void es_window_abort_sub(SubTransactionId sub);
extern void es_window_forget(void);
extern void es_window_wait_for_others(void);

#endif /* ES_WINDOW_H */
