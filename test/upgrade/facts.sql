-- What a store is, as its users see it: run before and after pg_upgrade, it prints the same. The store is the one of store-0.1.0.sql, with
-- what test/upgrade/more.sql adds.
\pset format unaligned
\pset tuples_only on
SELECT count(*), max(position), md5(string_agg(e::text, '|' ORDER BY position)) FROM eventstore.events e;
SELECT count(*), md5(string_agg(s::text, '|' ORDER BY stream)) FROM eventstore.streams s;
SELECT last_value FROM eventstore.positions;
SELECT last_value FROM eventstore.subscription_tokens;
SELECT last_value FROM eventstore.subscription_revisions;
SELECT es_head();
SELECT position FROM eventstore.events WHERE position <= es_position_at((SELECT recorded_at FROM eventstore.events WHERE position = 60)) ORDER BY 1 DESC LIMIT 1;
SELECT name, partition, consumer, checkpoint, lag_events, parked, lease_end, state FROM eventstore.subscription_status ORDER BY name, partition;
SELECT subscription, position, reason, attempts FROM eventstore.parked ORDER BY 1, 2;
SELECT subscription, token, delivered, acked FROM eventstore.subscription_shares WHERE token <> 0 ORDER BY 1, 2;
SELECT name, mode, state, position, lag, owner, last_error_code, events_applied FROM eventstore.projection_status ORDER BY name;
SELECT * FROM totals t ORDER BY t::text;
SELECT * FROM latest t ORDER BY t::text;
SELECT * FROM by_clerk t ORDER BY t::text;
SELECT * FROM report t ORDER BY t::text;
SELECT * FROM log t ORDER BY t::text;
SELECT * FROM quick t ORDER BY t::text;
SELECT * FROM states t ORDER BY t::text;
SELECT role, level, category, tenant FROM eventstore.grants ORDER BY 1, 2, 3, 4;
SELECT count(*), min(category), max(category) FROM (SELECT set_config('role', 'shop_acme', false)) r, LATERAL es_read_all(0, 1000) e;
RESET ROLE;
SELECT es_reveal(data) FROM eventstore.events WHERE stream LIKE 'person-%' ORDER BY position;
SELECT subject, reason FROM eventstore.erasures;
SELECT stream, version, keys, reason FROM eventstore.redactions;
SELECT name, max_count FROM eventstore.retention;
SELECT stream, count(*) FROM eventstore.removed_events GROUP BY 1 ORDER BY 1;
SELECT seal, upto, digest FROM eventstore.seals ORDER BY 1;
SELECT * FROM es_verify_seals();
SELECT stream, version, state FROM eventstore.snapshots ORDER BY 1, schema_version;
SELECT l.version, l.state, array_length(l.events, 1) FROM es_load('account-1') l;
SELECT position FROM es_read_query('[{"tags": ["customer:1"]}]', 0, NULL);
SELECT * FROM es_verify();
SELECT p.name, v.* FROM eventstore.projections p, es_verify_projection(p.name) v WHERE p.state = 'running' AND p.mode = 'inline';
SELECT relrowsecurity FROM pg_class WHERE oid = 'eventstore.events'::regclass;
SELECT es_version();
