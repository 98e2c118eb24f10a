/*-------------------------------------------------------------------------
 *
 * news.c
 *		New events, for those who wait for some of them.
 *
 * Of what a transaction appends, or of what the worker finds new, each category
 * with each type once, as hashes.  There is room for few: who has more to tell
 * tells everybody.  What is rolled back to a savepoint stays in it, and wakes in
 * vain.
 *
 * Memory: static variables, to the end of the transaction.  Locks: none.
 * Calls: wake.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "signal/news.h"
#include "signal/wake.h"

#define NEWS_MAX 32

typedef struct News
{
	uint32 category;
	uint32 type;
} News;

static News news[NEWS_MAX];
static int news_count = 0;
static bool news_has_more = false;

/* There is an event of a type in a category. */
void
es_news_add(const text *category, const text *type)
{
	News added = {es_wake_hash(category), es_wake_hash(type)};
	int i;

	/* Mostly it is the last one again. */
	for (i = news_count - 1; i >= 0; i--)
		if (news[i].category == added.category && news[i].type == added.type)
			return;
	if (news_count < NEWS_MAX)
		news[news_count++] = added;
	else
		news_has_more = true;
}

/* There are events that nobody has looked at. */
void
es_news_add_unknown(void)
{
	news_has_more = true;
}

/* Wake who waits for one of them.  Safe after commit. */
void
es_news_tell(void)
{
	int i;

	if (news_has_more)
	{
		es_wake_all();
		return;
	}
	for (i = 0; i < news_count; i++)
		es_wake_event(news[i].category, news[i].type);
}

/* The transaction ends. */
void
es_news_forget(void)
{
	news_count = 0;
	news_has_more = false;
}
