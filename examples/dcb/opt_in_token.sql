-- A sign-up is confirmed by a one-time password, which is good once, and for an hour. After "Opt-in token" at dcb.events. No table of
-- tokens is needed: the events are what is known about one.

CREATE EXTENSION eventstore;
\set SHOW_CONTEXT never

CREATE FUNCTION about(email text, otp text) RETURNS jsonb LANGUAGE sql IMMUTABLE RETURN
	jsonb_build_array(jsonb_build_object('tags', jsonb_build_array('email:' || email, 'otp:' || otp)));

CREATE FUNCTION sign_up(email text, name text, otp text) RETURNS bigint LANGUAGE sql AS
$$
	SELECT es_append_if('signup-' || email, jsonb_build_object('type', 'SignUpInitiated', 'data', jsonb_build_object('name', name),
															   'tags', jsonb_build_array('email:' || email, 'otp:' || otp)), about(email, otp))
$$;

CREATE FUNCTION confirm(email text, otp text, at timestamptz DEFAULT now()) RETURNS bigint LANGUAGE plpgsql AS
$$
DECLARE
	read_to bigint := es_head();
	known   record;
BEGIN
	SELECT max(recorded_at) FILTER (WHERE type = 'SignUpInitiated') AS initiated, bool_or(type = 'SignUpConfirmed') AS is_used,
		   es_last(data ->> 'name', position) FILTER (WHERE type = 'SignUpInitiated') AS name
	INTO known FROM es_read_query(about(email, otp), 0, NULL);
	IF known.initiated IS NULL THEN
		RAISE EXCEPTION 'no pending sign-up for this password';
	ELSIF known.is_used THEN
		RAISE EXCEPTION 'the password was used already';
	ELSIF at > known.initiated + interval '1 hour' THEN
		RAISE EXCEPTION 'the password has expired';
	END IF;
	RETURN es_append_if('signup-' || email, jsonb_build_object('type', 'SignUpConfirmed', 'data', jsonb_build_object('name', known.name),
															   'tags', jsonb_build_array('email:' || email, 'otp:' || otp)), about(email, otp), read_to);
END
$$;

SELECT sign_up('ada@example.org', 'Ada', '4711'), sign_up('bob@example.org', 'Bob', '0815');
SELECT confirm('ada@example.org', '0815');
SELECT confirm('bob@example.org', '0815', now() + interval '2 hours');
SELECT confirm('ada@example.org', '4711');
SELECT confirm('ada@example.org', '4711');
SELECT stream, type, data FROM es_read_query('[{"types": ["SignUpConfirmed"]}]');
