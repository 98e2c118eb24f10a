-- What a store amounts to, to compare it with another one: how many events and streams, and one digest over all of them. Positions count by their order alone,
-- as another store gives events positions of its own. Equal lines: equal stores.
--
--   psql -X -At -f examples/move/compare.sql

SET jit = off;
SELECT count(*) AS events, count(DISTINCT stream) AS streams, encode(sha256(coalesce(string_agg(digest, '' ORDER BY number), '')), 'hex') AS digest
FROM (
	SELECT number, stream, eventstore.event_digest(ROW(number, stream, category, version, id, type, data, metadata, tags, recorded_at)::eventstore.event) AS digest
	FROM (SELECT row_number() OVER (ORDER BY position) AS number, e.* FROM eventstore.events e WHERE position <= es_head()) e
) d;
