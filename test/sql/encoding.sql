-- Names are bytes: they compare byte by byte, and their limits count bytes.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
CREATE EXTENSION IF NOT EXISTS pgtap;
RESET client_min_messages;
SET client_encoding = utf8;
\pset tuples_only on
\pset format unaligned
SELECT * FROM no_plan();

SELECT is(es_append(repeat('é', 256), 0, 'T', '{}'), 1::bigint, '256 characters of 2 bytes');
SELECT is(es_append(repeat('€', 170) || 'ab', 0, 'T', '{}'), 1::bigint, '170 characters of 3 bytes and 2 of one');
SELECT is(es_append(repeat('🐘', 128), 0, repeat('🐘', 64), '{}', tags => ARRAY[repeat('🐘', 128)]), 1::bigint, '128 characters of 4 bytes, types and tags likewise');
SELECT throws_ok(format('SELECT es_append(%L, -1, ''T'', ''{}'')', stream), '54000', 'stream name is too long', length(stream) || ' characters, ' || octet_length(stream) || ' bytes')
FROM unnest(ARRAY[repeat('é', 257), repeat('é', 256) || 'a', repeat('€', 171), repeat('🐘', 128) || 'a', repeat('a', 513)]) stream;
SELECT throws_ok(format('SELECT es_append(''encoding-1'', -1, %L, ''{}'')', type), '54000', 'event type is too long', octet_length(type) || ' bytes of type')
FROM unnest(ARRAY[repeat('é', 129), repeat('🐘', 64) || 'a', repeat('a', 257)]) type;

-- Equal to the eye, or to a language's rules, is not equal.
SELECT is(es_append(stream, 0, 'T', to_jsonb(nr)), 1::bigint, 'another stream: ' || stream)
FROM unnest(ARRAY['encoding-a', 'encoding-A', 'encoding-ä', U&'encoding-a\0308', 'encoding-ª', 'encoding-a ', ' encoding-a', 'encoding–a', 'encoding-ß', 'encoding-ss', 'encoding-ı', 'encoding-i', U&'encoding-\200ba', 'encoding-а'])
	 WITH ORDINALITY s (stream, nr);
SELECT is((SELECT data FROM es_read(stream)), to_jsonb(nr), 'reads back: ' || stream)
FROM unnest(ARRAY['encoding-a', 'encoding-A', 'encoding-ä', U&'encoding-a\0308', 'encoding-ª', 'encoding-a ', ' encoding-a', 'encoding–a', 'encoding-ß', 'encoding-ss', 'encoding-ı', 'encoding-i', U&'encoding-\200ba', 'encoding-а'])
	 WITH ORDINALITY s (stream, nr);
SELECT is((SELECT count(*) FROM es_read_category('encoding')), 12::bigint, 'one category, other dashes are none');
SELECT is((SELECT category FROM es_read(stream)), category, 'category of ' || stream) FROM (VALUES (' encoding-a', ' encoding'), ('encoding–a', 'encoding–a'), ('encoding-ä', 'encoding')) v (stream, category);
SELECT is((SELECT category FROM es_read(repeat('🐘', 128))), repeat('🐘', 128), 'a category as long as the name');

-- Types in a filter
SELECT is(es_append('encoding-types', 0, types => ARRAY['é', 'É', 'e', U&'e\0301'], data => '{1,2,3,4}'::jsonb[]), 4::bigint);
SELECT is((SELECT string_agg(data::text, ',' ORDER BY version) FROM es_read_category('encoding', types => ARRAY['é'])), '1', 'composed');
SELECT is((SELECT string_agg(data::text, ',' ORDER BY version) FROM es_read_category('encoding', types => ARRAY[U&'e\0301'])), '4', 'decomposed');
SELECT is((SELECT version FROM es_last_event('encoding-types', 'É')), 2::bigint, 'the last of a type');

-- Locks are taken in byte order, whatever the collation: results still come in the order of the batch.
SELECT is((SELECT string_agg(stream, ' ' ORDER BY nr) FROM es_append_streams('[{"stream": "encoding-z", "expected_version": 0, "events": {"type": "T"}}, {"stream": "encoding-Z", "expected_version": 0, "events": {"type": "T"}},
	{"stream": "encoding-é", "expected_version": 0, "events": {"type": "T"}}, {"stream": "encoding-zz", "expected_version": 0, "events": {"type": "T"}}, {"stream": "encoding", "expected_version": 0, "events": {"type": "T"}}]')
	WITH ORDINALITY r (stream, version, position, nr)), 'encoding-z encoding-Z encoding-é encoding-zz encoding', 'a batch of them');

-- Escapes in JSON are the characters that they stand for.
SELECT is(es_append('encoding-json', 0, '[{"type": "caf\u00e9", "tags": ["\u20ac"], "data": "\ud83d\udc18", "metadata": {"\u00e9": "\u00e9"}}]'), 1::bigint);
SELECT is((SELECT concat_ws(' ', type, tags, data, metadata) FROM es_read('encoding-json')), 'café {€} "🐘" {"é": "é"}', 'escapes');

-- A client in another encoding means the same names.
SET client_encoding = latin1;
SELECT is((SELECT count(*) FROM es_read(E'encoding-' || chr(228))), 1::bigint, 'from a client in LATIN1');
SET client_encoding = utf8;
SELECT * FROM finish();
