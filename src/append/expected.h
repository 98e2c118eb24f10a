/*-------------------------------------------------------------------------
 *
 * expected.h
 *		The expected version of an append: whether a stream is there.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_EXPECTED_H
#define ES_EXPECTED_H

#include "lib/stringinfo.h"

#include "base/compat.h"
#include "base/stream.h"

extern bool es_expected_fits(const EsStream *stream, int64 expected_version, int64 version);
extern void es_expected_describe(StringInfo lines, const EsStream *stream, int64 expected_version,
								 int64 version);
es_compat_noreturn extern void es_expected_raise(const EsStream *stream, int64 expected_version,
												 int64 version, const char *others);
extern void es_expected_check(const EsStream *stream, int64 expected_version, int64 version);

#endif /* ES_EXPECTED_H */
