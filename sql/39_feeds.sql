-- Feeds: which of the store's events are of which feed. Readers over several cells go by it: a cell that was split off has the other one's
-- history, which is to be read once.

CREATE TABLE eventstore.feeds
(
	feed           int    NOT NULL CONSTRAINT feeds_pkey PRIMARY KEY,
	number         int    NOT NULL CONSTRAINT feeds_number_key UNIQUE,
	after_position bigint NOT NULL
);
COMMENT ON TABLE eventstore.feeds IS 'The feeds that the store has events of, its own being the last one. No row: it was never a cell.';
COMMENT ON COLUMN eventstore.feeds.feed IS 'The feed, as es_set_cell has set it here, or in the store that this one was split off from.';
COMMENT ON COLUMN eventstore.feeds.number IS 'Which one it is: 1, 2, 3 ...';
COMMENT ON COLUMN eventstore.feeds.after_position IS 'Its events are those after this position, up to that of the next one.';
REVOKE ALL ON TABLE eventstore.feeds FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.feeds', '');

-- A feed begins after the last event, not after the last position given out: the head of the other store has to come up to it. es_set_cell calls
-- it behind the fence: what was open until then, or prepared, came before. What a restore inserts has its feeds in the dump.
CREATE FUNCTION eventstore.note_feed(new_feed int) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET jit = off AS
$$
DECLARE
	last eventstore.feeds;
BEGIN
	SELECT f.* INTO last FROM eventstore.feeds f ORDER BY f.number DESC LIMIT 1;
	IF new_feed = last.feed THEN
		RETURN;
	END IF;
	-- It goes on with one that it had before: what came in between counts as of that.
	IF EXISTS (SELECT FROM eventstore.feeds f WHERE f.feed = new_feed) THEN
		DELETE FROM eventstore.feeds f WHERE f.number > (SELECT o.number FROM eventstore.feeds o WHERE o.feed = new_feed);
		RETURN;
	END IF;
	-- What others have stored since its snapshot was taken would not be seen.
	IF last.feed IS NOT NULL AND current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
		RAISE EXCEPTION 'a cell can only be given another feed in a READ COMMITTED transaction' USING ERRCODE = 'active_sql_transaction';
	END IF;
	INSERT INTO eventstore.feeds (feed, number, after_position)
	VALUES (new_feed, coalesce(last.number, 0) + 1,
			CASE WHEN last.feed IS NULL THEN 0 ELSE greatest(last.after_position, (SELECT max(e.position) FROM eventstore.events e)) END);
END
$$;
COMMENT ON FUNCTION eventstore.note_feed(int) IS 'Notes where a feed begins.';
REVOKE ALL ON FUNCTION eventstore.note_feed(int) FROM PUBLIC;
