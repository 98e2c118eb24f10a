# shellcheck shell=bash
# peers.sh: event stores for PostgreSQL that others wrote, from the npm registry, each with what it ships: tables, indexes, functions.
#
#   peers_fetch             into bench/node_modules, in these versions; returns 1 and prints why where that cannot be
#   peers_install           databases message_db, message_db_one and emmett in the cluster at hand
#
# None of their code is part of this project. PEERS=no leaves them out. Source lib.sh first.
# shellcheck disable=SC2154 # $root comes from lib.sh

message_db_version=1.3.1 emmett_version=0.42.0

# peers_have PACKAGE VERSION
peers_have() { grep -qs "\"version\": \"$2\"" "$root/bench/node_modules/$1/package.json"; }

peers_fetch() {
	local log
	[ "${PEERS:-yes}" != no ] || { echo 'PEERS=no'; return 1; }
	"$root/test/packages" peers >&2 || { echo 'npm is not installed'; return 1; }
	if peers_have @eventide/message-db "$message_db_version" && peers_have @event-driven-io/emmett-postgresql "$emmett_version"; then return 0; fi
	log=$(cd "$root/bench" && npm install --no-save --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error \
		"@eventide/message-db@$message_db_version" "@event-driven-io/emmett-postgresql@$emmett_version" 2>&1 </dev/null) ||
		{ echo "npm install failed: $(grep -m 1 . <<<"$log")"; return 1; }
}

peers_install() {
	local database
	for database in message_db message_db_one; do
		DATABASE_NAME=$database bash "$root/bench/node_modules/@eventide/message-db/database/install.sh" >/dev/null
	done
	bench_sql 'CREATE DATABASE emmett'
	(cd "$root/bench" && node --input-type=module - "postgresql://$PGUSER@${PGHOST//\//%2F}:$PGPORT/emmett" >/dev/null) <<-'END'
		import { getPostgreSQLEventStore } from "@event-driven-io/emmett-postgresql";
		const store = getPostgreSQLEventStore(process.argv[2]);
		await store.schema.migrate();
		await store.close();
	END
}
