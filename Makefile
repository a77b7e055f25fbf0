# make help lists what there is. Needs Python 3.11 or later with pip; uses uv where it is installed.
.DEFAULT_GOAL := help
.PHONY: help venv demo test test-quick test-runtimes test-kill test-android web test-web lint format lock wheel clean distclean test-arm64 test-threads

JOBS ?= 2
PYTHON ?= $(shell command -v python3.11 || command -v python3)
UV := $(shell command -v uv)
BIN := .venv/bin
READY := .venv/.ready

# Real annotated faces, for tests and demos that use them where there are any.
EDGEFACE_FACES ?= $(wildcard $(abspath ../shared/faces))
ifneq ($(EDGEFACE_FACES),)
export EDGEFACE_FACES
endif

# One computing thread a test process: two of them on two cores are faster than two that fight for both.
TEST_ENV := TF_CPP_MIN_LOG_LEVEL=3 TF_NUM_INTRAOP_THREADS=1 OMP_NUM_THREADS=1

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | awk -F'\t' '{printf "  make %-14s%s\n", $$1, $$2}'

venv: $(READY)  ## .venv with everything that requirements/all.txt pins

# The project itself is installed last and editable, by the build backend that the lock pins.
$(READY): requirements/all.txt pyproject.toml
ifdef UV
	test -x $(BIN)/python || uv venv --python 3.11 .venv || uv venv --python '>=3.11' .venv
	uv pip install --python $(BIN)/python -r requirements/all.txt
	uv pip install --python $(BIN)/python --no-deps --no-build-isolation -e .
else
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -r requirements/all.txt
	$(BIN)/python -m pip install --no-deps --no-build-isolation -e .
endif
	@touch $@

demo: $(READY)  ## train, quantize, convert and report on rendered faces (under 15 minutes on 2 cores)
	$(BIN)/python -m convert.demo

test: $(READY)  ## the whole test suite, in JOBS=2 processes
	$(TEST_ENV) $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal --durations=15

test-quick: $(READY)  ## under a minute: no conversion, no process, no real faces
	$(TEST_ENV) $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal -m "not slow and not faces"

# Keeps its downloads in runs/runtimes; as root it installs Debian packages that are missing, else it names them.
RUNTIME ?= all
FILES ?= $(wildcard edgeface/zoo/*.tflite)
test-runtimes: $(READY)  ## golden faces in every runtime: tflite-runtime, arm64, GPU engine, browser (RUNTIME=, FILES=)
	$(BIN)/python -m convert.runtimes $(RUNTIME) $(FILES)

MODELS ?=
test-arm64: $(READY)  ## the wheel as Raspberry Pi 4 and 5 under emulation; instructions an inference (MODELS=)
	$(BIN)/python -m convert.release.arm64 --check $(MODELS)

test-threads: $(READY)  ## eight threads on one predictor and one detector, a minute and twice half of one
	EDGEFACE_STRESS_S=60 $(TEST_ENV) $(BIN)/python -m pytest -q -s tests/runtime/test_hard_input.py -k "threads or trackers"

test-kill: $(READY)  ## ten SIGKILLs at random moments of a training
	EDGEFACE_KILLS=10 $(TEST_ENV) $(BIN)/python -m pytest -q tests/training/test_kill.py

test-android: $(READY)  ## Kotlin on the JVM, resources by aapt2, the app's types (npm compiler in runs/android)
	$(BIN)/python -m convert.android install
	EDGEFACE_ANDROID=1 $(TEST_ENV) $(BIN)/python -m pytest -q tests/android

web: $(READY)  ## the models in your browser, on this machine alone
	$(BIN)/python -m demo_web --open

test-web: $(READY)  ## every packaged file in headless Chromium, WebGPU in software and a pretended camera
	$(BIN)/python -m demo_web --install
	EDGEFACE_WEB=all $(TEST_ENV) $(BIN)/python -m pytest -q tests/web

lint: $(READY)  ## ruff (rules and format) and the directions of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: $(READY)  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# No registry address goes into a lock.
COMPILE := uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links
lock:  ## resolve requirements/*.txt anew (needs uv)
	$(COMPILE) --extra dev pyproject.toml -o requirements/all.txt
	$(COMPILE) pyproject.toml -o requirements/device.txt

wheel: $(READY)  ## dist/edgeface-*.whl
	$(BIN)/python -m hatchling build -t wheel

clean:  ## remove caches and built files; keep .venv and runs/
	rm -rf dist build .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -path ./.venv -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf

distclean: clean  ## clean, and remove .venv and runs/ as well
	rm -rf .venv runs
