-- Loads a history of events in ndjson, one event a line: {"stream": ..., "type": ..., "data": ..., "metadata": {"commit": ...}}.
--
--     zcat examples/data/eventstore.ndjson.gz | psql -X -q -f examples/load.sql
--
-- Consecutive lines of one commit are one call of es_append_streams and one transaction. Each stream has to be where the history
-- expects it: new before the first of its lines, then as far as counting its lines says.

\set ON_ERROR_STOP on
SET client_encoding = 'UTF8';

-- Quote and delimiter are characters that no line contains, so that COPY takes each line as it is.
CREATE TEMP TABLE history (line bigint GENERATED ALWAYS AS IDENTITY, event jsonb NOT NULL);
\copy history (event) FROM pstdin WITH (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')

CREATE TEMP TABLE history_commits AS
WITH versions AS (
    SELECT line, event, event->>'stream' AS stream,
           row_number() OVER (PARTITION BY event->>'stream' ORDER BY line) AS version,
           event->'metadata'->>'commit' IS DISTINCT FROM lag(event->'metadata'->>'commit') OVER (ORDER BY line) AS starts_commit
    FROM history
), commits AS (
    SELECT *, count(*) FILTER (WHERE starts_commit) OVER (ORDER BY line) AS commit
    FROM versions
), appends AS (
    SELECT commit, min(line) AS line, count(*) AS event_count,
           jsonb_build_object('stream', stream,
                              'expected_version', min(version) - 1,
                              'events', jsonb_agg(event - 'stream' ORDER BY line)) AS append
    FROM commits
    GROUP BY commit, stream
)
SELECT commit, sum(event_count) AS event_count, jsonb_agg(append ORDER BY line) AS batch
FROM appends
GROUP BY commit;

DO $$
DECLARE
    total   bigint := (SELECT count(*) FROM history);
    started timestamptz := clock_timestamp();
    loaded  bigint := 0;
    commits bigint := 0;
    tenth   bigint := 0;
    warm    timestamptz; -- after the first tenth, when everything has been read and planned once
    cold    bigint;
    seconds numeric;
    step    record;
BEGIN
    FOR step IN SELECT batch, event_count FROM history_commits ORDER BY commit LOOP
        PERFORM * FROM es_append_streams(step.batch);
        COMMIT;
        loaded := loaded + step.event_count;
        commits := commits + 1;
        IF loaded * 10 / total > tenth THEN
            tenth := loaded * 10 / total;
            RAISE NOTICE '% of % events', loaded, total;
        END IF;
        IF warm IS NULL AND tenth > 0 THEN
            warm := clock_timestamp();
            cold := loaded;
        END IF;
    END LOOP;
    seconds := extract(epoch FROM clock_timestamp() - started);
    RAISE NOTICE 'loaded % events of % commits in % s; after the first tenth, % events/s',
        loaded, commits, round(seconds, 2), round((loaded - cold) / greatest(extract(epoch FROM clock_timestamp() - warm), 0.001));
END
$$;

DROP TABLE history, history_commits;
