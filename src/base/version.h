/*-------------------------------------------------------------------------
 *
 * version.h
 *		Which version this library is of, and which the extension.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_VERSION_H
#define ES_VERSION_H

/* As eventstore.control says; make lint compares them. */
#define ES_VERSION "0.2.0"

extern bool es_version_is_current(void);
extern void es_version_tell(int level);
extern void es_version_require(void);

#endif /* ES_VERSION_H */
