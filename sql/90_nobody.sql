-- The last part: nobody has a right yet, but the owner.
--
-- ALTER DEFAULT PRIVILEGES may have given all that was made here to others, the levels' functions and subjects' keys among it, as it does
-- with any function and any table. What PUBLIC may is said beside each object.

DO $$
DECLARE
	command text;
BEGIN
	FOR command IN
		SELECT DISTINCT pg_catalog.format('REVOKE ALL ON %s FROM %s', o.object, acl.grantee::pg_catalog.regrole)
		FROM pg_catalog.pg_depend d
		JOIN pg_catalog.pg_extension e ON d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.refobjid = e.oid
		CROSS JOIN LATERAL (
			SELECT 'FUNCTION ' || f.oid::pg_catalog.regprocedure::pg_catalog.text, f.proacl, f.proowner
			FROM pg_catalog.pg_proc f WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND f.oid = d.objid
			UNION ALL
			SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || c.oid::pg_catalog.regclass::pg_catalog.text, c.relacl, c.relowner
			FROM pg_catalog.pg_class c WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.oid = d.objid
			UNION ALL
			SELECT 'TYPE ' || t.oid::pg_catalog.regtype::pg_catalog.text, t.typacl, t.typowner
			FROM pg_catalog.pg_type t WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND t.oid = d.objid
			UNION ALL
			SELECT 'SCHEMA ' || n.oid::pg_catalog.regnamespace::pg_catalog.text, n.nspacl, n.nspowner
			FROM pg_catalog.pg_namespace n WHERE d.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND n.oid = d.objid
		) o (object, rights, owner)
		CROSS JOIN LATERAL pg_catalog.aclexplode(o.rights) acl
		WHERE e.extname = 'eventstore' AND d.deptype = 'e' AND acl.grantee NOT IN (0, o.owner)
	LOOP
		EXECUTE command;
	END LOOP;
END
$$;
