-- All that the extension is made of in a database, a line for each fact: of two stores that are the same the lines are the same.
-- Run it with psql -At; it makes temporary views only.
SET search_path = pg_catalog;
SET client_min_messages = warning;

CREATE TEMPORARY VIEW member AS
	SELECT d.classid, d.objid, pg_describe_object(d.classid, d.objid, 0) AS object
	FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
	WHERE e.extname = 'eventstore';

-- Indexes and row types are members by their tables.
CREATE TEMPORARY VIEW relation AS
	SELECT c.* FROM pg_class c
	WHERE c.oid IN (SELECT objid FROM pg_temp.member WHERE classid = 'pg_class'::regclass)
	   OR c.oid IN (SELECT i.indexrelid FROM pg_index i JOIN pg_temp.member m ON m.classid = 'pg_class'::regclass AND m.objid = i.indrelid)
	   OR c.oid IN (SELECT t.typrelid FROM pg_type t JOIN pg_temp.member m ON m.classid = 'pg_type'::regclass AND m.objid = t.oid);

CREATE FUNCTION pg_temp.rights(acl aclitem[]) RETURNS text LANGUAGE sql AS
$$
	SELECT string_agg(format('%s=%s%s/%s', CASE grantee WHEN 0 THEN '' ELSE grantee::regrole::text END, privilege_type,
							 CASE WHEN is_grantable THEN '*' ELSE '' END, grantor::regrole), ' ' ORDER BY grantee::regrole::text, privilege_type)
	FROM aclexplode(acl)
$$;

-- The columns of a row of a catalogue as JSON, without OIDs and what statistics and storage change.
CREATE FUNCTION pg_temp.facts(catalogue_row anyelement, VARIADIC without text[]) RETURNS text LANGUAGE sql AS
$$ SELECT (to_jsonb(catalogue_row) - 'oid' - without)::text $$;

SELECT regexp_replace(line, '\s+', ' ', 'g') COLLATE "C" AS fact FROM (
	SELECT format('member: %s', object) FROM pg_temp.member
	UNION ALL
	SELECT format('extension: version %s, schema %s, owner %s, relocatable %s', extversion, extnamespace::regnamespace, extowner::regrole, extrelocatable)
	FROM pg_extension WHERE extname = 'eventstore'
	UNION ALL
	SELECT format('dumped: %s %s', c.oid::regclass, c.condition)
	FROM pg_extension, unnest(extconfig, extcondition) c (oid, condition) WHERE extname = 'eventstore'
	UNION ALL
	SELECT format('schema: %s owner %s rights %s', nspname, nspowner::regrole, pg_temp.rights(coalesce(nspacl, acldefault('n', nspowner)))) FROM pg_namespace WHERE nspname = 'eventstore'
	UNION ALL
	SELECT format('comment: %s: %s', pg_describe_object(d.classoid, d.objoid, d.objsubid), d.description)
	FROM pg_description d
	WHERE (d.classoid, d.objoid) IN (SELECT classid, objid FROM pg_temp.member)
	   OR d.classoid = 'pg_class'::regclass AND d.objoid IN (SELECT oid FROM pg_temp.relation)
	   OR d.classoid = 'pg_trigger'::regclass AND d.objoid IN (SELECT t.oid FROM pg_trigger t JOIN pg_temp.relation r ON r.oid = t.tgrelid)
	   OR d.classoid = 'pg_policy'::regclass AND d.objoid IN (SELECT p.oid FROM pg_policy p JOIN pg_temp.relation r ON r.oid = p.polrelid)
	   OR d.classoid = 'pg_constraint'::regclass AND d.objoid IN (SELECT k.oid FROM pg_constraint k JOIN pg_temp.relation r ON r.oid = k.conrelid)
	UNION ALL
	SELECT format('initial rights: %s: %s', pg_describe_object(i.classoid, i.objoid, i.objsubid), pg_temp.rights(i.initprivs))
	FROM pg_init_privs i WHERE (i.classoid, i.objoid) IN (SELECT classid, objid FROM pg_temp.member)
	UNION ALL
	SELECT format('function: %s owner %s rights %s: %s %s', f.oid::regprocedure, f.proowner::regrole, pg_temp.rights(coalesce(f.proacl, acldefault('f', f.proowner))),
				  pg_temp.facts(f, 'proowner', 'proacl', 'pronamespace', 'prorettype', 'proargtypes', 'proallargtypes', 'prosqlbody', 'proargdefaults', 'provariadic'),
				  CASE f.prokind WHEN 'a' THEN format('%s -> %s', pg_get_function_arguments(f.oid), pg_get_function_result(f.oid)) ELSE pg_get_functiondef(f.oid) END)
	FROM pg_proc f JOIN pg_temp.member m ON m.classid = 'pg_proc'::regclass AND m.objid = f.oid
	UNION ALL
	SELECT format('aggregate: %s step %s end %s: %s', a.aggfnoid::regprocedure, a.aggtransfn::regprocedure, a.aggfinalfn::regprocedure,
				  pg_temp.facts(a, 'aggtransfn', 'aggfinalfn', 'aggfnoid'))
	FROM pg_aggregate a JOIN pg_temp.member m ON m.classid = 'pg_proc'::regclass AND m.objid = a.aggfnoid
	UNION ALL
	SELECT format('relation: %s kind %s persistence %s columns %s options %s row security %s %s identity %s access %s owner %s rights %s tablespace %s rules %s triggers %s',
				  r.oid::regclass, r.relkind, r.relpersistence, r.relnatts, r.reloptions, r.relrowsecurity, r.relforcerowsecurity, r.relreplident,
				  (SELECT amname FROM pg_am WHERE oid = r.relam), r.relowner::regrole, pg_temp.rights(coalesce(r.relacl, acldefault(CASE r.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", r.relowner))), r.reltablespace, r.relhasrules, r.relhastriggers)
	FROM pg_temp.relation r
	UNION ALL
	SELECT format('column: %s %s %s: %s%s %s default %s rights %s: %s', r.oid::regclass, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod),
				  CASE WHEN a.attnotnull THEN ' not null' END, a.attcollation::regcollation, pg_get_expr(d.adbin, d.adrelid), pg_temp.rights(a.attacl),
				  pg_temp.facts(a, 'attrelid', 'atttypid', 'attcollation', 'attacl', 'attname', 'attnum', 'attcacheoff', 'attoptions'))
	FROM pg_temp.relation r JOIN pg_attribute a ON a.attrelid = r.oid LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
	WHERE a.attnum > 0
	UNION ALL
	SELECT format('view: %s: %s', r.oid::regclass, pg_get_viewdef(r.oid)) FROM pg_temp.relation r WHERE r.relkind = 'v'
	UNION ALL
	SELECT format('index: %s: %s valid %s ready %s identity %s check %s clustered %s immediate %s classes %s collations %s', i.indexrelid::regclass,
				  pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisready, i.indisreplident, i.indcheckxmin, i.indisclustered, i.indimmediate,
				  (SELECT string_agg(c.opcname, ' ' ORDER BY n) FROM unnest(i.indclass::oid[]) WITH ORDINALITY u (oid, n) JOIN pg_opclass c ON c.oid = u.oid),
				  (SELECT string_agg(u.oid::regcollation::text, ' ' ORDER BY n) FROM unnest(i.indcollation::oid[]) WITH ORDINALITY u (oid, n)))
	FROM pg_index i JOIN pg_temp.relation r ON r.oid = i.indexrelid
	UNION ALL
	SELECT format('constraint: %s %s: %s valid %s local %s inherited %s', k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid), k.convalidated, k.conislocal, k.coninhcount)
	FROM pg_constraint k JOIN pg_temp.relation r ON r.oid = k.conrelid
	UNION ALL
	SELECT format('trigger: %s %s: %s enabled %s', t.tgrelid::regclass, CASE WHEN t.tgisinternal THEN 'internal' ELSE t.tgname END,
				  CASE WHEN t.tgisinternal THEN t.tgfoid::regprocedure::text || t.tgtype ELSE pg_get_triggerdef(t.oid) END, t.tgenabled)
	FROM pg_trigger t JOIN pg_temp.relation r ON r.oid = t.tgrelid
	UNION ALL
	SELECT format('policy: %s %s: %s %s roles %s using %s check %s', p.polrelid::regclass, p.polname, p.polcmd, p.polpermissive, p.polroles,
				  pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
	FROM pg_policy p JOIN pg_temp.relation r ON r.oid = p.polrelid
	UNION ALL
	SELECT format('sequence: %s: %s', s.seqrelid::regclass, pg_temp.facts(s, 'seqrelid', 'seqtypid')) FROM pg_sequence s JOIN pg_temp.relation r ON r.oid = s.seqrelid
	UNION ALL
	SELECT format('type: %s owner %s rights %s: %s %s', t.oid::regtype, t.typowner::regrole, pg_temp.rights(coalesce(t.typacl, acldefault('T', t.typowner))), t.typtype, t.typlen)
	FROM pg_type t JOIN pg_temp.member m ON m.classid = 'pg_type'::regclass AND m.objid = t.oid
	UNION ALL
	SELECT format('event trigger: %s on %s tags %s runs %s enabled %s owner %s', evtname, evtevent, evttags, evtfoid::regprocedure, evtenabled, evtowner::regrole)
	FROM pg_event_trigger JOIN pg_temp.member m ON m.classid = 'pg_event_trigger'::regclass AND m.objid = pg_event_trigger.oid
	UNION ALL
	SELECT format('access method: %s type %s handler %s', amname, amtype, amhandler::regprocedure) FROM pg_am JOIN pg_temp.member m ON m.classid = 'pg_am'::regclass AND m.objid = pg_am.oid
	UNION ALL
	SELECT format('operator class: %s for %s key %s default %s owner %s', opcname, opcintype::regtype, opckeytype::regtype, opcdefault, opcowner::regrole)
	FROM pg_opclass JOIN pg_temp.member m ON m.classid = 'pg_opclass'::regclass AND m.objid = pg_opclass.oid
	UNION ALL
	-- On what members and their parts depend, and what of theirs.
	SELECT format('dependence: %s on %s: %s', pg_describe_object(d.classid, d.objid, d.objsubid), pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid), d.deptype)
	FROM pg_depend d
	WHERE (d.classid, d.objid) IN (SELECT classid, objid FROM pg_temp.member)
	   OR d.classid = 'pg_class'::regclass AND d.objid IN (SELECT oid FROM pg_temp.relation)
) facts (line)
ORDER BY fact;
