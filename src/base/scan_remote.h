/*-------------------------------------------------------------------------
 *
 * scan_remote.h
 *		Scans of ranges that are foreign tables; for those that make up scan.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_SCAN_REMOTE_H
#define ES_SCAN_REMOTE_H

#include "base/scan.h"

extern bool es_scan_remote_next(EsScan *scan, ScanDirection direction);
extern Datum es_scan_remote_column(EsScan *scan, AttrNumber column);
extern void es_scan_remote_end(EsScan *scan);

#endif /* ES_SCAN_REMOTE_H */
