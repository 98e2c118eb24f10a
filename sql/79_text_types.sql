-- The types of arguments that drivers send as text where an interval or a time is wanted: why they are what they are is told in
-- 80_typed_text.sql. The router's script has this part, too.

CREATE TYPE eventstore.interval_text;
CREATE FUNCTION eventstore.interval_text_in(cstring) RETURNS eventstore.interval_text
	LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textin';
COMMENT ON FUNCTION eventstore.interval_text_in(cstring) IS 'Input function of eventstore.interval_text.';
REVOKE ALL ON FUNCTION eventstore.interval_text_in(cstring) FROM PUBLIC;
CREATE FUNCTION eventstore.interval_text_out(eventstore.interval_text) RETURNS cstring
	LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textout';
COMMENT ON FUNCTION eventstore.interval_text_out(eventstore.interval_text) IS 'Output function of eventstore.interval_text.';
REVOKE ALL ON FUNCTION eventstore.interval_text_out(eventstore.interval_text) FROM PUBLIC;
CREATE TYPE eventstore.interval_text (INPUT = eventstore.interval_text_in, OUTPUT = eventstore.interval_text_out, LIKE = text, CATEGORY = 'T');
COMMENT ON TYPE eventstore.interval_text IS 'An interval that is given as text: what functions take, and no column has.';
CREATE CAST (text AS eventstore.interval_text) WITHOUT FUNCTION AS IMPLICIT;
COMMENT ON CAST (text AS eventstore.interval_text) IS 'A text where a function takes an interval as text.';
CREATE CAST (varchar AS eventstore.interval_text) WITHOUT FUNCTION AS IMPLICIT;
COMMENT ON CAST (varchar AS eventstore.interval_text) IS 'A varchar where a function takes an interval as text.';

CREATE TYPE eventstore.timestamptz_text;
CREATE FUNCTION eventstore.timestamptz_text_in(cstring) RETURNS eventstore.timestamptz_text
	LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textin';
COMMENT ON FUNCTION eventstore.timestamptz_text_in(cstring) IS 'Input function of eventstore.timestamptz_text.';
REVOKE ALL ON FUNCTION eventstore.timestamptz_text_in(cstring) FROM PUBLIC;
CREATE FUNCTION eventstore.timestamptz_text_out(eventstore.timestamptz_text) RETURNS cstring
	LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textout';
COMMENT ON FUNCTION eventstore.timestamptz_text_out(eventstore.timestamptz_text) IS 'Output function of eventstore.timestamptz_text.';
REVOKE ALL ON FUNCTION eventstore.timestamptz_text_out(eventstore.timestamptz_text) FROM PUBLIC;
CREATE TYPE eventstore.timestamptz_text (INPUT = eventstore.timestamptz_text_in, OUTPUT = eventstore.timestamptz_text_out, LIKE = text, CATEGORY = 'D');
COMMENT ON TYPE eventstore.timestamptz_text IS 'A time that is given as text: what functions take, and no column has.';
CREATE CAST (text AS eventstore.timestamptz_text) WITHOUT FUNCTION AS IMPLICIT;
COMMENT ON CAST (text AS eventstore.timestamptz_text) IS 'A text where a function takes a time as text.';
CREATE CAST (varchar AS eventstore.timestamptz_text) WITHOUT FUNCTION AS IMPLICIT;
COMMENT ON CAST (varchar AS eventstore.timestamptz_text) IS 'A varchar where a function takes a time as text.';
