/*-------------------------------------------------------------------------
 *
 * closed.h
 *		What is written down of closed ranges.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_CLOSED_H
#define ES_CLOSED_H

extern void es_closed_note(void);

#endif /* ES_CLOSED_H */
