-- What the programs beside this file call: a store, a reducer and a role.
CREATE EXTENSION eventstore;
CREATE FUNCTION counted(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb(state::int + 1) $$;
CREATE ROLE reporting;
