/*-------------------------------------------------------------------------
 *
 * tally.h
 *		How many events there are, by category and by type.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_TALLY_H
#define ES_TALLY_H

extern long es_tally_turn(void);

#endif /* ES_TALLY_H */
