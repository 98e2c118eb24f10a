# shellcheck shell=bash
# debian.sh: what the programs share that test/upgrade/run starts in a Debian with several majors of PostgreSQL. Source it with the checkout as the
# current folder, as root; it makes the folder $work, which $source's scripts write to, and starts nothing by itself.
#
#   ok NAME COMMAND ...            a test: COMMAND succeeds; "not ok" is followed by what it printed
#   answers EXPECTED DATABASE SQL  for ok: what SQL prints, or its SQLSTATE
#   ask -d DATABASE ...            psql of major $major, as a superuser; PGPORT leads it to one of several servers
#   make_cluster MAJOR, start MAJOR, stop MAJOR    a cluster in $work/MAJOR; start sets $major
#   end                            the last line, "N passed, N failed", and whether all have

# shellcheck disable=SC2034 # for the programs
source=$PWD
work=$(mktemp -d /tmp/upgrade.XXXXXX)
chown postgres: "$work"
passed=0
failed=0
ok() { # ok NAME COMMAND ...
	local name=$1 status=0
	shift
	"$@" >"$work/output" 2>&1 || status=$?
	if [ "$status" -eq 0 ]; then
		passed=$((passed + 1))
		echo "ok - $name"
	else
		failed=$((failed + 1))
		echo "not ok - $name"
		head -n 40 "$work/output" | cut -c 1-300 | sed 's/^/# /'
	fi
}
as_postgres() { (cd "$work" && runuser -u postgres -- "$@"); }
bin() { echo "/usr/lib/postgresql/$1/bin"; }
ask() { as_postgres "$(bin "$major")/psql" -XAtq -v ON_ERROR_STOP=1 -h "$work" "$@"; }
start() {
	major=$1
	as_postgres "$(bin "$1")/pg_ctl" -D "$work/$1" -l "$work/log.$1" -w -s start || { tail -n 30 "$work/log.$1"; return 1; }
}
stop() { as_postgres "$(bin "$1")/pg_ctl" -D "$work/$1" -w -s -m fast stop; }
make_cluster() {
	as_postgres "$(bin "$1")/initdb" -D "$work/$1" -U postgres -A trust -E UTF8 --locale=C --no-sync --data-checksums >/dev/null
	cat >>"$work/$1/postgresql.conf" <<-CONF
		listen_addresses = ''
		unix_socket_directories = '$work'
		fsync = off
		shared_preload_libraries = 'eventstore'
		# The worker would apply async projections, and seal: it is not to be there while two stores are compared.
		eventstore.databases = ''
	CONF
}
# answers EXPECTED DATABASE SQL: what the last statement prints; of an error, its SQLSTATE.
answers() {
	local got
	got=$(ask -d "$2" -v VERBOSITY=sqlstate -c "$3" 2>&1) || got=$(sed -n 's/.*ERROR: *//p' <<<"$got")
	[ "$1" = "$got" ] || { printf 'expected: %s\ngot: %s\n' "$1" "$got"; return 1; }
}
end() {
	echo
	echo "$passed passed, $failed failed"
	[ "$failed" -eq 0 ]
}
