/*-------------------------------------------------------------------------
 *
 * restore.h
 *		What may be stored in the store's tables by others than appends.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_RESTORE_H
#define ES_RESTORE_H

extern void es_restore_begin(int *level);
extern void es_restore_end(int level);

#endif /* ES_RESTORE_H */
