# make up    brings the reference deployment up on this machine        make test   builds and runs every test
SHELL := /bin/bash
PRESET ?= release
BUILD := build/$(PRESET)
JOBS ?= $(shell nproc)
# Tests mostly wait for servers: more of them than there are cores run side by side.
TEST_JOBS ?= $(shell echo $$((2 * $$(nproc))))

.PHONY: all build deps test-deps test unit lint format format-check tidy clean

all: build

deps:
	@scripts/install-deps build

test-deps:
	@scripts/install-deps build test

$(BUILD)/build.ninja: CMakeLists.txt CMakePresets.json $(wildcard cmake/*.cmake)
	@cmake --preset $(PRESET) > /dev/null || { echo "make: cmake failed; run 'scripts/install-deps build test' and look at its output"; exit 1; }

build: deps $(BUILD)/build.ninja
	@ninja --quiet -C $(BUILD) -j $(JOBS)

up: build
	@$(BUILD)/bin/pgvigil up $(ARGS)

test: test-deps $(BUILD)/build.ninja
	@ninja --quiet -C $(BUILD) -j $(JOBS)
	@cd $(BUILD) && ctest -j $(TEST_JOBS) --output-on-failure --no-tests=error

# Only what needs no servers; for sanitizer builds: make unit PRESET=asan-ubsan
unit: test-deps $(BUILD)/build.ninja
	@ninja --quiet -C $(BUILD) -j $(JOBS) unit-tests
	@cd $(BUILD) && ctest -j $(JOBS) --output-on-failure --no-tests=error -L 'unit|sim'

lint: format-check
	@scripts/check_layers .
	@scripts/check_style .

SOURCES = $(shell git ls-files 'src/*.cc' 'src/*.h' 'tests/*.cc' 'tests/*.h')
format:
	@clang-format -i $(SOURCES)

format-check:
	@clang-format --dry-run --Werror $(SOURCES)

tidy: test-deps
	@cmake --preset clang > /dev/null && ninja --quiet -C build/clang
	@scripts/check_tidy $(TIDY)

clean:
	@rm -rf build
