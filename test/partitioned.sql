-- Has every CREATE EXTENSION eventstore in databases made of this one be followed by es_partition_events(100): for the tests, which then
-- run on partitions of a hundred positions, or of as many as the setting partitioned.every says; 0: it stays one table. Not in a restore,
-- where the dump has the partitions.
CREATE FUNCTION public.partition_at_once() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS
$$
DECLARE
	verb text := (SELECT format('%I.%I', n.nspname, f.proname) FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace
				  WHERE f.proname = 'es_partition_events');
	every bigint := coalesce(nullif(current_setting('partitioned.every', true), ''), '100');
BEGIN
	IF verb IS NOT NULL AND every > 0 AND current_setting('check_function_bodies')::boolean
		AND NOT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('eventstore.events') AND relkind = 'p')
	THEN
		EXECUTE format('SELECT %s(%s)', verb, every);
	END IF;
END
$$;
CREATE EVENT TRIGGER partition_at_once ON ddl_command_end WHEN TAG IN ('CREATE EXTENSION') EXECUTE FUNCTION public.partition_at_once();

-- So that dumps are without them.
ALTER EXTENSION plpgsql ADD FUNCTION public.partition_at_once();
ALTER EXTENSION plpgsql ADD EVENT TRIGGER partition_at_once;
