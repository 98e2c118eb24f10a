-- The catalogue checks itself. Every query is followed by no row, or by a list that someone has thought about.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
RESET client_min_messages;
CREATE SCHEMA test_self;
SET search_path = test_self, public;

CREATE VIEW members AS
	SELECT classid, objid, pg_describe_object(classid, objid, 0) AS object
	FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'eventstore') AND deptype = 'e';
CREATE VIEW functions AS
	SELECT p.* FROM pg_proc p JOIN members ON classid = 'pg_proc'::regclass AND objid = p.oid;
CREATE VIEW relations AS
	SELECT c.* FROM pg_class c JOIN members ON classid = 'pg_class'::regclass AND objid = c.oid;

-- Objects without a comment, and columns of tables and views; constraints, row types and indexes are told by their table's.
SELECT object FROM members
WHERE obj_description(objid, (SELECT relname FROM pg_class WHERE oid = classid)) IS NULL
  AND NOT (classid = 'pg_type'::regclass AND EXISTS (SELECT FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
													 WHERE t.oid = objid AND (t.typelem <> 0 OR c.relkind IN ('r', 'v', 'p', 'S'))))
ORDER BY object COLLATE "C";
SELECT r.relname, a.attname FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid
WHERE r.relkind IN ('r', 'v', 'p') AND attnum > 0 AND NOT attisdropped AND col_description(r.oid, attnum) IS NULL ORDER BY 1, attnum;
SELECT tgname FROM pg_trigger t JOIN relations r ON r.oid = t.tgrelid WHERE NOT tgisinternal AND obj_description(t.oid, 'pg_trigger') IS NULL;

-- Comments that are no sentence
SELECT object, obj_description(objid, (SELECT relname FROM pg_class WHERE oid = classid)) AS comment FROM members
WHERE obj_description(objid, (SELECT relname FROM pg_class WHERE oid = classid)) !~ '^\S.*[.]$';

-- Members elsewhere than in the two schemas, and functions in the users' that are not called es_...
SELECT proname FROM functions WHERE pronamespace <> 'eventstore'::regnamespace AND proname !~ '^es_' OR pronamespace = 'eventstore'::regnamespace AND proname ~ '^es_';
SELECT relname FROM relations WHERE relnamespace <> 'eventstore'::regnamespace;
SELECT extrelocatable FROM pg_extension WHERE extname = 'eventstore';

-- Functions in SQL and PL/pgSQL whose search_path the caller could choose; a body that is parsed already cannot be captured.
SELECT f.oid::regprocedure FROM functions f JOIN pg_language l ON l.oid = prolang
WHERE lanname NOT IN ('c', 'internal') AND prokind <> 'a' AND prosqlbody IS NULL AND NOT coalesce(proconfig, '{}') && '{"search_path=pg_catalog, pg_temp"}';
SELECT oid::regprocedure FROM functions WHERE prosecdef AND NOT coalesce(proconfig, '{}') && '{"search_path=pg_catalog, pg_temp"}';

-- What means something else where standard_conforming_strings is off: bodies are parsed when they are called, views when the extension is made
SELECT oid::regprocedure FROM functions WHERE prolang IN (SELECT oid FROM pg_language WHERE lanname IN ('sql', 'plpgsql')) AND strpos(prosrc, '\') > 0;
SELECT oid::regclass FROM relations WHERE relkind = 'v' AND strpos(pg_get_viewdef(oid), '\') > 0;

-- What counts or looks up events in SQL: compiling it takes longer than running it, so functions say that they are not to be compiled,
-- and each view here has been thought about (see status.sql).
SELECT f.oid::regprocedure FROM functions f JOIN pg_language l ON l.oid = prolang
WHERE lanname = 'sql' AND prosrc ~ '(FROM|JOIN) eventstore\.events' AND NOT coalesce(proconfig, '{}') && '{jit=off}';
SELECT DISTINCT ev_class::regclass FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
WHERE d.refobjid = 'eventstore.events'::regclass AND ev_class IN (SELECT oid FROM relations) ORDER BY 1;

-- What PUBLIC may do: what the store's policies ask, as the role that selects, about itself
SELECT oid::regprocedure FROM functions WHERE proacl IS NULL OR EXISTS (SELECT FROM aclexplode(proacl) WHERE grantee = 0);
SELECT relname FROM relations WHERE relkind NOT IN ('i', 'c') AND EXISTS (SELECT FROM aclexplode(relacl) WHERE grantee = 0);
SELECT nspname FROM pg_namespace WHERE nspname = 'eventstore' AND EXISTS (SELECT FROM aclexplode(nspacl) WHERE grantee = 0);
SELECT r.relname, attname FROM relations r JOIN pg_attribute ON attrelid = r.oid WHERE attacl IS NOT NULL;

-- Whom an installation that nobody has touched has granted something, besides the owner: none
SELECT oid::regprocedure, grantee::regrole FROM functions, aclexplode(proacl) WHERE grantee <> proowner;

-- Tables and sequences that pg_dump would leave empty: what is known of partitions by their OIDs, and can be found out anew
SELECT relname FROM relations, pg_extension e WHERE extname = 'eventstore' AND relkind IN ('r', 'p', 'S') AND NOT relations.oid = ANY (coalesce(e.extconfig, '{}'));
SELECT regexp_replace(c, '\s+', ' ', 'g') AS c FROM pg_extension, unnest(extcondition) c WHERE extname = 'eventstore' AND c <> '';

-- Columns of tables whose values mean nothing in another cluster: none that is dumped
SELECT r.relname, attname, atttypid::regtype FROM relations r JOIN pg_attribute ON attrelid = r.oid
WHERE r.relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped
  AND atttypid IN ('oid'::regtype, 'xid'::regtype, 'xid8'::regtype, 'cid'::regtype, 'tid'::regtype, 'regproc'::regtype, 'regprocedure'::regtype, 'regoper'::regtype, 'regoperator'::regtype,
				   'regclass'::regtype, 'regtype'::regtype, 'regrole'::regtype, 'regnamespace'::regtype, 'regconfig'::regtype, 'regdictionary'::regtype, 'regcollation'::regtype, 'pg_lsn'::regtype,
				   'pg_snapshot'::regtype, 'txid_snapshot'::regtype);

-- Text that is compared by a language's rules: keys are bytes.
SELECT r.relname, attname FROM relations r JOIN pg_attribute ON attrelid = r.oid JOIN pg_collation c ON c.oid = attcollation
WHERE r.relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped AND collname <> 'C';

-- Indexes on what every append changes: they would end HOT updates of streams.
SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'eventstore.streams'::regclass
 AND (SELECT array_agg(attname) FROM pg_attribute WHERE attrelid = indrelid AND attnum = ANY (indkey)) <> '{stream}';
SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'eventstore.streams'::regclass AND (indexprs IS NOT NULL OR indpred IS NOT NULL);
SELECT relname, reloptions FROM relations, LATERAL (SELECT substring(array_to_string(reloptions, ',') FROM 'fillfactor=(\d+)')::int AS fillfactor) o
WHERE relname = 'streams' AND (fillfactor IS NULL OR fillfactor > 90);

-- Sequences that cache positions: they must rise along every stream, whichever session appends.
SELECT seqrelid::regclass FROM pg_sequence JOIN relations r ON r.oid = seqrelid WHERE seqcache <> 1 OR seqcycle OR seqtypid <> 'bigint'::regtype;

-- The indexes of the store; each has its price in every append.
SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN relations r ON r.oid = indrelid ORDER BY pg_get_indexdef(indexrelid) COLLATE "C";

-- The immutability triggers fire ALWAYS.
SELECT tgname FROM pg_trigger WHERE tgfoid = 'eventstore.refuse_change()'::regprocedure AND tgenabled <> 'A';

-- Functions for users that no level of es_grant gives
SELECT f.oid::regprocedure FROM functions f
WHERE pronamespace <> 'eventstore'::regnamespace
  AND NOT EXISTS (SELECT FROM eventstore.rights_of_level('admin') WHERE privilege = 'EXECUTE' AND replace(object, 'FUNCTION ', '')::regprocedure = f.oid);
-- What reads or appends may do is what admins may, too.
SELECT l, r FROM unnest('{read,append}'::text[]) l, eventstore.rights_of_level(l) r WHERE r NOT IN (SELECT a FROM eventstore.rights_of_level('admin') a);
-- An appender needs no right on any table.
SELECT r FROM eventstore.rights_of_level('append') r WHERE object ~ '^(TABLE|SEQUENCE)';

-- Volatility, parallel safety, strictness, whose rights
SELECT proname || '(' || replace(pg_get_function_identity_arguments(f.oid), 'timestamp with time zone', 'timestamptz') || ')' AS function,
	   CASE provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END || CASE proparallel WHEN 's' THEN ' parallel safe' WHEN 'r' THEN ' parallel restricted' ELSE '' END
	   || CASE WHEN proisstrict THEN ' strict' ELSE '' END || CASE WHEN prosecdef THEN ' security definer' ELSE '' END || CASE WHEN proleakproof THEN ' leakproof' ELSE '' END
	   || CASE WHEN proretset THEN ' rows ' || prorows ELSE '' END AS labels
FROM functions f ORDER BY proname, oid::regprocedure::text COLLATE "C";

SET client_min_messages = warning;
DROP SCHEMA test_self CASCADE;
