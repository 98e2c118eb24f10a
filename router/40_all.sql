-- All cells: subscriptions and projections live in each, and are made, changed and dropped in all.

-- ---------------------------------------------------------------------------------------------------------------------------------
-- Subscriptions
-- ---------------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION eventstore.create_subscription(cell int, name text, category text, types text[], bigint, bigint, bigint, interval, text, text) RETURNS text
	LANGUAGE plproxy VOLATILE PARALLEL UNSAFE AS
$$
	CLUSTER 'eventstore'; RUN ON $1;
	SELECT @extschema@.es_create_subscription($2::text, $3::text, $4::text[], $5::bigint, $6::bigint, $7::bigint, $8::interval, $9::text, $10::text)::text;
$$;
COMMENT ON FUNCTION eventstore.create_subscription(int, text, text, text[], bigint, bigint, bigint, interval, text, text) IS 'Sends es_create_subscription to a cell.';
REVOKE ALL ON FUNCTION eventstore.create_subscription(int, text, text, text[], bigint, bigint, bigint, interval, text, text) FROM PUBLIC;

-- In a cell that was split off, a group begins when it has done in the old one what both cells have.
CREATE TABLE eventstore.groups_to_open
(
	subscription text COLLATE "C" NOT NULL,
	cell         int              NOT NULL,
	CONSTRAINT groups_to_open_pkey PRIMARY KEY (subscription, cell)
);
COMMENT ON TABLE eventstore.groups_to_open IS 'Subscriptions that were made after a split and have yet to begin in the new cell: they are paused there.';
COMMENT ON COLUMN eventstore.groups_to_open.subscription IS 'Name of the subscription.';
COMMENT ON COLUMN eventstore.groups_to_open.cell IS 'The cell.';
REVOKE ALL ON TABLE eventstore.groups_to_open FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.groups_to_open', '');

CREATE FUNCTION eventstore.forget_group(subscription text) RETURNS void
	LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
	DELETE FROM eventstore.groups_to_open g WHERE g.subscription = forget_group.subscription
$$;
COMMENT ON FUNCTION eventstore.forget_group(text) IS 'Nothing is to be opened of a subscription.';
REVOKE ALL ON FUNCTION eventstore.forget_group(text) FROM PUBLIC;

CREATE FUNCTION eventstore.ask_checkpoint(int, text) RETURNS bigint
	LANGUAGE plproxy VOLATILE PARALLEL UNSAFE AS
$$
	CLUSTER 'eventstore'; RUN ON $1;
	SELECT pg_catalog.min(s.checkpoint) FROM eventstore.subscription_status s WHERE s.name OPERATOR(pg_catalog.=) $2::text;
$$;
COMMENT ON FUNCTION eventstore.ask_checkpoint(int, text) IS 'The position in a cell that a subscription has passed in all partitions.';
REVOKE ALL ON FUNCTION eventstore.ask_checkpoint(int, text) FROM PUBLIC;

CALL eventstore.make_verb('es_drop_subscription', 'name text', 'void', 'drop',
	'Removes a subscription from all cells, with its checkpoints and its parked events.', before => E'\n\tPERFORM eventstore.forget_group($1);');
CALL eventstore.make_verb('es_alter_subscription', 'name text, partitions bigint DEFAULT NULL, park_policy text DEFAULT NULL, max_retries bigint DEFAULT NULL, lease interval DEFAULT NULL, category text DEFAULT NULL, types text[] DEFAULT NULL, tenant text DEFAULT NULL', 'void', 'all',
	'Changes a subscription in all cells: its partitions, its settings, which events it sees from its checkpoints on; null = leave as it is.');
CALL eventstore.make_verb('es_pause_subscription', 'name text', 'void', 'all',
	'Stops delivering a subscription''s events in all cells, until es_resume_subscription.');
CALL eventstore.make_verb('es_resume_subscription', 'name text', 'void', 'all',
	'Goes on delivering the events of a subscription that is paused, in all cells.');
CALL eventstore.make_verb('es_release', 'subscription text, consumer text DEFAULT NULL', 'int', 'all',
	'A consumer leaves, and its partitions are free at once in all cells; returns how many it had.');
CALL eventstore.make_verb('es_replay_parked', 'subscription text, max_count bigint DEFAULT NULL', 'int', 'all',
	'Has parked events delivered again, the lowest positions of each cell first, at most so many in each; returns how many.');
CALL eventstore.make_verb('es_replay_parked', 'subscription text, id uuid', 'int', 'all',
	'Has one parked event delivered again; returns 1, or 0 if it is parked in no cell.');

-- What is before its feed in a cell is delivered by the cell that it was split off from.
CREATE FUNCTION eventstore.start_in_cell(cell int, after_position bigint, after jsonb) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	IF after IS NOT NULL THEN
		RETURN greatest(eventstore.position_in_cell(cell, after), (SELECT f.after_position FROM eventstore.find_feeds() f WHERE f.cell = start_in_cell.cell AND f.upto IS NULL));
	ELSIF after_position = -1 THEN
		RETURN -1;
	ELSIF after_position IS NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = 'after_position must not be null', HINT = '0 is the beginning, -1 is now.';
	ELSIF after_position = 0 THEN
		RETURN (SELECT f.after_position FROM eventstore.find_feeds() f WHERE f.cell = start_in_cell.cell AND f.upto IS NULL);
	END IF;
	RAISE invalid_parameter_value USING MESSAGE = 'a position is a place in one cell''s feed only',
		HINT = 'after_position is 0 (the beginning) or -1 (now) here; after takes a vector, such as {"1": 4711, "2": 99}.';
END
$$;
COMMENT ON FUNCTION eventstore.start_in_cell(int, bigint, jsonb) IS 'The position after which a subscription begins in a cell.';
REVOKE ALL ON FUNCTION eventstore.start_in_cell(int, bigint, jsonb) FROM PUBLIC;

-- Puts it off until the cell that the feed before is of has passed where this one's begins; in that one it has begun before.
CREATE FUNCTION eventstore.put_off_group(cell int, subscription text, start bigint, after jsonb) RETURNS boolean
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	feed eventstore.feeds;
BEGIN
	SELECT f.* INTO feed FROM eventstore.feeds f WHERE f.cell = put_off_group.cell AND f.upto IS NULL;
	IF feed.parent IS NULL OR start = -1 OR start > feed.after_position
	   OR coalesce((after ->> feed.parent::text)::bigint, 0) >= feed.after_position
	   OR NOT EXISTS (SELECT FROM eventstore.feeds p WHERE p.feed = feed.parent AND p.cell <> put_off_group.cell) THEN
		RETURN false;
	END IF;
	INSERT INTO eventstore.groups_to_open (subscription, cell) VALUES (put_off_group.subscription, put_off_group.cell) ON CONFLICT DO NOTHING;
	RETURN true;
END
$$;
COMMENT ON FUNCTION eventstore.put_off_group(int, text, bigint, jsonb) IS 'Notes that a group has to wait in a cell for itself in another one; returns whether it has.';
REVOKE ALL ON FUNCTION eventstore.put_off_group(int, text, bigint, jsonb) FROM PUBLIC;

-- As who owns the router: consumers may not resume anything.
CREATE FUNCTION eventstore.open_group(subscription text) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS
$$
DECLARE
	waiting record;
BEGIN
	FOR waiting IN SELECT g.cell, f.after_position, p.cell AS parent_cell FROM eventstore.groups_to_open g
				   JOIN eventstore.feeds f ON f.cell = g.cell AND f.upto IS NULL JOIN eventstore.feeds p ON p.feed = f.parent
				   WHERE g.subscription = open_group.subscription FOR UPDATE OF g SKIP LOCKED LOOP
		BEGIN
			IF eventstore.ask_checkpoint(waiting.parent_cell, subscription) >= waiting.after_position THEN
				PERFORM eventstore.es_resume_subscription(waiting.cell, subscription);
				DELETE FROM eventstore.groups_to_open g WHERE g.subscription = open_group.subscription AND g.cell = waiting.cell;
			END IF;
		EXCEPTION WHEN OTHERS THEN
			NULL; -- one of them is down: the next fetch tries again
		END;
	END LOOP;
END
$$;
COMMENT ON FUNCTION eventstore.open_group(text) IS 'Has a group begin in cells that it has waited for.';
REVOKE ALL ON FUNCTION eventstore.open_group(text) FROM PUBLIC;

CREATE FUNCTION eventstore.is_waiting(subscription text) RETURNS boolean
	LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
	SELECT EXISTS (SELECT FROM eventstore.groups_to_open g WHERE g.subscription = is_waiting.subscription)
$$;
COMMENT ON FUNCTION eventstore.is_waiting(text) IS 'Whether a group has to wait in a cell for itself in another one.';
REVOKE ALL ON FUNCTION eventstore.is_waiting(text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_create_subscription(name text, category text DEFAULT NULL, types text[] DEFAULT NULL, after_position bigint DEFAULT 0,
												   partitions bigint DEFAULT 64, max_retries bigint DEFAULT 10, lease interval DEFAULT '30 s',
												   park_policy text DEFAULT 'pass', tenant text DEFAULT NULL, after jsonb DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET intervalstyle = postgres AS
$$
DECLARE
	cell int;
	failed int;
	start bigint;
	done int[] := '{}';
BEGIN
	IF eventstore.is_in_block() THEN
		PERFORM eventstore.refuse_in_block('es_create_subscription');
	END IF;
	IF after IS NOT NULL THEN
		PERFORM eventstore.check_feeds(after);
	END IF;
	PERFORM eventstore.forget_group(name);
	FOREACH cell IN ARRAY eventstore.some_cells() LOOP
		BEGIN
			start := eventstore.start_in_cell(cell, after_position, after);
			PERFORM eventstore.create_subscription(cell, name, category, types, start, partitions, max_retries, lease, park_policy, tenant);
			done := done || cell;
			IF eventstore.put_off_group(cell, name, start, after) THEN
				PERFORM eventstore.es_pause_subscription(cell, name);
			END IF;
		EXCEPTION WHEN OTHERS THEN
			failed := cell;
			FOREACH cell IN ARRAY done LOOP
				PERFORM eventstore.es_drop_subscription(cell, name);
			END LOOP;
			IF SQLSTATE = 'XX000' THEN
				PERFORM eventstore.raise_unreachable(failed, SQLERRM);
			END IF;
			RAISE;
		END;
	END LOOP;
END
$$;
COMMENT ON FUNCTION @extschema@.es_create_subscription(text, text, text[], bigint, bigint, bigint, interval, text, text, jsonb) IS
	'Makes a subscription in all cells or in none: from the beginning (0), from now on (-1), or after a vector of positions.';
REVOKE ALL ON FUNCTION @extschema@.es_create_subscription(text, text, text[], bigint, bigint, bigint, interval, text, text, jsonb) FROM PUBLIC;

CREATE FUNCTION eventstore.reset_subscription(cell int, name text, bigint) RETURNS text
	LANGUAGE plproxy VOLATILE PARALLEL UNSAFE AS
$$
	CLUSTER 'eventstore'; RUN ON $1; SELECT @extschema@.es_reset_subscription($2::text, $3::bigint)::text;
$$;
COMMENT ON FUNCTION eventstore.reset_subscription(int, text, bigint) IS 'Sends es_reset_subscription to a cell.';
REVOKE ALL ON FUNCTION eventstore.reset_subscription(int, text, bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_reset_subscription(name text, after_position bigint DEFAULT 0, after jsonb DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	cell int;
	start bigint;
	done int[] := '{}';
BEGIN
	IF eventstore.is_in_block() THEN
		PERFORM eventstore.refuse_in_block('es_reset_subscription');
	END IF;
	IF after IS NOT NULL THEN
		PERFORM eventstore.check_feeds(after);
	END IF;
	FOREACH cell IN ARRAY eventstore.some_cells() LOOP
		BEGIN
			start := eventstore.start_in_cell(cell, after_position, after);
			IF eventstore.put_off_group(cell, name, start, after) THEN
				PERFORM eventstore.es_pause_subscription(cell, name);
			END IF;
			PERFORM eventstore.reset_subscription(cell, name, start);
			done := done || cell;
		EXCEPTION WHEN OTHERS THEN
			PERFORM eventstore.tell_done('es_reset_subscription', cell, done, SQLSTATE, SQLERRM);
			RAISE;
		END;
	END LOOP;
END
$$;
COMMENT ON FUNCTION @extschema@.es_reset_subscription(text, bigint, jsonb) IS
	'Puts a subscription in all cells where it would be had it just been made: at the beginning (0), now (-1), or after a vector of positions.';
REVOKE ALL ON FUNCTION @extschema@.es_reset_subscription(text, bigint, jsonb) FROM PUBLIC;

CREATE FUNCTION eventstore.fetch(cell int, subscription text, consumer text, bigint)
	RETURNS TABLE ("position" bigint, stream text, category text, version bigint, id uuid, type text, data jsonb, metadata jsonb, tags text[], recorded_at timestamptz,
				   partition int, token bigint, attempt int)
	LANGUAGE plproxy VOLATILE PARALLEL UNSAFE AS
$$
	CLUSTER 'eventstore'; RUN ON $1;
	SELECT f.position, f.stream, f.category, f.version, f.id, f.type, f.data, f.metadata, f.tags, f.recorded_at, f.partition, f.token, f.attempt
	FROM @extschema@.es_fetch($2::text, $3::text, $4::bigint, '0'::interval) f;
$$;
COMMENT ON FUNCTION eventstore.fetch(int, text, text, bigint) IS 'Sends es_fetch to a cell, which does not wait.';
REVOKE ALL ON FUNCTION eventstore.fetch(int, text, text, bigint) FROM PUBLIC;

-- One cell after the other, as what one has delivered must not be lost where another fails; the next call begins with the next one.
CREATE FUNCTION @extschema@.es_fetch(subscription text, consumer text DEFAULT NULL, max_count bigint DEFAULT 100, wait interval DEFAULT '0',
									 OUT "position" bigint, OUT stream text, OUT category text, OUT version bigint, OUT id uuid, OUT type text,
									 OUT data jsonb, OUT metadata jsonb, OUT tags text[], OUT recorded_at timestamptz,
									 OUT partition int, OUT token bigint, OUT attempt int, OUT cell int) RETURNS SETOF record
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 100 SET search_path = pg_catalog, pg_temp AS
$$
#variable_conflict use_variable
DECLARE
	me text := coalesce(consumer, format('router %s %s', pg_backend_pid(), pg_postmaster_start_time()));
	gives_up timestamptz := clock_timestamp() + wait;
	slice interval := least(coalesce(nullif(current_setting('eventstore_router.wait_slice', true), ''), '100 ms')::interval, wait);
	turn int := coalesce(nullif(current_setting('eventstore_router.turn', true), ''), '0')::int;
	cells int[];
	left_over bigint := max_count;
	delivered record;
	heads jsonb;
	i int;
	lacking int[] := '{}';    -- cells that have not the subscription
BEGIN
	IF eventstore.is_in_block() THEN
		PERFORM eventstore.refuse_in_block('es_fetch');
	END IF;
	IF wait IS NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = 'wait must not be null', HINT = '''0'' does not wait.';
	ELSIF wait < interval '0' THEN
		RAISE invalid_parameter_value USING MESSAGE = 'wait must not be negative', HINT = '''0'' does not wait.';
	ELSIF max_count IS NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = 'max_count must not be null';
	END IF;
	cells := eventstore.some_cells();
	LOOP
		IF eventstore.is_waiting(subscription) THEN
			PERFORM eventstore.open_group(subscription);
		END IF;
		heads := CASE WHEN wait > interval '0' THEN @extschema@.es_head() END;
		FOR i IN 1 .. cardinality(cells) LOOP
			cell := cells[(turn + i) % cardinality(cells) + 1];
			BEGIN
				FOR delivered IN SELECT * FROM eventstore.fetch(cell, subscription, me, left_over) LOOP
					"position" := delivered.position;
					stream := delivered.stream;
					category := delivered.category;
					version := delivered.version;
					id := delivered.id;
					type := delivered.type;
					data := delivered.data;
					metadata := delivered.metadata;
					tags := delivered.tags;
					recorded_at := delivered.recorded_at;
					partition := delivered.partition;
					token := delivered.token;
					attempt := delivered.attempt;
					left_over := left_over - 1;
					RETURN NEXT;
				END LOOP;
			EXCEPTION WHEN OTHERS THEN
				-- What another cell has delivered is not thrown away.
				IF eventstore.is_unreachable(SQLSTATE, SQLERRM) THEN
					PERFORM eventstore.warn_unreachable(cell, SQLERRM);
				ELSIF SQLSTATE = '42704' AND cardinality(lacking) + 1 < cardinality(cells) THEN
					lacking := lacking || cell; -- it may have come later
				ELSIF left_over < max_count THEN
					RAISE WARNING USING MESSAGE = SQLERRM, ERRCODE = SQLSTATE;
				ELSE
					RAISE;
				END IF;
			END;
			EXIT WHEN left_over <= 0;
		END LOOP;
		IF cardinality(lacking) > 0 THEN
			RAISE WARNING USING MESSAGE = format('subscription "%s" does not exist in cell %s', subscription, array_to_string(lacking, ', ')),
				HINT = 'Nothing is delivered of what is there. A cell that was added later needs it: es_create_subscription there.';
			cells := ARRAY(SELECT c FROM unnest(cells) WITH ORDINALITY u (c, n) WHERE c <> ALL (lacking) ORDER BY n);
			lacking := '{}';
		END IF;
		turn := (turn + 1) % greatest(cardinality(cells), 1);
		PERFORM set_config('eventstore_router.turn', turn::text, false);
		EXIT WHEN left_over < max_count OR wait <= interval '0' OR clock_timestamp() >= gives_up;
		-- Leases and retries come due with no event at all.
		PERFORM @extschema@.es_wait(heads, least(gives_up - clock_timestamp(), greatest(slice, interval '1 s')));
	END LOOP;
END
$$;
COMMENT ON FUNCTION @extschema@.es_fetch(text, text, bigint, interval) IS
	'The next events of a consumer''s partitions in all cells, each with the cell and the token to acknowledge it by; waits for some if it is told to.';
REVOKE ALL ON FUNCTION @extschema@.es_fetch(text, text, bigint, interval) FROM PUBLIC;

CREATE FUNCTION eventstore.ack(cell int, subscription text, token bigint, bigint) RETURNS text
	LANGUAGE plproxy VOLATILE PARALLEL UNSAFE AS
$$
	CLUSTER 'eventstore'; RUN ON $1; SELECT @extschema@.es_ack($2::text, $3::bigint, $4::bigint)::text;
$$;
COMMENT ON FUNCTION eventstore.ack(int, text, bigint, bigint) IS 'Sends es_ack to a cell.';
REVOKE ALL ON FUNCTION eventstore.ack(int, text, bigint, bigint) FROM PUBLIC;

CREATE FUNCTION eventstore.begin_in_cell(verb text, cell bigint) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	IF eventstore.is_in_block() THEN
		PERFORM eventstore.refuse_in_block(verb);
	END IF;
	IF cell IS NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = 'cell must not be null', HINT = 'es_fetch returns it with each event.';
	ELSIF cell <> ALL (eventstore.all_cells()) THEN
		RAISE undefined_object USING MESSAGE = format('cell %s does not exist', cell), HINT = 'eventstore.cells shows which there are.';
	END IF;
END
$$;
COMMENT ON FUNCTION eventstore.begin_in_cell(text, bigint) IS 'Raises unless a verb can be sent to a cell.';
REVOKE ALL ON FUNCTION eventstore.begin_in_cell(text, bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_ack(cell bigint, subscription text, token bigint, "position" bigint) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS
$$
BEGIN
	PERFORM eventstore.begin_in_cell('es_ack', cell);
	BEGIN
		PERFORM eventstore.ack(cell::int, subscription, token, "position");
	EXCEPTION WHEN internal_error THEN
		PERFORM eventstore.raise_unreachable(cell::int, SQLERRM);
	END;
END
$$;
COMMENT ON FUNCTION @extschema@.es_ack(bigint, text, bigint, bigint) IS
	'Done with everything that a cell has delivered under a token up to a position.';
REVOKE ALL ON FUNCTION @extschema@.es_ack(bigint, text, bigint, bigint) FROM PUBLIC;

CREATE FUNCTION eventstore.nack(cell int, subscription text, token bigint, bigint, text, text, interval) RETURNS text
	LANGUAGE plproxy VOLATILE PARALLEL UNSAFE AS
$$
	CLUSTER 'eventstore'; RUN ON $1; SELECT @extschema@.es_nack($2::text, $3::bigint, $4::bigint, $5::text, $6::text, $7::interval)::text;
$$;
COMMENT ON FUNCTION eventstore.nack(int, text, bigint, bigint, text, text, interval) IS 'Sends es_nack to a cell.';
REVOKE ALL ON FUNCTION eventstore.nack(int, text, bigint, bigint, text, text, interval) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_nack(cell bigint, subscription text, token bigint, "position" bigint, reason text, action text DEFAULT 'retry',
									delay interval DEFAULT '0') RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET intervalstyle = postgres SET client_min_messages = warning AS
$$
BEGIN
	PERFORM eventstore.begin_in_cell('es_nack', cell);
	BEGIN
		PERFORM eventstore.nack(cell::int, subscription, token, "position", reason, action, delay);
	EXCEPTION WHEN internal_error THEN
		PERFORM eventstore.raise_unreachable(cell::int, SQLERRM);
	END;
END
$$;
COMMENT ON FUNCTION @extschema@.es_nack(bigint, text, bigint, bigint, text, text, interval) IS
	'One event of a cell could not be worked on: have it delivered again (retry), put aside (park), or leave it (skip).';
REVOKE ALL ON FUNCTION @extschema@.es_nack(bigint, text, bigint, bigint, text, text, interval) FROM PUBLIC;

-- ---------------------------------------------------------------------------------------------------------------------------------
-- Projections
-- ---------------------------------------------------------------------------------------------------------------------------------

-- Tables and functions are named as the cells know them.
CALL eventstore.make_verb('es_create_projection', 'name text, query text, mode text DEFAULT ''inline'', categories text[] DEFAULT NULL, types text[] DEFAULT NULL, tables text[] DEFAULT NULL, on_error text DEFAULT ''fail'', granularity text DEFAULT ''event'', lookups text[] DEFAULT NULL', 'void', 'create',
	'Makes a projection in all cells or in none: each keeps its read tables by its own events.', '{"tables": "regclass[]", "lookups": "regclass[]"}',
	undo => 'eventstore.es_drop_projection(cell, $1, true)');
CALL eventstore.make_verb('es_create_state_projection', 'name text, reducer text, initial jsonb DEFAULT ''{}'', mode text DEFAULT ''inline'', categories text[] DEFAULT NULL, types text[] DEFAULT NULL', 'void', 'create',
	'Makes a projection in all cells or in none that keeps the state of each stream: reducer(state, event) for one event after the other.',
	undo => 'eventstore.es_drop_projection(cell, $1, true)');
CALL eventstore.make_verb('es_drop_projection', 'name text, drop_table boolean DEFAULT false', 'void', 'drop',
	'Drops a projection in all cells, and its declared table if asked to.');
CALL eventstore.make_verb('es_rename_projection', 'name text, new_name text', 'void', 'all',
	'Gives a projection another name in all cells, and its declared table with it.');
CALL eventstore.make_verb('es_reassign_projection', 'name text, owner text', 'void', 'all',
	'Makes another role the owner of a projection in all cells, and of its declared table.');
CALL eventstore.make_verb('es_replace_projection', 'name text, query text, categories text[] DEFAULT NULL, types text[] DEFAULT NULL, tables text[] DEFAULT NULL, lookups text[] DEFAULT NULL', 'bigint', 'all',
	'Gives a projection another query in all cells; returns to how many events it was applied.', '{"tables": "regclass[]", "lookups": "regclass[]"}');
CALL eventstore.make_verb('es_rebuild_projection', 'name text', 'bigint', 'all',
	'Makes a projection''s tables anew in all cells; returns to how many events it was applied.');
CALL eventstore.make_verb('es_pause_projection', 'name text', 'void', 'all',
	'Stops applying a projection in all cells, until es_resume_projection.');
CALL eventstore.make_verb('es_resume_projection', 'name text', 'void', 'all',
	'Goes on in all cells with a projection that is paused or has failed.');
CALL eventstore.make_verb('es_run_projection', 'name text, max_count bigint DEFAULT NULL', 'bigint', 'all',
	'Applies an async projection in all cells to the events after its checkpoints, at most max_count in each; returns to how many.');
CALL eventstore.make_verb('es_apply_retention', '', 'bigint', 'all',
	'Forgets the events of all cells that are not to be kept any longer; returns how many are gone.');
CALL eventstore.make_verb('es_set_retention', 'stream_or_category text, max_age interval DEFAULT NULL, max_count bigint DEFAULT NULL', 'void', 'all',
	'Says in all cells how long the events of a stream, or of each stream of a category, are kept, and how many.');
CALL eventstore.make_verb('es_erase_subject', 'subject text, reason text', 'void', 'all',
	'Destroys a subject''s keys in all cells: nothing that was protected for it opens any more, and nothing more can be.');

-- ---------------------------------------------------------------------------------------------------------------------------------
-- The rest
-- ---------------------------------------------------------------------------------------------------------------------------------

CALL eventstore.make_verb('es_verify_projection', 'name text', 'TABLE (kind text, key jsonb, stored jsonb, expected jsonb)', 'all',
	'Compares a projection''s tables in each cell with what the events there make of them; no row: right.');
CALL eventstore.make_verb('es_verify', '', 'TABLE (check_name text, stream text, detail text)', 'all',
	'What is wrong with any cell''s store; no row: all are sound.');
CALL eventstore.make_verb('es_drop_parked', 'subscription text, id uuid', 'void', 'drop',
	'Throws a parked event away, in the cell that has it.');
CALL eventstore.make_verb('es_redact', 'id uuid, reason text, keys text[] DEFAULT NULL', 'void', 'drop',
	'Blanks the data and metadata of a stored event, or some keys of its data, in each cell that has it.');

CREATE FUNCTION eventstore.wait_projection(int, text, bigint, interval) RETURNS boolean
	LANGUAGE plproxy VOLATILE PARALLEL UNSAFE AS
$$
	CLUSTER 'eventstore'; RUN ON $1; SELECT @extschema@.es_wait_projection($2::text, $3::bigint, $4::interval);
$$;
COMMENT ON FUNCTION eventstore.wait_projection(int, text, bigint, interval) IS 'Sends es_wait_projection to a cell.';
REVOKE ALL ON FUNCTION eventstore.wait_projection(int, text, bigint, interval) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_wait_projection(name text, after jsonb, timeout interval DEFAULT '30 s') RETURNS boolean
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET intervalstyle = postgres AS
$$
DECLARE
	gives_up timestamptz := clock_timestamp() + timeout;
	cell int;
BEGIN
	PERFORM eventstore.check_timeout(timeout);
	after := eventstore.check_vector(after);
	FOREACH cell IN ARRAY eventstore.some_cells() LOOP
		IF NOT eventstore.wait_projection(cell, name, eventstore.position_in_cell(cell, after), greatest(gives_up - clock_timestamp(), interval '0')) THEN
			RETURN false;
		END IF;
	END LOOP;
	RETURN true;
EXCEPTION WHEN internal_error THEN
	PERFORM eventstore.raise_unreachable(cell, SQLERRM);
END
$$;
COMMENT ON FUNCTION @extschema@.es_wait_projection(text, jsonb, interval) IS
	'Waits until a projection has been applied in all cells to every event up to a vector of positions; false on timeout.';
REVOKE ALL ON FUNCTION @extschema@.es_wait_projection(text, jsonb, interval) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_wait_projection(name text, "position" bigint, timeout interval DEFAULT '30 s') RETURNS boolean
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET intervalstyle = postgres AS
$$
DECLARE
	cell int := (SELECT f.cell FROM eventstore.find_feeds() f WHERE f.feed = "position" % 1024);
BEGIN
	PERFORM eventstore.check_timeout(timeout);
	IF "position" IS NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = 'position must not be null';
	ELSIF cell IS NULL THEN
		RAISE invalid_parameter_value USING MESSAGE = format('position %s is of no cell''s feed', "position"),
			HINT = 'es_last_position() is one, a row''s after a vector of them.';
	END IF;
	RETURN eventstore.wait_projection(cell, name, "position", timeout);
EXCEPTION WHEN internal_error THEN
	PERFORM eventstore.raise_unreachable(cell, SQLERRM);
END
$$;
COMMENT ON FUNCTION @extschema@.es_wait_projection(text, bigint, interval) IS
	'The same up to a position, in the cell whose feed it is of: that of one''s own append, as es_last_position() tells it.';
REVOKE ALL ON FUNCTION @extschema@.es_wait_projection(text, bigint, interval) FROM PUBLIC;

CREATE FUNCTION eventstore.skip_event(int, text, bigint, text) RETURNS text
	LANGUAGE plproxy VOLATILE PARALLEL UNSAFE AS
$$
	CLUSTER 'eventstore'; RUN ON $1; SELECT @extschema@.es_skip_event($2::text, $3::bigint, $4::text)::text;
$$;
COMMENT ON FUNCTION eventstore.skip_event(int, text, bigint, text) IS 'Sends es_skip_event to a cell.';
REVOKE ALL ON FUNCTION eventstore.skip_event(int, text, bigint, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_skip_event(cell bigint, name text, "position" bigint, reason text DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	PERFORM eventstore.begin_in_cell('es_skip_event', cell);
	BEGIN
		PERFORM eventstore.skip_event(cell::int, name, "position", reason);
	EXCEPTION WHEN internal_error THEN
		PERFORM eventstore.raise_unreachable(cell::int, SQLERRM);
	END;
END
$$;
COMMENT ON FUNCTION @extschema@.es_skip_event(bigint, text, bigint, text) IS
	'Leaves an event out of a projection in a cell; one that has stopped there goes on.';
REVOKE ALL ON FUNCTION @extschema@.es_skip_event(bigint, text, bigint, text) FROM PUBLIC;

-- ---------------------------------------------------------------------------------------------------------------------------------
-- Seals
-- ---------------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION eventstore.es_seal(int) RETURNS bigint
	LANGUAGE plproxy VOLATILE PARALLEL UNSAFE AS
$$
	CLUSTER 'eventstore'; RUN ON $1; SELECT @extschema@.es_seal(NULL::bigint) WHERE $1::int IS NOT NULL;
$$;
COMMENT ON FUNCTION eventstore.es_seal(int) IS 'Sends es_seal to a cell.';
REVOKE ALL ON FUNCTION eventstore.es_seal(int) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_seal() RETURNS jsonb
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	cell int;
	done int[] := '{}';
	sealed bigint;
	result jsonb := '{}';
BEGIN
	IF eventstore.is_in_block() THEN
		PERFORM eventstore.refuse_in_block('es_seal');
	END IF;
	FOREACH cell IN ARRAY eventstore.some_cells() LOOP
		BEGIN
			sealed := eventstore.es_seal(cell);
			done := done || cell;
			IF sealed IS NOT NULL THEN
				result := result || jsonb_build_object((SELECT f.feed::text FROM eventstore.find_feeds() f WHERE f.cell = done[cardinality(done)] AND f.upto IS NULL), sealed);
			END IF;
		EXCEPTION WHEN OTHERS THEN
			PERFORM eventstore.tell_done('es_seal', cell, done, SQLSTATE, SQLERRM);
			RAISE;
		END;
	END LOOP;
	RETURN result;
END
$$;
COMMENT ON FUNCTION @extschema@.es_seal() IS
	'Seals history in all cells, each up to its head; returns up to where, by the feed of each cell that had something new.';
REVOKE ALL ON FUNCTION @extschema@.es_seal() FROM PUBLIC;
