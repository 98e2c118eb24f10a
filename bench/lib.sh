# shellcheck shell=bash
# lib.sh: what the programs in this folder share. Source it; it runs nothing by itself.
#
#   bench_build                       builds and installs the extension, unless bench/run has done so
#   bench_start [setting=value ...]   a throw-away cluster (test/cluster), gone at exit; PGHOST etc. lead to it
#   bench_stop
#   bench_sql STATEMENT ...           each in a transaction of its own; unaligned rows, a tab between columns
#   bench_client ARGUMENT ...         bench/client.c; sets $rate, $took (ms), $calls and $failed
#   bench_median NUMBER ...           the lower one of the two in the middle where their count is even
#   bench_ratio NUMBERS NUMBERS       median of the quotients, pair by pair: of the rounds' ratios
#   bench_spread NUMBER ...           (largest - smallest) / median
#   bench_calc EXPRESSION [FORMAT]    arithmetic with fractions
#   bench_turn ROUND NAME ...         the names, beginning with another one in each round
#   bench_save NAME NUMBER ...        keeps the rounds' numbers for bench/targets
#   bench_machine, bench_settings     markdown list: on which machine, with which server and settings
#
# After bench_start, $work is a folder for scripts and output. The options that all have: $QUICK, $ROUNDS and $seconds; the last
# two are empty and 0 where the caller left them to the program.
# shellcheck disable=SC2034 # what is set here is used by those who source this

seconds=$SECONDS # bash counts from what the environment says
QUICK=${QUICK:-0} ROUNDS=${ROUNDS:-}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bindir=$("${PG_CONFIG:-pg_config}" --bindir)
PATH=$bindir:$PATH
export MAKEFLAGS= # what a calling make was told is not meant for the ones below

bench_build() {
	[ -z "${BENCH_BUILT:-}" ] || return 0
	"$root/test/packages" bench
	make -s -C "$root" all bench/client.bin bench/follow.bin
	make -s -C "$root" install >/dev/null
	export BENCH_BUILT=1
}

bench_start() {
	[ -n "${work:-}" ] || work=$(mktemp -d "${TMPDIR:-/tmp}/eventstore-bench.XXXXXX")
	chmod 711 "$work"
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

bench_client() { read -r rate took calls failed < <("$root/bench/client.bin" "$@") && [ -n "$failed" ]; }

bench_median() { printf '%s\n' "$@" | sort -g | awk '{a[NR] = $1} END {print a[int((NR + 1) / 2)]}'; }
bench_spread() { printf '%s\n' "$@" | sort -g | awk '{a[NR] = $1} END {print (a[NR] - a[1]) / a[int((NR + 1) / 2)]}'; }
bench_calc() { awk "BEGIN {printf \"${2:-%.2f}\", $1}"; }

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
	echo "- server: $("${PG_CONFIG:-pg_config}" --version), client on the same machine, unix socket"
}

bench_settings() {
	local shown=fsync,full_page_writes,wal_level,wal_compression,shared_buffers,max_wal_size,autovacuum,jit,shared_preload_libraries
	echo "- settings: $(bench_sql "SELECT string_agg(name || '=' || current_setting(name), ', ') FROM unnest('{$shown}'::text[]) name")"
}
