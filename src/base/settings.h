/*-------------------------------------------------------------------------
 *
 * settings.h
 *		The settings eventstore.*.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_SETTINGS_H
#define ES_SETTINGS_H

/* What becomes of a command that drops events, by eventstore.allow_drop. */
typedef enum EsDrop
{
	ES_DROP_OFF, /* it is refused */
	ES_DROP_WARN,
	ES_DROP_ON
} EsDrop;

extern bool es_guc_notify;
extern double es_guc_notify_queue_limit;
extern char *es_guc_databases;
extern int es_guc_projection_workers;
extern int es_guc_retention_interval;
extern int es_guc_seal_interval; /* seconds; 0: never */
extern char *es_guc_key_provider;
extern int es_guc_allow_drop; /* EsDrop */
extern bool es_guc_restoring;

extern void es_settings_define(void);

#endif /* ES_SETTINGS_H */
