# shellcheck shell=bash
# lib.sh: what the programs in this folder share. Source it; it runs nothing by itself.
#
#   bench_build                       builds and installs the extension, unless bench/run has done so
#   bench_start [setting=value ...]   a throw-away cluster (test/cluster), gone at exit; PGHOST etc. lead to it
#   bench_stop
#   bench_sql STATEMENT ...           each in a transaction of its own; unaligned rows, a tab between columns
#   bench_find_streams                has the server know where the streams are, as one that has been running for a while does
#   bench_client ARGUMENT ...         bench/client.c; sets $rate, $took (ms), $calls, $failed, $rows, $backend and $made (see there)
#   bench_median NUMBER ...           the lower one of the two in the middle where their count is even
#   bench_ratio NUMBERS NUMBERS       median of the quotients, pair by pair: of the rounds' ratios
#   bench_spread NUMBER ...           (largest - smallest) / median
#   bench_calc EXPRESSION [FORMAT]    arithmetic with fractions
#   bench_turn ROUND NAME ...         the names, beginning with another one in each round
#   bench_save NAME NUMBER ...        keeps the rounds' numbers for bench/targets
#   bench_start_counting [setting=value ...]   starts the cluster again, under callgrind
#   bench_count CALLS COMMAND ...     COMMAND ... -t N is to call bench_client; sets $instructions, of a call
#   bench_machine, bench_settings     markdown list: on which machine, with which server and settings
#
# After bench_start, $work is a folder for scripts and output. The options that all have: $QUICK, $ROUNDS and $seconds; the last
# two are empty where the caller left them to the program.
# shellcheck disable=SC2034 # what is set here is used by those who source this

seconds=$(tr '\0' '\n' </proc/$$/environ | sed -n 's/^SECONDS=//p') # what bash calls so is its own clock by now
QUICK=${QUICK:-0} ROUNDS=${ROUNDS:-}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source-path=SCRIPTDIR source=../test/lib.sh
. "$root/test/lib.sh"

bench_build() {
	[ -z "${BENCH_BUILT:-}" ] || return 0
	pushd "$root" >/dev/null || return
	prepare bench
	build_and_install bench/client.bin bench/follow.bin bench/subscribe.bin >&2
	popd >/dev/null || return
	export BENCH_BUILT=1
}

bench_start() {
	[ -n "${work:-}" ] || work=$(mktemp -d "${TMPDIR:-/tmp}/eventstore-bench.XXXXXX")
	chmod 711 "$work"
	PG_CONFIG=$("$root/test/pg-config")
	bindir=$("$PG_CONFIG" --bindir)
	export PG_CONFIG PATH=$bindir:$PATH
	trap 'bench_stop; rm -rf "$work"' EXIT
	trap 'exit 130' INT TERM
	"$root/test/cluster" start "$work/pg" "$@"
	eval "$("$root/test/cluster" env "$work/pg")"
	export PGOPTIONS='-c client_min_messages=warning'
}

bench_stop() { [ ! -d "$work/pg" ] || "$root/test/cluster" destroy "$work/pg" || :; }

bench_sql() {
	local statement args=()
	for statement in "$@"; do args+=(-c "$statement"); done
	psql -XqAt -F $'\t' -v ON_ERROR_STOP=1 "${args[@]}"
}

bench_find_streams() { bench_sql 'SELECT count(es_stream_version(stream)) FROM eventstore.streams' >/dev/null; }

bench_client() { read -r rate took calls failed rows backend made < <("$root/bench/client.bin" "$@") && [ -n "$made" ]; }

bench_median() { printf '%s\n' "$@" | sort -g | awk '{a[NR] = $1} END {print a[int((NR + 1) / 2)]}'; }
bench_spread() { printf '%s\n' "$@" | sort -g | awk '{a[NR] = $1} END {print (a[NR] - a[1]) / a[int((NR + 1) / 2)]}'; }
bench_calc() { awk "BEGIN {printf \"${2:-%.2f}\", ($1)}"; }

bench_ratio() {
	local above below i quotients=()
	read -ra above <<<"$1"
	read -ra below <<<"$2"
	for i in "${!above[@]}"; do quotients+=("$(bench_calc "${above[i]} / ${below[i]}" %.4f)"); done
	bench_median "${quotients[@]}"
}

bench_turn() {
	local names=("${@:2}") first=$(($1 % ($# - 1)))
	echo "${names[@]:first}" "${names[@]:0:first}"
}

bench_save() { [ -z "${BENCH_RESULTS:-}" ] || echo "$@" >>"$BENCH_RESULTS"; }

bench_machine() {
	echo "- machine: $(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1), $(nproc) CPUs," \
		"$(awk '/MemTotal/ {printf "%.0f GB", $2 / 1048576}' /proc/meminfo), $(uname -sr)"
	echo "- server: $("$PG_CONFIG" --version), client on the same machine, unix socket"
}

bench_settings() {
	local shown=fsync,full_page_writes,wal_level,wal_compression,shared_buffers,max_wal_size,autovacuum,jit,shared_preload_libraries
	echo "- settings: $(bench_sql "SELECT string_agg(name || '=' || current_setting(name), ', ') FROM unnest('{$shown}'::text[]) name")"
}

# --- Instructions ----------------------------------------------------------------------------------------------------------

bench_as_owner() { (cd / && as_owner "$@"); }

# What does not depend on the call stays out, or the same calls would not cost the same: writing and flushing are left to processes
# that do not get to it, no statistics are counted, no page is logged as a whole, and addresses are the same each time.
bench_start_counting() {
	local dir setting options=(-c synchronous_commit=off -c track_counts=off -c full_page_writes=off -c wal_buffers=256MB
		-c bgwriter_lru_maxpages=0 -c wal_writer_delay=10s -c checkpoint_timeout=1d) fixed=()
	for setting in "$@"; do options+=(-c "$setting"); done
	! setarch -R true 2>/dev/null || fixed=(setarch -R)
	dir=$(realpath "$work/pg")
	"$root/test/cluster" stop "$work/pg"
	bench_as_owner mkdir -p "$dir/counts"
	bench_as_owner "${fixed[@]}" valgrind --tool=callgrind --trace-children=no --callgrind-out-file="$dir/counts/%p" \
		"$bindir/postgres" -D "$dir/data" "${options[@]}" >"$dir/valgrind.log" 2>&1 &
	counting=$! counts=$dir/counts
	until bench_sql 'SELECT 1' >/dev/null 2>&1; do
		kill -0 "$counting" 2>/dev/null || { cat "$dir/valgrind.log" >&2; exit 1; }
		sleep 0.5
	done
}

bench_stop_counting() {
	"$root/test/cluster" stop "$work/pg"
	wait "$counting" || :
}

# bench_count_session COMMAND ...: a server process leaves its count when it ends, after its client has left
bench_count_session() {
	"$@"
	until grep -qs '^totals:' "$counts/$backend"; do sleep 0.1; done
	instructions=$(sed -n 's/^totals: //p' "$counts/$backend")
	rm -f "$counts"/*
}

# The difference between two sessions, one longer by so many calls: neither the start and the end of a session is in it, nor the
# first calls, which are planned one by one.
bench_count() {
	local short
	bench_count_session "${@:2}" -t 10
	short=$instructions
	bench_count_session "${@:2}" -t $((10 + $1))
	instructions=$(((instructions - short) / $1))
}
