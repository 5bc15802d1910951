# make lab    set everything up, build, run the main job: five VMs, a told story of checks
# make test   set everything up, build, run the tests; the last line is "N passed, N failed"
# Also: setup, build, test-long, bench, lint, clean. Every target first runs `make setup`, which
# does nothing (0.2 s) once all is there. Needs Debian 12 and root.

SHELL := /bin/bash
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

BUN := build/bun
C_SECP := c/secp_shim.c c/abs_secp.h
C_SHIM := $(filter-out $(C_SECP),$(wildcard c/*.c c/*.h))
LIBRARIES := build/libabs_shim.so build/libabs_secp.so
C_TESTS := $(wildcard test/c/*.c)
C_ORACLE := $(wildcard bench/oracle*.c bench/forward.c bench/oracle*.h)
C_LOAD := $(wildcard bench/udp_*.c bench/udp_*.h)
SOURCES := $(shell find src signatures -type f ! -name '*.test.ts' 2>/dev/null)

.PHONY: build setup lab test test-long bench lint clean

build: dist/abs dist/abs-oracle dist/udp_load

setup:
	@scripts/setup.sh

lab: build
	dist/abs lab run

test: build build/shim-test build/secp-test
	@scripts/test.sh unit ledger sim mutations fuzz e2e

test-long: build build/shim-test build/secp-test
	@scripts/test.sh long

bench: build
	dist/abs bench dataplane
	dist/abs bench dpi
	dist/abs bench e2e

lint: setup
	node_modules/.bin/biome check .
	node_modules/.bin/tsc --noEmit
	scripts/shim.sh check

clean:
	rm -rf dist build/shim build/secp build/libabs_*.so build/*-test build/*-asan build/test

# The phony `setup` comes after the bar: it runs first each time, but makes no file out of date.
build/libabs_shim.so: $(C_SHIM) scripts/shim.sh | setup
	scripts/shim.sh build

build/libabs_secp.so: $(C_SECP) scripts/shim.sh | setup
	scripts/shim.sh secp

build/shim-test build/secp-test &: $(C_SHIM) $(C_SECP) $(C_TESTS) scripts/shim.sh | setup
	scripts/shim.sh sanitize

# --root: the workers must lie at the root of the embedded files, where "./worker.ts" is looked for
# from every file of the bundle. No settings of the folder that `abs` is started in are read.
dist/abs: $(LIBRARIES) $(SOURCES) package.json package-lock.json | setup
	@mkdir -p dist
	$(BUN) build --compile --no-compile-autoload-dotenv --no-compile-autoload-bunfig \
	  --root src/agent src/cli/main.ts src/agent/worker.ts src/agent/ledger-worker.ts \
	  --outfile build/abs
	@mv -f build/abs dist/abs

dist/abs-oracle: build/libabs_shim.so $(C_ORACLE) | setup
	@mkdir -p dist
	scripts/shim.sh oracle

dist/udp_load: $(C_LOAD) | setup
	@mkdir -p dist
	gcc -std=gnu11 -O2 -Wall -Wextra -Werror $(filter %.c,$(C_LOAD)) -o $@
