/*-------------------------------------------------------------------------
 *
 * news.h
 *		New events, for those who wait for some of them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_NEWS_H
#define ES_NEWS_H

extern void es_news_add(const text *category, const text *type);
extern void es_news_add_unknown(void);
extern void es_news_tell(void);
extern void es_news_forget(void);

#endif /* ES_NEWS_H */
