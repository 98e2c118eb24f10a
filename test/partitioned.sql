-- Has every CREATE EXTENSION eventstore in databases made of this one be followed by es_partition_events(100): for the tests, which then
-- run on partitions of a hundred positions.
CREATE FUNCTION public.partition_at_once() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS
$$
DECLARE
	verb text := (SELECT format('%I.%I', n.nspname, f.proname) FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace
				  WHERE f.proname = 'es_partition_events');
BEGIN
	IF verb IS NOT NULL
		AND NOT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('eventstore.events') AND relkind = 'p')
	THEN
		EXECUTE 'SELECT ' || verb || '(100)';
	END IF;
END
$$;
CREATE EVENT TRIGGER partition_at_once ON ddl_command_end WHEN TAG IN ('CREATE EXTENSION') EXECUTE FUNCTION public.partition_at_once();
