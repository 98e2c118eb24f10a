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

-- Each feed that positions were ever given out of here, also by the store that this one was split off from: that one may go on with it, or come back
-- to it, whatever the map says by then. So a store takes a feed again only while it is the cell that it was then.
CREATE TABLE eventstore.used_feeds
(
	feed   int     NOT NULL CONSTRAINT used_feeds_pkey PRIMARY KEY,
	cell   int     NOT NULL,
	is_own boolean NOT NULL
);
COMMENT ON TABLE eventstore.used_feeds IS 'The feeds that positions were ever given out of, here or in the store that this one was split off from.';
COMMENT ON COLUMN eventstore.used_feeds.feed IS 'The feed.';
COMMENT ON COLUMN eventstore.used_feeds.cell IS 'Number of the cell that had it.';
COMMENT ON COLUMN eventstore.used_feeds.is_own IS 'Whether that is this store; false: it has had another number since, so the feed belongs to the cell that it was.';
REVOKE ALL ON TABLE eventstore.used_feeds FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.used_feeds', '');

-- A mirror's events may be of a cell's feed that nobody has told it: in a feed, positions are 1024 apart, and elsewhere one.
CREATE FUNCTION eventstore.take_feed(new_cell int, new_feed int) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET jit = off AS
$$
DECLARE
	former int;
BEGIN
	UPDATE eventstore.used_feeds SET is_own = false WHERE is_own AND cell <> new_cell;
	SELECT f.cell INTO former FROM eventstore.used_feeds f WHERE f.feed = new_feed AND NOT f.is_own;
	IF FOUND THEN
		RAISE EXCEPTION 'feed % was that of cell %', new_feed, former USING ERRCODE = 'invalid_parameter_value',
			DETAIL = 'This store has events of it, and was that cell, or was split off from it.',
			HINT = 'Each cell needs a feed of its own, and one that no other cell ever had: positions must not come twice.';
	END IF;
	IF NOT EXISTS (SELECT FROM eventstore.used_feeds) AND EXISTS (
		SELECT FROM (SELECT e.position, lag(e.position) OVER (ORDER BY e.position) AS before
					 FROM (SELECT position FROM eventstore.events ORDER BY position DESC LIMIT 100) e) p
		WHERE p.position % 1024 = new_feed AND p.before % 1024 = new_feed)
	THEN
		RAISE EXCEPTION 'the last events are of feed %', new_feed USING ERRCODE = 'invalid_parameter_value',
			DETAIL = 'They come from another store, which was a cell of that feed.',
			HINT = 'Each cell needs a feed of its own, and one that no other cell ever had: positions must not come twice.';
	END IF;
	INSERT INTO eventstore.used_feeds (feed, cell, is_own) VALUES (new_feed, new_cell, true) ON CONFLICT (feed) DO NOTHING;
END
$$;
COMMENT ON FUNCTION eventstore.take_feed(int, int) IS 'Notes that a feed is this store''s; raises if it was another cell''s.';
REVOKE ALL ON FUNCTION eventstore.take_feed(int, int) FROM PUBLIC;

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
