/*-------------------------------------------------------------------------
 *
 * channel.h
 *		Names of LISTEN channels.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_CHANNEL_H
#define ES_CHANNEL_H

extern char *es_channel_name(const text *category);

#endif /* ES_CHANNEL_H */
