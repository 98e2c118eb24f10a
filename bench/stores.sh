# shellcheck shell=bash
# stores.sh: the stores that are compared, with the same events in each, and what a client says to them. Source lib.sh first.
#
#   stores_make             all of them, in the cluster at hand; sets $has_peers and $why_no_peers
#   stores_loaded           markdown list: what is in them
#   store_call WHAT COLUMN  sets $database, $statement and $parameters (see bench/client.c)
#   store_run WHAT COLUMN CLIENT-OPTION ...    calls it; sets what bench_client does, and $wal (bytes a call)
#
# WHAT: append, exact (the expected version is given), batch; stream, last, all, category (reads).
# COLUMN, and where its events are:
#
#   scalar jsonb arrays     eventstore      this extension: the forms of es_append, the reading functions
#   plain unnest copy       twin            a table with the same columns and indexes; no version check, no stream row
#   generated               generated       the same, each id made by gen_random_uuid()
#   counted                 counted         as twin, and a table of streams whose row is updated in the same statement
#   plpgsql                 by_hand         the same two tables, and the function that a careful user would write
#   message_db              message_db      peers.sh: streams in many categories
#   message_db_one          message_db_one  the same, all streams in one category
#   emmett                  emmett          peers.sh
#
# Option, by environment: STREAMS.
# shellcheck disable=SC2034,SC2154 # what is set here is used by those who source this, and what is used comes from lib.sh

# shellcheck source-path=SCRIPTDIR source=peers.sh
. "$root/bench/peers.sh"
STREAMS=${STREAMS:-$((QUICK ? 10000 : 100000))}
categories=1000

# An event as the client sends it. Names are a category and a time-ordered uuid; a number of 12 digits ends both names and ids. The
# ids that the client makes come after those that es_append makes: their index grows at its right edge, as with them.
data='{"accountId": "018f3c5e-6b1a-7c44-9d2e-1f0a2b3c4d5e", "amount": 12550, "currency": "EUR", "reference": "INV-2024-000123",
 "note": "payment for goods received on 2024-05-17", "valueDate": "2024-05-18", "channel": "online", "approved": true}'
metadata='{"correlation_id": "9f86d081884c7d65", "user": "u1234567"}'
category='account%c'
name_rest=-018f3c5e-6b1a-7c44-9d2e-
id=fe8f3c5e-6b1a-7000-8000-%i

first=100000000000 # number of the first stream; those of 10, 100 and 1000 events come a million later each
tens=$((first + 1000000)) hundreds=$((first + 2000000)) thousands=$((first + 3000000))

# --- Making them -----------------------------------------------------------------------------------------------------------

# stores_fill FIRST COUNT SIZE: streams of one size, by the form of es_append that takes arrays
stores_fill() {
	bench_sql "SELECT count(es_append('account' || to_char(s % $categories, 'FM000') || '$name_rest' || s, 0,
			array_fill('Opened'::text, ARRAY[$3]), array_fill('$data'::jsonb, ARRAY[$3]), array_fill('$metadata'::jsonb, ARRAY[$3])))
		FROM generate_series($1, $1 + $2 - 1) s" >/dev/null
}

# stores_copy QUERY DATABASE TABLE: from the extension's tables into a peer's
stores_copy() { psql -Xqc "COPY ($1) TO STDOUT" | psql -Xq -v ON_ERROR_STOP=1 -d "$2" -c "COPY $3 FROM STDIN"; }

stores_make_ours() {
	bench_sql 'CREATE EXTENSION eventstore'
	stores_fill "$first" "$STREAMS" 1
	stores_fill "$tens" 500 10
	stores_fill "$hundreds" 100 100
	stores_fill "$thousands" 20 1000
	last=$(bench_sql 'SELECT max(position) FROM eventstore.events')
}

# stores_make_twin SCHEMA
stores_make_twin() {
	bench_sql "CREATE SCHEMA $1" \
		"CREATE TABLE $1.events (LIKE eventstore.events INCLUDING ALL)" "DROP INDEX $1.events_tags_position_idx" "CREATE TABLE $1.streams (LIKE eventstore.streams INCLUDING ALL)" \
		"ALTER TABLE $1.streams SET ($(bench_sql "SELECT coalesce(array_to_string(reloptions, ', '), 'fillfactor = 100') FROM pg_class
			WHERE oid = 'eventstore.streams'::regclass"))" \
		"CREATE SEQUENCE $1.positions" "SELECT setval('$1.positions', $last)" \
		"ALTER TABLE $1.events ALTER position SET DEFAULT nextval('$1.positions'), ALTER recorded_at SET DEFAULT clock_timestamp()" \
		"INSERT INTO $1.events SELECT * FROM eventstore.events ORDER BY position" "INSERT INTO $1.streams SELECT * FROM eventstore.streams" >/dev/null
}

stores_make_by_hand() {
	stores_make_twin by_hand
	bench_sql "CREATE FUNCTION by_hand.append(stream text, expected_version bigint, type text, data jsonb, metadata jsonb, id uuid)
			RETURNS bigint LANGUAGE plpgsql AS \$\$
		DECLARE
			new_version bigint;
		BEGIN
			INSERT INTO by_hand.streams AS s VALUES (append.stream, 1, clock_timestamp(), false)
				ON CONFLICT ON CONSTRAINT streams_pkey DO UPDATE SET version = s.version + 1, recorded_at = excluded.recorded_at
				RETURNING s.version INTO new_version;
			IF expected_version >= 0 AND new_version <> expected_version + 1 THEN
				RAISE EXCEPTION 'wrong expected version';
			END IF;
			INSERT INTO by_hand.events VALUES (nextval('by_hand.positions'), append.stream, split_part(append.stream, '-', 1), new_version,
				append.id, append.type, append.data, append.metadata, NULL, clock_timestamp());
			RETURN new_version;
		END \$\$" "CREATE FUNCTION by_hand.append(stream text, expected_version bigint, types text[], data jsonb[], metadata jsonb[], ids uuid[])
			RETURNS bigint LANGUAGE plpgsql AS \$\$
		DECLARE
			new_version bigint;
		BEGIN
			INSERT INTO by_hand.streams AS s VALUES (append.stream, cardinality(types), clock_timestamp(), false)
				ON CONFLICT ON CONSTRAINT streams_pkey DO UPDATE SET version = s.version + excluded.version, recorded_at = excluded.recorded_at
				RETURNING s.version INTO new_version;
			IF expected_version >= 0 AND new_version <> expected_version + cardinality(types) THEN
				RAISE EXCEPTION 'wrong expected version';
			END IF;
			INSERT INTO by_hand.events SELECT nextval('by_hand.positions'), append.stream, split_part(append.stream, '-', 1),
				new_version - cardinality(types) + n, e.id, e.type, e.data, e.metadata, NULL, clock_timestamp()
				FROM unnest(ids, types, append.data, append.metadata) WITH ORDINALITY e (id, type, data, metadata, n);
			RETURN new_version;
		END \$\$"
}

stores_make_peers() {
	local messages='position, stream_name, type, data, metadata, id' query
	peers_install
	query="SELECT version - 1, %s, type, data, metadata, id FROM eventstore.events ORDER BY position"
	stores_copy "${query/\%s/stream}" message_db "message_store.messages ($messages)"
	stores_copy "${query/\%s/regexp_replace(stream, \'^account...\', \'account000\')}" message_db_one "message_store.messages ($messages)"
	stores_copy "SELECT stream, version, category, '{}' FROM eventstore.streams JOIN (SELECT DISTINCT stream, category FROM eventstore.events) e USING (stream)" \
		emmett 'emt_streams (stream_id, stream_position, stream_type, stream_metadata)'
	# The transaction's id is one that has committed, so that readers see the messages.
	stores_copy "SELECT version, $(PGDATABASE=emmett bench_sql 'SELECT pg_current_xact_id()'), stream, '1', id, type, data, metadata
		FROM eventstore.events ORDER BY position" \
		emmett 'emt_messages (stream_position, transaction_id, stream_id, message_schema_version, message_id, message_type, message_data, message_metadata)'
}

stores_make() {
	local database
	stores_make_ours
	stores_make_twin twin
	stores_make_twin generated
	stores_make_twin counted
	stores_make_by_hand
	has_peers=yes
	why_no_peers=$(peers_fetch) || has_peers=
	[ -z "$has_peers" ] || stores_make_peers
	for database in $(bench_sql 'SELECT datname FROM pg_database WHERE datallowconn'); do PGDATABASE=$database bench_sql 'VACUUM (ANALYZE)'; done
}

stores_loaded() {
	echo "- load: $STREAMS streams of 1 event, 500 of 10, 100 of 100, 20 of 1000, in $categories categories, $last events; an event has $(bench_sql \
		"SELECT pg_column_size(data) || ' bytes of data, ' || pg_column_size(metadata) || ' of metadata, a stream name ' || octet_length(stream) || ' bytes'
		FROM eventstore.events WHERE position = 1")"
	if [ -n "$has_peers" ]; then
		echo "- peers: message-db $message_db_version, Emmett (emmett-postgresql) $emmett_version, from the npm registry, as they ship"
	else
		echo "- peers: left out ($why_no_peers)"
	fi
}

# stores_with NAME ...: the columns among these that there are
stores_with() {
	local name
	for name; do
		case $name in message_db* | emmett) [ -n "$has_peers" ] || continue ;; esac
		echo "$name"
	done
}

# --- Tables ----------------------------------------------------------------------------------------------------------------

declare -A store_title=([scalar]='es_append, scalar' [jsonb]='es_append, jsonb' [arrays]='es_append, arrays' [es]='this extension'
	[plain]='INSERT' [generated]='INSERT, id generated' [unnest]='INSERT FROM unnest' [copy]='COPY' [select]='prepared SELECT' [counted]='UPDATE + INSERT' [plpgsql]='plpgsql'
	[message_db]='message-db' [message_db_one]='message-db, one category' [emmett]='Emmett')

# store_heads TITLE COLUMN ...: the first two lines of a table
store_heads() {
	local column
	printf '\n| %s |' "$1"
	for column in "${@:2}"; do printf ' %s |' "${store_title[$column]}"; done
	printf '\n|'
	printf ' --- |%.0s' "$@"
	echo
}

# store_row TITLE ROW BASE EXPRESSION FORMAT COLUMN ...: medians x of numbers[ROW.COLUMN], as the expression makes them, and their
# ratio to the base column's. What was never measured is a dash; a * says that failures[ROW.COLUMN] calls were refused.
store_row() {
	local column key median
	printf '| %s |' "$1"
	for column in "${@:6}"; do
		key=$2.$column
		if [ -z "${numbers[$key]:-}" ]; then printf ' — |'; continue; fi
		median=$(store_medians "$key")
		printf " $5 (%.2f)" "$(bench_calc "${4//x/$median}" %.6f)" "$(bench_ratio "${numbers[$key]}" "${numbers[$2.$3]}")"
		[ "${failures[$key]:-0}" -eq 0 ] || printf ' *'
		printf ' |'
	done
	echo
}
store_medians() { local all; read -ra all <<<"${numbers[$1]}"; bench_median "${all[@]}"; }

# --- What a client says ----------------------------------------------------------------------------------------------------

quoted() { sed 's/["\\]/\\&/g; s/.*/"&"/' <<<"${1//$'\n'/ }"; } # as an element of an array

# store_write COLUMN VERSION: one event
store_write() {
	local values="VALUES (nextval('%s.positions'), \$1, \$2, \$3, \$4, \$5, \$6, \$7, NULL, clock_timestamp())"
	case $1 in
		scalar)
			statement='SELECT es_append($1, $2, $3, $4::jsonb, $5::jsonb)'
			parameters=("$name" "$2" Paid "$data" "$metadata") ;;
		jsonb)
			statement='SELECT es_append($1, $2, $3::jsonb)'
			parameters=("$name" "$2" "{\"type\": \"Paid\", \"data\": $data, \"metadata\": $metadata}") ;;
		plain)
			statement="INSERT INTO twin.events ${values/\%s/twin}"
			parameters=("$name" "$category" %i "$id" Paid "$data" "$metadata") ;;
		generated)
			statement="INSERT INTO generated.events VALUES (nextval('generated.positions'), \$1, \$2, \$3, gen_random_uuid(), \$4, \$5, \$6, NULL, clock_timestamp())"
			parameters=("$name" "$category" %i Paid "$data" "$metadata") ;;
		counted)
			statement="WITH s AS (UPDATE counted.streams SET version = version + 1, recorded_at = clock_timestamp() WHERE stream = \$1
					AND (\$7::bigint < 0 OR version = \$7) RETURNING stream, version)
				INSERT INTO counted.events SELECT nextval('counted.positions'), stream, \$2, version, \$3, \$4, \$5, \$6, NULL, clock_timestamp()
				FROM s RETURNING version"
			parameters=("$name" "$category" "$id" Paid "$data" "$metadata" "$2") ;;
		plpgsql)
			statement='SELECT by_hand.append($1, $2, $3, $4::jsonb, $5::jsonb, $6::uuid)'
			parameters=("$name" "$2" Paid "$data" "$metadata" "$id") ;;
		message_db | message_db_one)
			statement='SELECT write_message($1, $2, $3, $4, $5)'
			parameters=("$id" "$name" Paid "$data" "$metadata")
			[ "$2" = -1 ] || { statement='SELECT write_message($1, $2, $3, $4, $5, $6::bigint - 1)'; parameters+=("$2"); } ;;
		emmett)
			statement='SELECT * FROM emt_append_to_stream($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)'
			parameters=("{$id}" "{$(quoted "$data")}" "{$(quoted "$metadata")}" '{1}' '{Paid}' '{E}' "$name" "$category" "$2" 'emt:default')
			[ "$2" != -1 ] || { statement=${statement/\$9, \$10/NULL, \$9}; unset 'parameters[8]'; } ;;
	esac
}

# store_write_batch COLUMN: many events, any version
store_write_batch() {
	local types='{%[Paid%]}' ids="{%[$id%]}" all_data all_metadata
	all_data="{%[$(quoted "$data")%]}"
	all_metadata="{%[$(quoted "$metadata")%]}"
	case $1 in
		arrays)
			statement='SELECT es_append($1, -1, $2::text[], $3, $4)'
			parameters=("$name" "$types" "$all_data" "$all_metadata") ;;
		jsonb)
			statement='SELECT es_append($1, -1, $2::jsonb)'
			parameters=("$name" "[%[{\"type\": \"Paid\", \"data\": $data, \"metadata\": $metadata}%]]") ;;
		unnest)
			statement="INSERT INTO twin.events SELECT nextval('twin.positions'), \$1, \$2, \$3 + n, e.id, e.type, e.data, e.metadata, NULL,
				clock_timestamp() FROM unnest(\$4::uuid[], \$5::text[], \$6::jsonb[], \$7::jsonb[]) WITH ORDINALITY e (id, type, data, metadata, n)"
			parameters=("$name" "$category" %i000 "$ids" "$types" "$all_data" "$all_metadata") ;;
		copy)
			statement='COPY twin.events (stream, category, version, id, type, data, metadata) FROM STDIN'
			parameters=("$name"$'\t'"$category"$'\t'%i$'\t'"$id"$'\t'Paid$'\t'"${data//$'\n'/ }"$'\t'"$metadata"$'\n') ;;
		plpgsql)
			statement='SELECT by_hand.append($1, -1, $2::text[], $3::jsonb[], $4::jsonb[], $5::uuid[])'
			parameters=("$name" "$types" "$all_data" "$all_metadata" "$ids") ;;
		message_db | message_db_one)
			statement='SELECT max(write_message(e.id, $1, $2, e.data, e.metadata)) FROM unnest($3::varchar[], $4::jsonb[], $5::jsonb[]) e (id, data, metadata)'
			parameters=("$name" Paid "$ids" "$all_data" "$all_metadata") ;;
		emmett)
			store_write emmett -1
			parameters=("$ids" "$all_data" "$all_metadata" '{%[1%]}' "$types" '{%[E%]}' "$name" "$category" 'emt:default') ;;
	esac
}

# store_read WHAT COLUMN
store_read() {
	local emmett="SELECT stream_id, stream_position, global_position, message_data, message_metadata, message_schema_version, message_type, message_id
		FROM emt_messages WHERE partition = 'emt:default' AND is_archived = FALSE"
	parameters=("$name")
	case $1.$2 in
		stream.es) statement='SELECT * FROM es_read($1)' ;;
		stream.select) statement='SELECT * FROM eventstore.events WHERE stream = $1 ORDER BY version' ;;
		stream.message_db*) statement='SELECT * FROM get_stream_messages($1)' ;;
		stream.emmett) statement="$emmett AND stream_id = \$1 ORDER BY stream_position ASC" ;;
		last.es) statement='SELECT * FROM es_last_event($1)' ;;
		last.select) statement='SELECT * FROM eventstore.events WHERE stream = $1 ORDER BY version DESC LIMIT 1' ;;
		last.message_db*) statement='SELECT * FROM get_last_stream_message($1)' ;;
		all.*) parameters=(%p) ;;&
		all.es) statement='SELECT * FROM es_read_all($1, 1000)' ;;
		all.select) statement='SELECT * FROM eventstore.events WHERE position > $1 ORDER BY position LIMIT 1000' ;;
		all.emmett) statement="$emmett AND transaction_id < pg_snapshot_xmin(pg_current_snapshot()) AND global_position >= \$1
			ORDER BY transaction_id, global_position LIMIT 1000" ;;
		category.*) parameters=("$category" %p) ;;&
		category.es) statement='SELECT * FROM es_read_category($1, $2, 1000)' ;;
		category.select) statement='SELECT * FROM eventstore.events WHERE category = $1 AND position > $2 ORDER BY position LIMIT 1000' ;;
		category.message_db*) statement='SELECT * FROM get_category_messages($1, $2, 1000)' ;;
		*) return 1 ;; # there is no such thing
	esac
}

store_call() {
	local name=$category$name_rest%s category=$category
	case $2 in
		message_db | message_db_one | emmett) database=$2 ;;
		*) database=postgres ;;
	esac
	[ "$2" != message_db_one ] || category=account000 name=account000$name_rest%s
	case $1 in
		append) store_write "$2" -1 ;;
		exact) store_write "$2" %v ;;
		batch) store_write_batch "$2" ;;
		*) store_read "$1" "$2" ;;
	esac
}

# Versions as they are, for clients that give the exact one.
store_versions() {
	case $1 in
		scalar | jsonb) echo 'SELECT right(stream, 12), version FROM eventstore.streams' ;;
		counted) echo 'SELECT right(stream, 12), version FROM counted.streams' ;;
		plpgsql) echo 'SELECT right(stream, 12), version FROM by_hand.streams' ;;
		message_db*) echo 'SELECT right(stream_name, 12), max(position) + 1 FROM messages GROUP BY 1' ;;
		emmett) echo 'SELECT right(stream_id, 12), stream_position FROM emt_streams' ;;
	esac
}

runs=0
commit=off
store_run() {
	local before options=()
	store_call "$1" "$2"
	[ "$1" != exact ] || options=(-v "$(store_versions "$2")")
	runs=$((runs + 1))
	before=$(bench_sql "SELECT pg_current_wal_insert_lsn() - '0/0'")
	bench_client -s "$first:$STREAMS" -k "$categories" -i $((first + runs * 10000000)) -r "$runs" "${options[@]}" "${@:3}" \
		"dbname=$database options='$PGOPTIONS -c synchronous_commit=$commit -c search_path=message_store,public'" "$statement" "${parameters[@]}"
	wal=$((($(bench_sql "SELECT pg_current_wal_insert_lsn() - '0/0'") - before) / made))
}
