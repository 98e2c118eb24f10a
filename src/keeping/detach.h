/*-------------------------------------------------------------------------
 *
 * detach.h
 *		The verb es_detach_events.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_DETACH_H
#define ES_DETACH_H

extern void es_detach_check(const char *verb);

#endif /* ES_DETACH_H */
