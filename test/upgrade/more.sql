-- What a store of the present version can have beside what is in store-0.1.0.sql.
SET client_min_messages = error;
CREATE ROLE shop_acme;
SELECT es_grant('shop_acme', 'read', tenant => 'acme');
SELECT es_append('person-1', 0, 'Named', jsonb_build_object('name', es_protect('p1', '"Ada"'))), es_append('person-2', 0, 'Named', jsonb_build_object('name', es_protect('p2', '"Bob"')));
SELECT es_erase_subject('p2', 'asked for');
SELECT es_redact((SELECT id FROM eventstore.events WHERE position = 50), 'wrong', '{by}');
SELECT es_truncate_stream('account-5', 3);
SELECT es_set_retention('account', max_count => 1000);
SELECT es_seal(100);
CREATE FUNCTION count_up(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$ SELECT jsonb_build_object('n', coalesce((state->>'n')::int, 0) + 1) $$;
SELECT es_create_state_projection('states', 'count_up(jsonb, eventstore.event)');
SELECT es_reassign_projection('orphan', 'shop_reports');
-- What read tables have of what is gone now, they keep until they are made anew; a key of 0.1.0's is made one that can be null.
SELECT es_rebuild_projection(name) FROM unnest('{simple,totals,latest,report,log,quick}'::text[]) name;
SELECT es_replace_projection('by_clerk', $$SELECT data->>'by' AS clerk, count(*) AS events FROM events WHERE data ? 'by' GROUP BY 1$$);
