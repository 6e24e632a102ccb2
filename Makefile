# What one does with a checkout. Needs make and any Python >= 3.11 with pip; a C compiler only makes it faster.
#
#   PYTHON=python3.13   use this interpreter instead of the first suitable one
#   CELLO_SPEEDUPS=0|1  without, or only with, the compiled modules (default: with them where they compile)
#   ARGS="-k name"      more arguments for the command behind the target

VENV ?= .venv
BIN := $(VENV)/bin
SHELL := /bin/sh
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

SUITABLE := import sys, venv, ensurepip; assert sys.version_info >= (3, 11)
ifndef PYTHON
PYTHON := $(shell for name in python3.12 python3.13 python3.11 python3.14 python3 python; do \
	$$name -c '$(SUITABLE)' 2>/dev/null && echo $$name && break; done)
endif
PYTHON_ID := $(if $(PYTHON),$(shell $(PYTHON) -c 'import sys; print(sys.version.split()[0], sys.prefix)' | tr ' /' '--'))

# What decides whether, and how, the compiled modules are built: when it changes they are built again.
SETTINGS := CC=$(CC) CFLAGS=$(CFLAGS) CELLO_SPEEDUPS=$(CELLO_SPEEDUPS)
SETTINGS_STAMP := build/.settings-$(PYTHON_ID)
BUILT_STAMP := build/.built-$(PYTHON_ID)
COMPILED_FROM := $(wildcard cello/_speedups/*.p*) $(shell sed -n 's|.*": "\(cello/.*\.py\)",|\1|p' setup.py)

.PHONY: help
help:  ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

.PHONY: demo
demo: $(VENV)/.demo  ## Set everything up and serve the demo application on http://127.0.0.1:8000
	$(BIN)/python examples/demo/app.py $(ARGS)

.PHONY: demo-orders
demo-orders: $(VENV)/.demo  ## Set everything up and serve the orders example: events, commands, sagas, live, and faults to try
	$(BIN)/python examples/orders/app.py $(ARGS)

.PHONY: test
test: build  ## Set everything up and run the test suite
	$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

.PHONY: build
build: $(VENV)/.dev $(BUILT_STAMP)  ## Compile the fast modules into the source tree, where that is possible

.PHONY: fuzz
fuzz: build  ## Fuzz the parsers, each for SECONDS (30), with atheris where it is installed
	-$(BIN)/python -m pip install -q --disable-pip-version-check --only-binary=:all: atheris
	$(BIN)/python -m tests.fuzz -seconds=$(or $(SECONDS),30)

ASAN := build/asan
ASAN_ENV := PYTHONMALLOC=malloc CELLO_SPEEDUPS=1 ASAN_OPTIONS=detect_leaks=0

.PHONY: asan
asan: $(VENV)/.dev  ## Run the parity and conformance tests on compiled modules with the address sanitizer in them
	rm -rf $(ASAN) && mkdir -p $(ASAN)
	cp -r cello tests examples docs bench setup.py pyproject.toml $(ASAN)
	find $(ASAN)/cello -name '*.so' -delete
	cd $(ASAN) && CELLO_SPEEDUPS=1 CFLAGS="-fsanitize=address -fno-omit-frame-pointer -O1" LDFLAGS="-fsanitize=address" \
		$(abspath $(BIN))/python setup.py -q build_ext --inplace
	cd $(ASAN) && $(ASAN_ENV) PYTHONPATH=$(abspath $(ASAN)) LD_PRELOAD=$$($(or $(CC),gcc) -print-file-name=libasan.so) \
		$(abspath $(BIN))/python -m pytest -q -p no:cacheprovider -p no:faulthandler tests/parity tests/conformance tests/fuzz $(ARGS)

.PHONY: docs
docs: $(VENV)/.dev  ## Build the documentation into build/site, without warnings and with every link checked
	$(BIN)/python -m tools.website

.PHONY: lint
lint: $(VENV)/.dev  ## Check format and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

.PHONY: format
format: $(VENV)/.dev  ## Bring the code into format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: types
types: $(VENV)/.dev  ## Check the types
	$(BIN)/mypy

.PHONY: check
check:  ## Everything that must hold before a change goes in, as CI runs it
	bash .ci/run

.PHONY: autobahn
autobahn: build  ## Try the WebSocket server with the Autobahn Testsuite; needs a Python 2.7 (ARGS=--quick: no big messages)
	$(BIN)/python -m tests.conformance.autobahn $(ARGS)

.PHONY: bench
bench: build  ## Time the hot paths, pure against compiled
	$(BIN)/python -m pytest bench/micro -p no:xdist --benchmark-group-by=group --benchmark-columns=min,median,iqr $(ARGS)

.PHONY: bench-load
bench-load: $(VENV)/.dev  ## Measure whole servers side by side under load (PEERS=all or names, WORKLOADS=…)
	$(BIN)/python -m bench.load $(if $(PEERS),--peers $(PEERS)) $(if $(WORKLOADS),--workloads $(WORKLOADS)) $(ARGS)

.PHONY: abuse
abuse: build  ## Attack the server in every way that a limit is for, in full size (NAMES=… for some of them)
	$(BIN)/python -m bench.abuse $(NAMES)

.PHONY: soak
soak: build  ## Ten minutes of mixed load with rolls: nothing leaks, no answer is lost (MINUTES=…)
	$(BIN)/python -m bench.soak --minutes $(or $(MINUTES),10)

.PHONY: bench-crowd
bench-crowd: build  ## Hold 11,000 WebSockets and 5,000 event streams on one worker, and weigh them
	$(BIN)/python -m bench.load.crowd $(ARGS)

.PHONY: wheel
wheel: $(VENV)/.dev  ## Make the source archive, a compiled and a pure wheel in dist/, and try each in an empty environment
	PYTHON=$(BIN)/python bash .ci/wheels

.PHONY: clean
clean:  ## Remove what was built and the virtual environment
	rm -rf $(VENV) build dist *.egg-info .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks
	find cello -name '*.so' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: each stands for a step that is done, and is as new as what the step read. What is installed belongs to the
# virtual environment, what is compiled belongs to this tree and one Python.

$(VENV)/.created-$(PYTHON_ID):
	@test -n "$(PYTHON)" || { echo "cello needs Python 3.11 or newer with venv and pip; name one with PYTHON=..." >&2; exit 1; }
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(SETTINGS_STAMP): FORCE
	@mkdir -p $(@D)
	@echo '$(SETTINGS)' | cmp -s - $@ || echo '$(SETTINGS)' > $@

$(VENV)/.demo: pyproject.toml setup.py $(COMPILED_FROM) $(SETTINGS_STAMP) $(VENV)/.created-$(PYTHON_ID)
	@echo "Installing cello and its libraries into $(VENV) ..."
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[standard]'
	@touch $@

$(VENV)/.dev: pyproject.toml setup.py $(VENV)/.created-$(PYTHON_ID)
	@echo "Installing cello, its libraries and the test tools into $(VENV) (a minute or two) ..."
	CELLO_SPEEDUPS=0 $(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@

$(BUILT_STAMP): setup.py $(COMPILED_FROM) $(SETTINGS_STAMP) | $(VENV)/.dev
	$(BIN)/python setup.py -q build_ext --inplace $(if $(filter $(SETTINGS_STAMP),$?),--force)
	@touch $@

.PHONY: FORCE
FORCE:
