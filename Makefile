# Builds the extension with PGXS, and calls the scripts that test, lint, measure and show it.
#
#   make && make install        for the server that pg_config (or PG_CONFIG=...) belongs to
#   make demo | demo-stop       a running store from nothing, with real history in it
#   make test | test-majors     all tests, on this machine's PostgreSQL or on 17 and 18; TESTS="append race" picks some
#   make test-assert            all tests, on a PostgreSQL that is built with its assertions
#   make lint | format          what keeps the code as it is; format mends the layout
#   make stress SECONDS=600     does a reader ever miss an event?
#   make pictures               draws docs/pictures from their text
#   make bench                  what an append and a read cost, and others' appends and reads
#
# Each script installs what it needs from the distribution's packages when run as root (test/packages).

EXTENSION = eventstore
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" eventstore.control)
MODULE_big = eventstore
SOURCES := $(sort $(shell find src -name '*.c'))
HEADERS := $(sort $(shell find src -name '*.h'))
OBJS = $(SOURCES:.c=.o)
DATA = $(wildcard sql/eventstore--*--*.sql)
DATA_built = eventstore--$(EXTVERSION).sql
EXTRA_CLEAN = $(wildcard eventstore--*.sql) log test/stress test/consume test/decide bench/client.bin bench/follow.bin bench/subscribe.bin

# Our includes name the folder: "order/inflight.h".
PG_CPPFLAGS = -Isrc
# -Wextra minus what PostgreSQL's own headers and calling convention cannot satisfy.
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare -Werror=implicit-function-declaration $(if $(CI),-Werror)

REGRESS = $(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql)))
REGRESS_OPTS = --inputdir=test
ISOLATION = $(patsubst test/specs/%.spec,%,$(sort $(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --outputdir=.
# installcheck leaves the TAP tests out unless TAP_TESTS=1 is given, because they refuse to run as root; `make test` runs them.
PROVE_TESTS = test/t/*.pl

PG_CONFIG ?= pg_config
export PG_CONFIG
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)

ifneq ($(wildcard $(PGXS)),)
# The server may have been built with a clang that this machine lacks; without bitcode only JIT inlining is lost.
PG_MAKEFILE := $(dir $(PGXS))../Makefile.global
ifeq ($(shell command -v "$$(sed -n 's/^CLANG *= *//p' $(PG_MAKEFILE))"),)
override with_llvm = no
endif
ifeq ($(wildcard $(shell sed -n "s/^LLVM_BINPATH *= *//p" $(PG_MAKEFILE))/llvm-lto),)
override with_llvm = no
endif
include $(PGXS)
else
all install installcheck clean:
	@echo "No PostgreSQL development files: '$(PG_CONFIG) --pgxs' leads nowhere. 'test/packages build' installs them." >&2; exit 1
endif

$(OBJS) $(OBJS:.o=.bc): $(HEADERS)

# The install script is its parts in the order of their numbers; psql must not run it by itself.
$(DATA_built): $(sort $(wildcard sql/[0-9][0-9]_*.sql)) eventstore.control
	printf '%s\n' '\echo Use "CREATE EXTENSION eventstore" to load this file. \quit' | cat - $(filter %.sql,$^) > $@

.PHONY: demo demo-stop test test-majors test-assert stress lint format pictures bench
demo:
	@examples/demo
demo-stop:
	@examples/demo stop
test:
	@test/run
test-majors:
	@test/majors
test-assert:
	@test/assert
lint:
	@test/lint
format:
	@test/packages lint
	clang-format -i $(SOURCES) $(HEADERS)
pictures:
	@test/packages pictures
	for source in docs/pictures/*.dot; do neato -n2 -Tsvg "$$source" -o "$${source%.dot}.svg"; done
bench:
	@bench/run

# Writers of every kind against readers of every kind; SECONDS=... says how long.
test/stress: test/stress.c test/crew.h
# Consumers of every kind: does one ever lose an event, or work on one twice?
test/consume: test/consume.c test/crew.h
# Decisions of every kind: does what conditions protect ever break?
test/decide: test/decide.c test/crew.h
bench/client.bin: bench/client.c
bench/follow.bin: bench/follow.c bench/latency.h
bench/subscribe.bin: bench/subscribe.c bench/latency.h
test/stress test/consume test/decide bench/client.bin bench/follow.bin bench/subscribe.bin:
	$(CC) -std=gnu11 -O2 -Wall -Wextra -pthread -I$(shell $(PG_CONFIG) --includedir) -o $@ $< -L$(shell $(PG_CONFIG) --libdir) -lpq
stress:
	@test/run-stress $(SECONDS)
