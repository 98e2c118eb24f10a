/*-------------------------------------------------------------------------
 *
 * progress.h
 *		What sessions are doing with projections, for others to see.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_PROGRESS_H
#define ES_PROGRESS_H

typedef enum EsActivity
{
	ES_ACTIVITY_RUN = 1,
	ES_ACTIVITY_REBUILD
} EsActivity;

extern void es_progress_show(const char *projection, EsActivity activity, int64 done, int64 total);
extern void es_progress_hide(void);

#endif /* ES_PROGRESS_H */
