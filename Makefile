# make lab    set everything up, build, run the main job: five VMs, a told story of checks
# make test   set everything up, build, run the tests; the last line is "N passed, N failed"
# Also: setup, build, test-long, bench, lint, deb, clean. Every target first runs `make setup`,
# which does nothing (0.2 s) once all is there. Needs Debian 12 and root.

SHELL := /bin/bash
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

BUN := build/bun
C_CURVES := c/secp_shim.c c/edwards_shim.c c/abs_curves.h
C_SHIM := $(filter-out $(C_CURVES),$(wildcard c/*.c c/*.h))
LIBRARIES := build/libabs_shim.so build/libabs_curves.so
C_TESTS := $(wildcard test/c/*.c test/c/*.h)
SANITIZED := build/shim-test build/secp-test build/edwards-test
C_ORACLE := $(wildcard bench/oracle*.c bench/forward.c bench/oracle*.h)
C_LOAD := $(wildcard bench/udp_*.c bench/udp_*.h)
CONSOLE := build/console.js.txt build/console.css.txt
CONSOLE_SOURCES := $(shell find src/console src/chain -type f ! -name '*.test.ts' 2>/dev/null)
SOURCES := $(shell find src signatures templates -type f ! -name '*.test.ts' 2>/dev/null)

.PHONY: build setup lab test test-long bench lint deb clean

build: dist/abs dist/abs-oracle dist/udp_load

setup:
	@scripts/setup.sh

lab: build
	dist/abs lab run

test: build $(SANITIZED)
	@scripts/test.sh unit ledger sim mutations fuzz e2e console

test-long: build $(SANITIZED)
	@scripts/test.sh long

bench: build
	dist/abs bench dataplane
	dist/abs bench dpi
	dist/abs bench e2e
	dist/abs bench ledger
	dist/abs bench flood
	dist/abs bench policy

deb: build
	scripts/deb.sh

lint: setup
	node_modules/.bin/biome check .
	node_modules/.bin/tsc --noEmit
	node_modules/.bin/tsc --noEmit -p src/console
	scripts/shim.sh check

clean:
	rm -rf dist build/shim build/curves build/libabs_*.so build/*-test build/*-asan build/test

# The phony `setup` comes after the bar: it runs first each time, but makes no file out of date.
build/libabs_shim.so: $(C_SHIM) scripts/shim.sh | setup
	scripts/shim.sh build

build/libabs_curves.so: $(C_CURVES) scripts/shim.sh | setup
	scripts/shim.sh curves

$(SANITIZED) &: $(C_SHIM) $(C_CURVES) $(C_TESTS) scripts/shim.sh | setup
	scripts/shim.sh sanitize

# The console's pages, for the browser; the manager's HTTP API embeds and serves them.
$(CONSOLE) &: $(CONSOLE_SOURCES) package.json package-lock.json | setup
	$(BUN) build --target browser --minify --outdir build/console --entry-naming '[name].[ext]' \
	  src/console/main.tsx src/console/console.css
	@mv -f build/console/main.js build/console.js.txt
	@mv -f build/console/console.css build/console.css.txt

# --root: the workers must lie at the root of the embedded files, where "./worker.ts" is looked for
# from every file of the bundle. No settings of the folder that `abs` is started in are read.
# --bytecode: what is parsed here needs no parsing at each start (docs/benchmarks.md "A start").
dist/abs: $(LIBRARIES) $(CONSOLE) $(SOURCES) package.json package-lock.json Makefile | setup
	@mkdir -p dist
	$(BUN) build --compile --bytecode --format=esm \
	  --no-compile-autoload-dotenv --no-compile-autoload-bunfig \
	  --root src/agent src/cli/main.ts src/agent/worker.ts src/agent/ledger-worker.ts \
	  --outfile build/abs
	@mv -f build/abs dist/abs

dist/abs-oracle: build/libabs_shim.so $(C_ORACLE) | setup
	@mkdir -p dist
	scripts/shim.sh oracle

dist/udp_load: $(C_LOAD) | setup
	@mkdir -p dist
	gcc -std=gnu11 -O2 -Wall -Wextra -Werror $(filter %.c,$(C_LOAD)) -o $@
