/*-------------------------------------------------------------------------
 *
 * whereabouts.h
 *		Which partitions of eventstore.events a stream is in.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_WHEREABOUTS_H
#define ES_WHEREABOUTS_H

#include "base/scan.h"

extern void es_whereabouts_narrow(EsScan *scan, const text *stream, Snapshot snapshot,
								  ScanDirection direction, int64 from);

#endif /* ES_WHEREABOUTS_H */
