-- A username that is unique over all accounts, for as long as it is in use: no stream is about that, the tag is.
-- After "Unique username" at dcb.events. Run it in an empty database:  psql -X -a -f examples/dcb/unique_username.sql

CREATE EXTENSION eventstore;
\set SHOW_CONTEXT never

-- What the decision depends on: the events with the tag of the name. Whether the name is taken is told by the last of them.
CREATE FUNCTION about(username text) RETURNS jsonb LANGUAGE sql IMMUTABLE RETURN
	jsonb_build_array(jsonb_build_object('tags', jsonb_build_array('username:' || lower(username))));

CREATE FUNCTION register(account text, username text) RETURNS bigint LANGUAGE plpgsql AS
$$
DECLARE
	read_to bigint := es_head();  -- before the read: what comes later than this has not been looked at
	last    text;
BEGIN
	SELECT type INTO last FROM es_read_query(about(username), 0, 1, backward => true);
	IF last IN ('AccountRegistered', 'UsernameTaken') THEN
		RAISE EXCEPTION 'username "%" is taken', username USING ERRCODE = 'unique_violation';
	END IF;
	RETURN es_append_if('account-' || account, jsonb_build_object(
		'type', 'AccountRegistered', 'data', jsonb_build_object('username', username), 'tags', jsonb_build_array('username:' || lower(username))),
		about(username), read_to);
END
$$;

CREATE FUNCTION rename_account(account text, old text, new text) RETURNS bigint LANGUAGE plpgsql AS
$$
DECLARE
	read_to bigint := es_head();
	last    text;
BEGIN
	SELECT type INTO last FROM es_read_query(about(new), 0, 1, backward => true);
	IF last IN ('AccountRegistered', 'UsernameTaken') THEN
		RAISE EXCEPTION 'username "%" is taken', new USING ERRCODE = 'unique_violation';
	END IF;
	-- Two events: the old name is free from now on.
	RETURN es_append_if('account-' || account, jsonb_build_array(
		jsonb_build_object('type', 'UsernameTaken', 'data', jsonb_build_object('username', new), 'tags', jsonb_build_array('username:' || lower(new))),
		jsonb_build_object('type', 'UsernameFreed', 'data', jsonb_build_object('username', old), 'tags', jsonb_build_array('username:' || lower(old)))),
		about(new), read_to);
END
$$;

SELECT register('1', 'ada');
SELECT register('2', 'Ada');
SELECT register('2', 'bob');
SELECT rename_account('1', 'ada', 'lovelace');
SELECT register('3', 'ada');
SELECT rename_account('2', 'bob', 'ada');

-- Two at once: whoever is second has decided on what has changed meanwhile. Here the first comes between read and append of the second.
SELECT es_head() AS read_to \gset
SELECT count(*) AS taken FROM es_read_query(about('grace'));
SELECT register('4', 'grace');
SELECT es_append_if('account-5', '{"type": "AccountRegistered", "tags": ["username:grace"]}', about('grace'), :read_to);
\echo :SQLSTATE
