# shellcheck shell=bash
# lib.sh: what the scripts share that install, build and start something. Source it with the checkout as the current folder; it runs
# nothing by itself.
#
#   prepare PURPOSE ...              test/packages, and choose the server: from here on PG_CONFIG leads all that is called to it; $why
#                                    is a line that says which it is. $foreign are those variables of the environment that lead psql
#                                    elsewhere or in another way: they are unset
#   build_and_install [target ...]   the extension, and other targets; $build_with are variables for make
#   showing SIGN COMMAND ...         runs COMMAND, and every few seconds SIGN, which prints how far it is
#   as_owner COMMAND ...             as the user whom a server may run as

build_with=()
foreign=()

# What a calling make was told is not meant for the ones below.
prepare() {
	local name
	test/packages "$@"
	# shellcheck disable=SC2034 # for the caller
	why=$(test/pg-config --why)
	PG_CONFIG=$(test/pg-config)
	export PG_CONFIG
	export MAKEFLAGS=
	for name in $(compgen -e PG); do
		case $name in PG_*) ;; *) foreign+=("$name") ;; esac
	done
	[ ${#foreign[@]} -eq 0 ] || unset "${foreign[@]}"
}

as_owner() {
	if [ "$(id -u)" -eq 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi
}

# The signs run in the background, so that an interrupt reaches the command.
showing() {
	local sign=$1 status=0 signs
	shift
	while sleep 4 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do "$sign"; done &
	signs=$!
	"$@" || status=$?
	kill "$signs" 2>/dev/null || :
	wait "$signs" 2>/dev/null || :
	return "$status"
}

objects_made() { [ "$build_size" -eq 0 ] || echo "   $(find src \( -name '*.o' -o -name '*.bc' \) -newer "$build_begun" | wc -l) of $build_size files"; }

# Is what the checkout would build there already?
is_installed() {
	local extension file
	extension=$("$PG_CONFIG" --sharedir)/extension
	make -q "${build_with[@]}" all 2>/dev/null || return 1
	cmp -s eventstore.so "$("$PG_CONFIG" --pkglibdir)/eventstore.so" || return 1
	for file in eventstore.control eventstore--*.sql router/eventstore_router.control eventstore_router--*.sql; do
		cmp -s "$file" "$extension/${file##*/}" || return 1
	done
}

# Whoever may not install is told so before the build, unless somebody else has done it.
build_and_install() {
	local status=0 library
	library=$("$PG_CONFIG" --pkglibdir)
	if [ ! -w "$library" ] && ! is_installed; then
		echo "You may not write $library, where the extension has to go. Have it installed, and come back: make && sudo make install" >&2
		return 1
	fi
	build_begun=$(mktemp)
	build_size=$(make -n "${build_with[@]}" all | grep -c -e ' -c -o ') || :
	showing objects_made make -s -j "$(nproc)" "${build_with[@]}" all "$@" || status=$?
	rm -f "$build_begun"
	if [ "$status" -eq 0 ] && [ -w "$library" ]; then
		make -s "${build_with[@]}" install >/dev/null || status=$?
	fi
	test/hand-back
	return "$status"
}
