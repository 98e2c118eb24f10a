/*-------------------------------------------------------------------------
 *
 * ddl.h
 *		Commands that make, attach and detach ranges.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_DDL_H
#define ES_DDL_H

#include "c.h"

extern void es_ddl_run(const char *format, ...) pg_attribute_printf(1, 2);
extern bool es_ddl_has(const char *format, ...) pg_attribute_printf(1, 2);
extern const char *es_ddl_table(Oid table);
extern char *es_ddl_settings(Oid table);
extern void es_ddl_protect(Oid table);
extern void es_ddl_release(Oid table);
extern void es_ddl_attach(const char *parent, Oid table, int64 from, int64 upto);

#endif /* ES_DDL_H */
