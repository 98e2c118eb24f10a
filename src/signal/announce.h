/*-------------------------------------------------------------------------
 *
 * announce.h
 *		NOTIFY, as long as its queue has room.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_ANNOUNCE_H
#define ES_ANNOUNCE_H

extern double es_announce_queue_usage(void);
extern bool es_announce_has_room(void);
extern bool es_announce_begin(void);
extern void es_announce_pending(int64 head);

#endif /* ES_ANNOUNCE_H */
