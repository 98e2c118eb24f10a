-- A URL shortener: links are streams, each visit is an event. How often was each link visited?
--
-- With Kafka Streams:   visits.groupByKey().aggregate(() -> 0L, (link, visit, count) -> count + 1, Materialized.as("visits"));
-- with ksqlDB:          CREATE TABLE visits AS SELECT link, COUNT(*) FROM visited GROUP BY link EMIT CHANGES;
-- here, the same in the SQL that PostgreSQL has, in the transaction of the visit, in a table that can be indexed and joined.
--
-- Run it in an empty database:  psql -X -a -f examples/url_shortener.sql

CREATE EXTENSION eventstore;

-- 1. Where does a link lead? A handler: any SQL, run for each new event.
CREATE TABLE links (link text PRIMARY KEY, url text NOT NULL);
SELECT es_create_projection('links', $$
	INSERT INTO links (link, url)
	SELECT DISTINCT ON (stream) stream, data ->> 'url' FROM events ORDER BY stream, position DESC
	ON CONFLICT (link) DO UPDATE SET url = excluded.url
$$, categories => '{link}', types => '{Shortened,Changed}', tables => '{links}');

-- 2. How often was it visited? A declared table: the query over all events, kept as they come.
SELECT es_create_projection('visits', $$
	SELECT stream AS link,
	       count(*) AS visits,
	       count(*) FILTER (WHERE data ->> 'device' = 'phone') AS by_phone,
	       min(data ->> 'country') AS first_country_by_name,
	       (array_agg(data ->> 'country' ORDER BY position DESC))[1] AS last_country
	FROM events
	GROUP BY stream
$$, categories => '{link}', types => '{Visited}');
\d visits

-- 3. Where do visitors come from? That may lag: a worker does it, or whoever calls es_run_projection.
SELECT es_create_projection('countries', $$
	SELECT data ->> 'country' AS country, count(*) AS visits, count(*) FILTER (WHERE data ->> 'device' = 'phone') AS by_phone
	FROM events
	WHERE data ? 'country'
	GROUP BY data ->> 'country'
$$, mode => 'async', categories => '{link}', types => '{Visited}');

-- 4. Links, and visits
SELECT es_append('link-pg', 0, 'Shortened', '{"url": "https://www.postgresql.org"}'),
	   es_append('link-docs', 0, 'Shortened', '{"url": "https://www.postgresql.org/docs/15/"}');
SELECT es_append('link-docs', 1, 'Changed', '{"url": "https://www.postgresql.org/docs/"}');
TABLE links ORDER BY link;

SELECT es_append('link-pg', es_exists(), 'Visited', '{"country": "NZ", "device": "phone"}');
SELECT es_append('link-pg', es_exists(), '[{"type": "Visited", "data": {"country": "FR", "device": "desktop"}},
                                           {"type": "Visited", "data": {"country": "JP", "device": "phone"}}]');
SELECT es_append('link-docs', es_exists(), 'Visited', '{"device": "phone"}');
TABLE visits ORDER BY link;

-- In the transaction of the visit: what is rolled back was never counted.
BEGIN;
SELECT es_append('link-pg', es_exists(), 'Visited', '{"country": "AQ"}');
SELECT visits, last_country FROM visits WHERE link = 'link-pg';
ROLLBACK;
SELECT visits, last_country FROM visits WHERE link = 'link-pg';

-- 5. The other one has not seen them yet.
TABLE countries;
SELECT es_run_projection('countries') AS events_applied;
TABLE countries ORDER BY country;
SELECT es_append('link-pg', es_exists(), 'Visited', '{"country": "JP", "device": "desktop"}');
SELECT es_run_projection('countries') AS events_applied;
-- Read your own writes: wait until it has got to the last event that this session appended.
SELECT es_wait_projection('countries', es_last_position()) AS is_there;
TABLE countries ORDER BY country;
SELECT name, mode, state FROM eventstore.projection_status ORDER BY name;

-- 6. A thousand visits more, and both tables are what the queries over all events give.
SELECT count(*) FROM (
	SELECT es_append(CASE WHEN i % 3 = 0 THEN 'link-docs' ELSE 'link-pg' END, es_exists(), 'Visited',
		jsonb_build_object('country', (ARRAY['NZ', 'FR', 'JP', 'BR'])[1 + i % 4], 'device', (ARRAY['phone', 'desktop'])[1 + i % 2]))
	FROM generate_series(1, 1000) i) t;
SELECT es_run_projection('countries') AS events_applied;
SELECT * FROM visits
EXCEPT
SELECT stream, count(*), count(*) FILTER (WHERE data ->> 'device' = 'phone'), min(data ->> 'country'), (array_agg(data ->> 'country' ORDER BY position DESC))[1]
FROM eventstore.events WHERE type = 'Visited' GROUP BY stream;
SELECT * FROM countries
EXCEPT
SELECT data ->> 'country', count(*), count(*) FILTER (WHERE data ->> 'device' = 'phone')
FROM eventstore.events WHERE type = 'Visited' AND data ? 'country' GROUP BY data ->> 'country';

-- They are ordinary tables: joined, indexed, given to who reports.
CREATE INDEX ON visits (visits DESC);
SELECT l.url, v.visits, v.by_phone, v.last_country FROM visits v JOIN links l USING (link) ORDER BY v.visits DESC;
