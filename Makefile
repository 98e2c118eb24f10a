# Builds the extension with PGXS, and calls the scripts that test, lint, measure and show it.
#
#   make && make install        for the server that test/pg-config chooses, or that PG_CONFIG=... belongs to; make uninstall
#   make demo | demo-stop       a running store from nothing, with real history in it
#   make test | test-majors     all tests, on this machine's PostgreSQL or on 17 and 18; TESTS="append race" picks some
#   make test-upgrade           a store in use goes from this machine's PostgreSQL to 17 and 18, by pg_upgrade and by a mirror
#   make test-partitioned       all tests, on stores in partitions of 100 positions
#   make test-assert            all tests, on a PostgreSQL that is built with its assertions
#   make first-contact          demo and tests on machines as a newcomer has them, each a Debian of its own
#   make lint | format          what keeps the code as it is; format mends the layout
#   make stress SECONDS=600     does a reader ever miss an event?
#   make cells                  several machines: the router, a split, a mirror, failover by Patroni, for longer than make test does
#   make pictures               draws docs/pictures from their text
#   make bench                  what an append and a read cost, and others' appends and reads
#   make deb                    packages for Debian, one for each major that is here, into dist/
#   make dist                   the archive for PGXN, into dist/
#   make docs                   the pages of docs/ as a site, into site/, and a look at it in a browser
#
# Each script installs what it needs from the distribution's packages when run as root (test/packages).

# The router, for stores on several machines, is an extension of its own, with the same library: router/.
EXTENSION = eventstore router/eventstore_router
ROUTERVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" router/eventstore_router.control)
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" eventstore.control)
MODULE_big = eventstore
SOURCES := $(sort $(shell find src -name '*.c'))
HEADER_FILES := $(sort $(shell find src -name '*.h'))
OBJS = $(SOURCES:.c=.o)
DATA = $(wildcard sql/eventstore--*--*.sql)
ROUTER_built = eventstore_router--$(ROUTERVERSION).sql
DATA_built = eventstore--$(EXTVERSION).sql $(ROUTER_built)
EXTRA_CLEAN = $(wildcard eventstore--*.sql eventstore_router--*.sql) .built-for log test/stress test/consume test/decide test/late.so bench/client.bin bench/follow.bin bench/subscribe.bin

# Our includes name the folder: "order/inflight.h".
PG_CPPFLAGS = -Isrc
# -Wextra minus what PostgreSQL's own headers and calling convention cannot satisfy.
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare -Werror=implicit-function-declaration $(if $(CI),-Werror)

REGRESS = $(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql)))
REGRESS_OPTS = --inputdir=test
ISOLATION = $(patsubst test/specs/%.spec,%,$(sort $(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --outputdir=.
# Tests begin with stores of their own, and drop what others have left.
installcheck: export PGOPTIONS := $(PGOPTIONS) -c eventstore.allow_drop=on
# installcheck leaves the TAP tests out unless TAP_TESTS=1 is given, because they refuse to run as root; `make test` runs them.
PROVE_TESTS = test/t/*.pl

# Which server: PG_CONFIG's, if it is given; where there is nothing to build, the one that this has been built for.
to_do := $(or $(MAKECMDGOALS),all)
ifndef PG_CONFIG
ifeq ($(filter-out install uninstall installcheck,$(to_do)),)
PG_CONFIG := $(shell built_for=$$(sed -n 2p .built-for 2>/dev/null) && "$$built_for" --version >/dev/null 2>&1 && echo "$$built_for")
endif
ifndef PG_CONFIG
PG_CONFIG := $(shell test/pg-config)
ifneq ($(filter all install,$(to_do)),)
$(info $(shell test/pg-config --why))
endif
endif
endif

.DEFAULT_GOAL := all
# Many files, each on its own; unless there is more to do than to build, or the caller has said how many at a time.
ifeq ($(MAKELEVEL)$(filter-out all install,$(to_do)),0)
MAKEFLAGS += -j$(shell nproc 2>/dev/null || echo 2)
endif

# pg_config and PGXS come with Debian's client; to build, it takes the headers.
PGXS := $(shell '$(PG_CONFIG)' --pgxs 2>/dev/null)
headers := $(shell '$(PG_CONFIG)' --includedir-server 2>/dev/null)

ifneq ($(and $(wildcard $(PGXS)),$(wildcard $(headers)/postgres.h)),)
# The server may have been built with a clang that this machine lacks; without bitcode only JIT inlining is lost.
PG_MAKEFILE := $(dir $(PGXS))../Makefile.global
ifeq ($(shell command -v "$$(sed -n 's/^CLANG *= *//p' $(PG_MAKEFILE))"),)
override with_llvm = no
endif
ifeq ($(wildcard $(shell sed -n "s/^LLVM_BINPATH *= *//p" $(PG_MAKEFILE))/llvm-lto),)
override with_llvm = no
endif

# es_protect and es_reveal take the OpenSSL that the server is built with, and its headers; make with_crypto=no does without.
crypto := $(with_crypto)
ifneq ($(crypto),no)
compiler := $(if $(filter default,$(origin CC)),$(shell '$(PG_CONFIG)' --cc),$(CC))
crypto := $(shell $(compiler) $$('$(PG_CONFIG)' --cppflags) -I'$(headers)' -include pg_config.h -include openssl/evp.h -dM -E -x c /dev/null 2>/dev/null | grep -q 'define USE_OPENSSL 1' || echo no)
endif
ifeq ($(crypto),no)
ifneq ($(filter all install,$(to_do)),)
$(info Built without OpenSSL: es_protect and es_reveal will say so, all else is there)
endif
else
PG_CPPFLAGS += -DES_WITH_OPENSSL
SHLIB_LINK += -lcrypto
endif

# Comes before all else that install does.
install: may-install
include $(PGXS)
install: handed-back

# An object that was built for another server does not load, or worse. The second line is what a later `make install` reads.
server := $(shell '$(PG_CONFIG)' --version) $(headers) $(pkglibdir)$(if $(crypto), without OpenSSL)
ifneq ($(shell sed -n 1p .built-for 2>/dev/null),$(server))
.PHONY: .built-for
endif
.built-for:
	@printf '%s\n' '$(server)' "$$(command -v '$(PG_CONFIG)')" > $@
$(OBJS) $(OBJS:.o=.bc): .built-for

ifeq ($(shell command -v $(firstword $(CC))),)
$(OBJS): | no-compiler
endif

# Bitcode of an earlier build would be inlined instead of what the library does now.
.PHONY: may-install handed-back no-compiler
may-install:
	@echo "Installing for PostgreSQL $(VERSION): $(DESTDIR)$(pkglibdir), $(DESTDIR)$(datadir)/extension"
	@[ -n '$(DESTDIR)' ] || [ -w '$(pkglibdir)' ] || { echo "You may not write there: sudo make install" >&2; exit 1; }
ifneq ($(with_llvm),yes)
	@rm -rf '$(DESTDIR)$(pkglibdir)/bitcode/$(MODULE_big)' '$(DESTDIR)$(pkglibdir)/bitcode/$(MODULE_big).index.bc'
endif
handed-back: all
	@test/hand-back
no-compiler:
	@echo "There is no C compiler '$(CC)'." >&2; test/packages missing build; exit 1
else
all install installcheck:
	@test/packages missing build; exit 1
clean:
	rm -f $(OBJS) $(OBJS:.o=.bc) $(MODULE_big).so $(EXTRA_CLEAN)
endif

$(OBJS) $(OBJS:.o=.bc): $(HEADER_FILES)

# The install script is its parts in the order of their numbers; psql must not run it by itself.
eventstore--$(EXTVERSION).sql: $(sort $(wildcard sql/[0-9][0-9]_*.sql)) eventstore.control
	printf '%s\n' '\echo Use "CREATE EXTENSION eventstore" to load this file. \quit' | cat - $(filter %.sql,$^) > $@
# The router's, too, with the types that both have after its first part, which makes the schema.
$(ROUTER_built): router/00_map.sql sql/79_text_types.sql $(sort $(wildcard router/[1-9][0-9]_*.sql)) router/eventstore_router.control
	printf '%s\n' '\echo Use "CREATE EXTENSION eventstore_router" to load this file. \quit' | cat - $(filter %.sql,$^) > $@

.PHONY: cells demo demo-stop test test-partitioned test-majors test-upgrade test-assert first-contact stress lint format pictures bench deb dist docs
demo:
	@examples/demo
demo-stop:
	@examples/demo stop
test:
	@test/run
test-partitioned:
	@PARTITIONED=yes test/run
test-majors:
	@test/majors
test-upgrade:
	@test/upgrade/run
test-assert:
	@test/assert
first-contact:
	@test/first-contact
deb:
	@packaging/deb
dist:
	@packaging/dist
docs:
	@packaging/docs
lint:
	@test/lint
format:
	@test/packages lint
	clang-format -i $(SOURCES) $(HEADER_FILES)
pictures:
	@test/packages pictures
	for source in docs/pictures/*.dot; do neato -n2 -Tsvg "$$source" -o "$${source%.dot}.svg"; done
bench:
	@bench/run
# Where etcd, Patroni and HAProxy are not there, the failover is left out.
cells:
	@test/packages cells || :
	@CELLS=1 TESTS="router split cell mirror switch cells_page patroni" test/run

# Writers of every kind against readers of every kind; SECONDS=... says how long.
test/stress: test/stress.c test/crew.h
# Consumers of every kind: does one ever lose an event, or work on one twice?
test/consume: test/consume.c test/crew.h
# Decisions of every kind: does what conditions protect ever break?
test/decide: test/decide.c test/crew.h
# Holds a commit in the middle, for a test of what may happen then.
test/late.so: test/late.c
	$(CC) $(CFLAGS) $(CFLAGS_SL) -shared -I$(shell $(PG_CONFIG) --includedir-server) -o $@ $<
bench/client.bin: bench/client.c
bench/follow.bin: bench/follow.c bench/latency.h
bench/subscribe.bin: bench/subscribe.c bench/latency.h
test/stress test/consume test/decide bench/client.bin bench/follow.bin bench/subscribe.bin:
	$(CC) -std=gnu11 -O2 -Wall -Wextra -pthread -I$(shell $(PG_CONFIG) --includedir) -o $@ $< -L$(shell $(PG_CONFIG) --libdir) -lpq
stress:
	@test/run-stress $(SECONDS)
