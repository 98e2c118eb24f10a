# shellcheck shell=bash
# lib.sh: what the programs in this folder share. Source it; it runs nothing by itself.
#
#   bench_start [setting=value ...]   a throw-away cluster (test/cluster), gone at exit; PGHOST etc. lead to it
#   bench_sql STATEMENT ...           each in a transaction of its own; unaligned rows, a tab between columns
#   bench_median NUMBER ...           the lower one of the two in the middle where their count is even
#   bench_calc EXPRESSION [FORMAT]    arithmetic with fractions
#   bench_header                      markdown list: on which machine, with which server and settings
#
# After bench_start, $work is a folder for scripts and output.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bindir=$("${PG_CONFIG:-pg_config}" --bindir)

bench_start() {
	work=$(mktemp -d "${TMPDIR:-/tmp}/eventstore-bench.XXXXXX")
	chmod 711 "$work"
	trap 'bench_stop' EXIT
	trap 'exit 130' INT TERM
	"$root/test/cluster" start "$work/pg" "$@"
	eval "$("$root/test/cluster" env "$work/pg")"
	export PGOPTIONS='-c client_min_messages=warning'
}

bench_stop() {
	[ ! -d "$work/pg" ] || "$root/test/cluster" destroy "$work/pg" || :
	rm -rf "$work"
}

bench_sql() {
	local statement args=()
	for statement in "$@"; do args+=(-c "$statement"); done
	"$bindir/psql" -XqAt -F $'\t' -v ON_ERROR_STOP=1 "${args[@]}"
}

bench_median() { printf '%s\n' "$@" | sort -g | awk '{a[NR] = $1} END {print a[int((NR + 1) / 2)]}'; }

bench_calc() { awk "BEGIN {printf \"${2:-%.2f}\", $1}"; }

bench_header() {
	local shown=fsync,full_page_writes,shared_buffers,max_wal_size,wal_level,wal_compression,autovacuum,jit
	echo "- machine: $(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1), $(nproc) CPUs," \
		"$(awk '/MemTotal/ {printf "%.0f GB", $2 / 1048576}' /proc/meminfo), $(uname -sr)"
	echo "- server: $(bench_sql 'SELECT version()' | cut -d' ' -f1,2);" \
		"$(bench_sql "SELECT string_agg(name || '=' || current_setting(name), ', ') FROM unnest('{$shown}'::text[]) name")"
}
