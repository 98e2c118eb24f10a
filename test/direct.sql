-- What the tests direct and direct_table share: in schema test_direct, which has a table log (line) and a sequence goods.
CREATE FUNCTION log_table() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO test_direct.log SELECT concat_ws(' ', TG_WHEN, TG_LEVEL, string_agg(type, '+')) FROM new_table; RETURN NULL; END $$;

-- One event, then two: what was logged.
CREATE FUNCTION logged() RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
	lines text;
BEGIN
	DELETE FROM test_direct.log;
	PERFORM public.es_append('direct-1', -1, 'X', '{}');
	PERFORM public.es_append('direct-1', -1, '[{"type": "Y"}, {"type": "Z"}]');
	SELECT string_agg(line, ', ') FROM test_direct.log INTO lines;
	RETURN lines;
END
$$;
-- How one event fails, and a batch whose second event is the same.
CREATE FUNCTION refused(event jsonb) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
	events jsonb;
	states text;
BEGIN
	FOREACH events IN ARRAY ARRAY[event, jsonb_build_array(jsonb_build_object('type', 'Good ' || nextval('test_direct.goods'), 'metadata', '{}'::jsonb, 'tags', '[]'::jsonb), event)]
	LOOP
		BEGIN
			PERFORM public.es_append('direct-2', -1, events);
			states := concat_ws(' ', states, 'stored');
		EXCEPTION
			WHEN OTHERS THEN
				states := concat_ws(' ', states, SQLSTATE);
		END;
	END LOOP;
	RETURN states;
END
$$;
