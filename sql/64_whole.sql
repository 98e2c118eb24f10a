-- Whole: what a projection needs beside the events, so that nothing is applied before a restore has brought it.
--
-- A dump restores the rows of all tables first, then sequences, then indexes, constraints and triggers. A projection that is applied in
-- between meets a table without its key, or an identity that begins anew. So each projection's needs are written down while it runs,
-- go into the dump with it, and are asked for where it has come from one.

-- No foreign key: pg_restore -j loads it beside eventstore.projections.
CREATE TABLE eventstore.projection_needs
(
	projection text COLLATE "C" NOT NULL,
	kind       text COLLATE "C" NOT NULL CONSTRAINT projection_needs_kind_check CHECK (kind IN ('list', 'function', 'table', 'index', 'constraint', 'trigger', 'sequence')),
	of_table   text COLLATE "C" NOT NULL,
	object     text COLLATE "C" NOT NULL,
	CONSTRAINT projection_needs_pkey PRIMARY KEY (projection, kind, of_table, object)
);
COMMENT ON TABLE eventstore.projection_needs IS 'What was there when a projection ran: it is not applied after a restore before that is there again.';
COMMENT ON COLUMN eventstore.projection_needs.projection IS 'Name of the projection.';
COMMENT ON COLUMN eventstore.projection_needs.kind IS 'function: a reducer; table, index, constraint, trigger, or sequence: one that has been used; list: this list, which always is there.';
COMMENT ON COLUMN eventstore.projection_needs.of_table IS 'Qualified name of the table that has it; empty for the list and for functions.';
COMMENT ON COLUMN eventstore.projection_needs.object IS 'Its name: qualified for functions, tables, indexes and sequences.';
REVOKE ALL ON TABLE eventstore.projection_needs FROM PUBLIC;

CREATE FUNCTION eventstore.follow_projection() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	IF TG_OP = 'DELETE' THEN
		DELETE FROM eventstore.projection_needs WHERE projection = OLD.name;
	ELSE
		UPDATE eventstore.projection_needs SET projection = NEW.name WHERE projection = OLD.name;
		UPDATE eventstore.projection_checkpoints SET projection = NEW.name WHERE projection = OLD.name;
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION eventstore.follow_projection() IS 'Keeps eventstore.projection_needs to the projections that there are, and checkpoints to their names.';
REVOKE ALL ON FUNCTION eventstore.follow_projection() FROM PUBLIC;

CREATE TRIGGER needs_follow_projections AFTER DELETE OR UPDATE OF name ON eventstore.projections
	FOR EACH ROW EXECUTE FUNCTION eventstore.follow_projection();
COMMENT ON TRIGGER needs_follow_projections ON eventstore.projections IS 'What a projection needs goes with it.';

-- What has been dropped since it was written down is not to be waited for. (pg_dump refuses views here.)
SELECT pg_catalog.pg_extension_config_dump('eventstore.projection_needs',
	$$WHERE kind = 'list' OR kind = 'function' AND pg_catalog.to_regprocedure(object) IS NOT NULL OR EXISTS
		(SELECT FROM pg_catalog.pg_class t
		 WHERE t.oid = pg_catalog.to_regclass(of_table)
		   AND CASE kind
				   WHEN 'constraint' THEN EXISTS (SELECT FROM pg_catalog.pg_constraint c WHERE c.conrelid = t.oid AND c.conname = object)
				   WHEN 'trigger' THEN EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgrelid = t.oid AND g.tgname = object)
				   WHEN 'sequence' THEN EXISTS
					   (SELECT FROM pg_catalog.pg_class c
						WHERE c.oid = pg_catalog.to_regclass(object) AND c.relkind = 'S'
						  AND CASE WHEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT, USAGE') THEN pg_catalog.pg_sequence_last_value(c.oid) IS NOT NULL END)
				   ELSE pg_catalog.to_regclass(object) IS NOT NULL
			   END)$$);

CREATE VIEW eventstore.projection_facts AS
	SELECT n.projection, f.kind, n.of_table, f.object
	FROM eventstore.projection_needs n
	CROSS JOIN LATERAL (SELECT CASE WHEN n.kind = 'table' THEN pg_catalog.to_regclass(n.of_table)::pg_catalog.oid END AS oid) t
	CROSS JOIN LATERAL
		(SELECT n.kind, n.object
		 UNION ALL
		 SELECT 'index', pg_catalog.format('%I.%I', s.nspname, c.relname)
		 FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
		 WHERE i.indrelid = t.oid AND i.indisvalid
		 UNION ALL
		 -- Constraints NOT NULL, which are rows since 18, come with the table.
		 SELECT 'constraint', k.conname FROM pg_catalog.pg_constraint k WHERE k.conrelid = t.oid AND k.contype <> 'n'
		 UNION ALL
		 SELECT 'trigger', g.tgname FROM pg_catalog.pg_trigger g WHERE g.tgrelid = t.oid AND NOT g.tgisinternal
		 UNION ALL
		 -- Owned by a column, or of a default
		 SELECT 'sequence', pg_catalog.format('%I.%I', s.nspname, c.relname)
		 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
		 WHERE c.relkind = 'S'
		   AND c.oid IN (SELECT d.objid FROM pg_catalog.pg_depend d
						 WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
						   AND d.refobjid = t.oid AND d.deptype IN ('a', 'i')
						 UNION ALL
						 SELECT d.refobjid FROM pg_catalog.pg_attrdef a JOIN pg_catalog.pg_depend d ON d.objid = a.oid
						 WHERE a.adrelid = t.oid
						   AND d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass)
		   AND CASE WHEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT, USAGE') THEN pg_catalog.pg_sequence_last_value(c.oid) IS NOT NULL END) f
	WHERE t.oid IS NOT NULL
	UNION ALL
	SELECT n.projection, n.kind, n.of_table, n.object FROM eventstore.projection_needs n
	WHERE n.kind = 'list' OR n.kind = 'function' AND CASE WHEN n.kind = 'function' THEN pg_catalog.to_regprocedure(n.object) IS NOT NULL END;
COMMENT ON VIEW eventstore.projection_facts IS 'What of the kinds in eventstore.projection_needs is there at this moment.';
COMMENT ON COLUMN eventstore.projection_facts.projection IS 'Name of the projection.';
COMMENT ON COLUMN eventstore.projection_facts.kind IS 'As in eventstore.projection_needs.';
COMMENT ON COLUMN eventstore.projection_facts.of_table IS 'As in eventstore.projection_needs.';
COMMENT ON COLUMN eventstore.projection_facts.object IS 'As in eventstore.projection_needs.';
REVOKE ALL ON TABLE eventstore.projection_facts FROM PUBLIC;

-- A dump leaves the rows out: in the database that it is restored into, nobody has looked yet.
CREATE TABLE eventstore.local_projections
(
	projection text COLLATE "C" NOT NULL CONSTRAINT local_projections_pkey PRIMARY KEY
		CONSTRAINT local_projections_projection_fkey REFERENCES eventstore.projections ON UPDATE CASCADE ON DELETE CASCADE
);
COMMENT ON TABLE eventstore.local_projections IS 'Projections that were made in this database, or that everything has been found for here.';
COMMENT ON COLUMN eventstore.local_projections.projection IS 'Name of the projection.';
REVOKE ALL ON TABLE eventstore.local_projections FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.local_projections', 'WHERE false');

CREATE VIEW eventstore.projection_waits AS
	SELECT w.projection, w.kind, w.of_table, w.object
	FROM eventstore.projections p
	CROSS JOIN LATERAL
		(SELECT n.projection, n.kind, n.of_table, n.object
		 FROM eventstore.projection_needs n
		 WHERE n.projection = p.name
		   AND NOT EXISTS (SELECT FROM eventstore.projection_facts f
						   WHERE f.projection = n.projection AND f.kind = n.kind AND f.of_table = n.of_table AND f.object = n.object)
		 UNION ALL
		 SELECT p.name, 'list', '', p.name
		 WHERE NOT EXISTS (SELECT FROM eventstore.projection_needs n WHERE n.projection = p.name AND n.kind = 'list')
		 UNION ALL
		 SELECT p.name, 'checkpoint', '', p.name
		 WHERE NOT EXISTS (SELECT FROM eventstore.projection_checkpoints c WHERE c.projection = p.name)
		 UNION ALL
		 SELECT p.name, 'session', '', pg_catalog.format('%s, process %s', a.application_name, a.pid)
		 FROM pg_catalog.pg_stat_activity a
		 WHERE a.datname = pg_catalog.current_database() AND a.application_name = 'pg_restore') w
	WHERE NOT EXISTS (SELECT FROM eventstore.local_projections l WHERE l.projection = p.name);
COMMENT ON VIEW eventstore.projection_waits IS 'What restored projections wait for before they are applied: what the restore has not brought yet. No row: for nothing.';
COMMENT ON COLUMN eventstore.projection_waits.projection IS 'Name of the projection.';
COMMENT ON COLUMN eventstore.projection_waits.kind IS 'As in eventstore.projection_needs; checkpoint: how far it is; session: one that is restoring.';
COMMENT ON COLUMN eventstore.projection_waits.of_table IS 'As in eventstore.projection_needs.';
COMMENT ON COLUMN eventstore.projection_waits.object IS 'Name of what is missing.';
REVOKE ALL ON TABLE eventstore.projection_waits FROM PUBLIC;
