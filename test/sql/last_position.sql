-- es_last_position: the last event that this session appended, and that is not rolled back.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
RESET client_min_messages;
CREATE SCHEMA test_last;
SET search_path = test_last, public;
\pset tuples_only on
\pset format unaligned

-- Whether it is that of the last event of a type, which is stored; and whether it is none
CREATE FUNCTION is_of(type text, what text) RETURNS text LANGUAGE sql AS
$$
	SELECT CASE WHEN l = (SELECT max(position) FROM eventstore.events e WHERE e.type = is_of.type AND category = 'last') THEN 'right: '
		   ELSE 'WRONG, of ' || coalesce((SELECT e.type FROM eventstore.events e WHERE position = l), 'nothing') || ': ' END || what
	FROM public.es_last_position() l
$$;
CREATE FUNCTION append(type text) RETURNS void LANGUAGE sql AS $$ SELECT public.es_append('last-' || random(), 0, type, '{}'::jsonb) $$;
CREATE FUNCTION append_and_fail(type text) RETURNS void LANGUAGE plpgsql AS
$$
BEGIN
	PERFORM append(type);
	RAISE division_by_zero;
EXCEPTION WHEN division_by_zero THEN
	NULL;
END
$$;
SELECT append('A');
SELECT is_of('A', 'an append');

-- Transactions
BEGIN;
SELECT append('lost');
SELECT is_of('lost', 'in the transaction it is the last one');
ROLLBACK;
SELECT is_of('A', 'rolled back');
BEGIN;
SELECT append('lost'), append('lost');
SELECT 1 / 0;
COMMIT;
SELECT is_of('A', 'a transaction that failed');
BEGIN;
SELECT append('B');
ROLLBACK AND CHAIN;
SELECT is_of('A', 'ROLLBACK AND CHAIN');
SELECT append('B');
COMMIT AND CHAIN;
SELECT append('lost');
ROLLBACK;
SELECT is_of('B', 'COMMIT AND CHAIN, then ROLLBACK');
SELECT append('lost'), 1 / (random() * 0)::int;
SELECT is_of('B', 'a statement that failed behind it');

-- Savepoints
BEGIN;
SAVEPOINT a;
SELECT append('lost');
ROLLBACK TO a;
SELECT is_of('B', 'rolled back to a savepoint');
COMMIT;
SELECT is_of('B', 'and committed');
BEGIN;
SELECT append('C');
SAVEPOINT a;
SELECT append('lost');
SAVEPOINT b;
SELECT append('lost');
RELEASE b;
SELECT is_of('lost', 'released');
SAVEPOINT c;
SELECT append('lost');
SAVEPOINT d;
RELEASE d;
ROLLBACK TO a;
SELECT is_of('C', 'what was released goes with what it was released into');
SELECT append('D');
RELEASE a;
SELECT is_of('D', 'appended again, and released');
COMMIT;
SELECT is_of('D', 'and committed');
BEGIN;
SAVEPOINT a;
SAVEPOINT b;
SAVEPOINT c;
SELECT append('E');
RELEASE a;
SELECT is_of('E', 'released three levels up');
SAVEPOINT a;
SELECT append('lost');
ROLLBACK TO a;
SELECT is_of('E', 'and another one rolled back');
ROLLBACK;
SELECT is_of('D', 'with the transaction all are gone');
BEGIN;
SELECT append('F');
SELECT count(append_and_fail('lost')) FROM generate_series(1, 100);
SELECT is_of('F', 'blocks with EXCEPTION');
COMMIT;
SELECT append_and_fail('lost');
SELECT is_of('F', 'one alone');

-- Every way through nested subtransactions, against what is in the table
CREATE FUNCTION wander(depth int) RETURNS void LANGUAGE plpgsql AS
$$
DECLARE
	fails boolean;
BEGIN
	FOR i IN 1 .. floor(random() * 4) LOOP
		fails := random() < 0.25;
		BEGIN
			IF random() < 0.5 THEN
				PERFORM append('W');
			END IF;
			IF depth < 5 THEN
				PERFORM wander(depth + 1);
			END IF;
			IF fails THEN
				RAISE division_by_zero;
			END IF;
		EXCEPTION WHEN division_by_zero THEN
			NULL;
		END;
		IF public.es_last_position() <> (SELECT max(position) FROM eventstore.events WHERE category = 'last') THEN
			RAISE 'es_last_position() is %', public.es_last_position();
		END IF;
	END LOOP;
END
$$;
SELECT setseed(0.3);
SELECT count(wander(0)) FROM generate_series(1, 100);
SELECT count(*) > 100, es_last_position() = max(position) FROM eventstore.events WHERE type = 'W';

-- A procedure that commits and rolls back
CREATE PROCEDURE steps() LANGUAGE plpgsql AS
$$
BEGIN
	PERFORM append('G');
	COMMIT;
	PERFORM append('lost');
	ROLLBACK;
	IF public.es_last_position() <> (SELECT max(position) FROM eventstore.events WHERE type = 'G') THEN
		RAISE 'it is not G''s';
	END IF;
	PERFORM append('lost');
	ROLLBACK;
END
$$;
CALL steps();
SELECT is_of('G', 'a procedure that commits');

-- Prepared, it is not decided yet, and whoever decides may be another session.
BEGIN;
SELECT append('prepared');
PREPARE TRANSACTION 'test_last';
SELECT is_of('G', 'PREPARE TRANSACTION');
COMMIT PREPARED 'test_last';
SELECT is_of('G', 'COMMIT PREPARED');

-- An exact retry has the position of the first time, as long as it is not rolled back.
SELECT es_append('last-retry', 0, 'Given', '{}', NULL, 'c0000000-0000-0000-0000-000000000001');
SELECT append('H');
BEGIN;
SELECT es_append('last-retry', 0, 'Given', '{}', NULL, 'c0000000-0000-0000-0000-000000000001');
SELECT is_of('Given', 'an exact retry');
ROLLBACK;
SELECT is_of('H', 'rolled back');

-- DISCARD
BEGIN;
DISCARD ALL;
ROLLBACK;
SELECT is_of('H', 'a DISCARD ALL that failed');
DISCARD PLANS;
DISCARD TEMP;
SELECT is_of('H', 'DISCARD PLANS and TEMP');
DISCARD ALL;
SET search_path = test_last, public;
SELECT es_last_position() IS NULL, 'DISCARD ALL';
SELECT append('I');
SELECT is_of('I', 'and an append');
BEGIN;
SELECT append('lost');
DISCARD SEQUENCES;
SELECT es_last_position() IS NULL, 'DISCARD SEQUENCES, after an append of the same transaction';
ROLLBACK;
SELECT es_last_position() IS NULL, 'whose rollback does not bring it back';

SET client_min_messages = warning;
DROP SCHEMA test_last CASCADE;
