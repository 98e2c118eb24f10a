# shellcheck shell=bash
# chroot.sh: Debians of their own to try things in. Source it with the checkout as the current folder, as root; it runs nothing by itself.
#
#   make_chroot SUITE ROOT         by debootstrap, with make in it; starts no services. The folder is there when it is complete
#   open_chroot ROOT               gives it what a running machine has, and the checkout in srv/eventstore
#   in_chroot ROOT COMMAND ...     runs a command there as root, with nothing of this environment
#   close_chroots                  ends what runs in those that are open, and takes it all away; for a trap on EXIT
#
# EVENTSTORE_MIRROR is the Debian mirror.

mirror=${EVENTSTORE_MIRROR:-http://deb.debian.org/debian}
mounted=()
opened=()

# Testing's index may be older than it says it is good for, and debootstrap may not know the newest suite by name.
make_chroot() {
	local suite=$1 root=$2 script=/usr/share/debootstrap/scripts/$1
	[ -e "$script" ] || script=/usr/share/debootstrap/scripts/sid
	echo "Making a Debian $suite in $root" >&2
	rm -rf "$root.new"
	if ! debootstrap --variant=minbase --include=make "$suite" "$root.new" "$mirror" "$script" >"$root.log" 2>&1; then
		tail -n 20 "$root.log" >&2
		return 1
	fi
	echo 'Acquire::Check-Valid-Until "false";' > "$root.new/etc/apt/apt.conf.d/90-eventstore"
	printf '#!/bin/sh\nexit 101\n' > "$root.new/usr/sbin/policy-rc.d"
	chmod +x "$root.new/usr/sbin/policy-rc.d"
	mv "$root.new" "$root"
}

mount_in() { # mount_in FOLDER MOUNT'S ARGUMENT ...
	mkdir -p "$1"
	mount "${@:2}" "$1"
	mounted=("$1" "${mounted[@]}")
}

open_chroot() {
	local root=$1
	cp -L /etc/resolv.conf "$root/etc/resolv.conf"
	test/checkout "$root/srv/eventstore"
	opened+=("$root")
	mount_in "$root/proc" -t proc proc
	mount_in "$root/dev/shm" -t tmpfs tmpfs
}

in_chroot() {
	env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 http_proxy="${http_proxy:-}" \
		chroot "$1" "${@:2}" 9>&- </dev/null
}

close_chroots() {
	local folder process
	for folder in "${opened[@]}"; do
		for process in /proc/[0-9]*; do
			[ "$(readlink "$process/root")" != "$(realpath "$folder")" ] || kill -KILL "${process#/proc/}" || :
		done
	done
	for folder in "${mounted[@]}"; do umount -l "$folder"; done
	opened=() mounted=()
}
