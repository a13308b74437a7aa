# Everything a developer does. `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
# Each of an instance's processes would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
# What running needs, and what developers need besides.
RUNS := $(VENV)/.installed
DEVELOPS := $(VENV)/.installed-dev
# The first interpreter that fits: Python 3.11 or 3.12 (the wheel of the embedded Redis has no others).
PYTHON ?= $(shell for p in python3.12 python3.11 python3 python; do \
	$$p -c 'import sys, venv, ensurepip, zlib; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' \
	>/dev/null 2>&1 && { echo $$p; break; }; done)
# The folder is in the scripts of .venv and in its link to the project: a clone that was moved or
# copied would run the programs and the code of the old one. The same for a Python that is gone.
FITS := $(shell test "$$(cat $(RUNS) 2>/dev/null)" = "$$(pwd -P)" && $(BIN)/python -c '' 2>/dev/null && echo yes)
ifneq ($(FITS),yes)
.PHONY: $(RUNS)
endif
.PHONY: help setup run demo test test-dates check house format reset bench openapi lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(DEVELOPS) ## make .venv with all locked dependencies; `make run` needs half of them

$(RUNS): requirements-run.txt install.py
	@test -n "$(PYTHON)" || { echo "saxaul needs Python 3.11 or 3.12 with the venv module; none was found (set PYTHON=...)." >&2; exit 1; }
	@test "$(FITS)" = yes || { echo "making $(VENV) with $(PYTHON)"; rm -rf $(VENV); }
	@$(if $(FITS),$(BIN)/python,$(PYTHON)) install.py $<
	@printf '%s' "$$(pwd -P)" > $@

$(DEVELOPS): requirements-dev.txt $(RUNS)
	@$(BIN)/python install.py $<
	@touch $@

run: $(RUNS) ## start everything on http://127.0.0.1:8000 (SAXAUL_PORT, SAXAUL_HOME)
	@exec $(BIN)/python -m service run

demo: $(RUNS) ## tell the whole story in a fresh instance, then exit
	@exec $(BIN)/python -m service demo

# Partners' Node clients, for the tests; where npm is missing those tests say that they are left out.
NODE := tests/kit/partner/node
$(NODE)/node_modules: $(NODE)/package-lock.json
	@command -v npm >/dev/null || exit 0; cd $(NODE) && npm ci --silent --no-fund --no-audit && touch node_modules

test: setup $(NODE)/node_modules ## all tests, against their own servers (ARGS=--hypothesis-profile=search: new random cases)
	@$(BIN)/python -m pytest -n 3 --dist worksteal -rs $(ARGS)

# Debian's faketime moves the clock of tests, not of what they start with an environment of its own;
# time.sleep fails under it. It must read its variables once: pytest changes the environment meanwhile.
TIMES ?= 2027-02-28 2028-02-29 2031-12-31 +4h +11h +17h
test-dates: setup ## the tests at other days and hours, whole instances apart (TIMES=2028-02-29: one)
	@command -v faketime >/dev/null || { test "$$(id -u)" = 0 && apt-get install -qq --yes faketime >/dev/null 2>&1; } || \
	{ echo "make test-dates needs faketime, which is missing: apt-get install faketime (as root)" >&2; exit 1; }
	@failed=; export FAKETIME_CACHE_DURATION=1000000000; for when in $(TIMES); do \
		case $$when in +*) ahead=$$when;; *) ahead=+$$(($$(date -ud "$$when 12:00" +%s) - $$(date +%s)));; esac; \
		echo "== $$when"; faketime --exclude-monotonic -f "$$ahead" $(BIN)/python -m pytest -q -n 3 --dist worksteal \
		-m 'not real_processes' $(ARGS) || failed="$$failed $$when"; \
	done; test -z "$$failed" || { echo "failed at:$$failed" >&2; exit 1; }

check: setup ## format, lint, types
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m mypy
	@$(BIN)/python -m pytest -q tests/test_tidy.py tests/test_house.py

house: setup ## print the house from its imports: ranks, folders, sizes, arrows
	@$(BIN)/python -m tests.house || true

format: setup ## rewrite the files in the house format
	@$(BIN)/python -m ruff format .
	@$(BIN)/python -m ruff check --fix .

reset: $(RUNS) ## empty the state folder
	@$(BIN)/python -m service reset

bench: setup ## all figures of benchmarks/, into docs/benchmarks.md (BENCH=storm ARGS=FILE: print one)
	@$(BIN)/python -m benchmarks$(if $(BENCH),.$(BENCH)) $(ARGS)

openapi: $(RUNS) ## write openapi.json, rules.schema.json and scenarios.schema.json in openapi/ from the code
	@$(BIN)/python -m service openapi

# No address of a registry gets into the lock files: they hold names, versions and hashes.
LOCK := .venv-lock/bin/pip-compile --quiet --strip-extras --allow-unsafe --generate-hashes --no-header \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --annotation-style=line

lock: ## resolve the dependencies anew (ARGS=--upgrade for newer ones)
	@test -x .venv-lock/bin/pip-compile || { $(PYTHON) -m venv .venv-lock && .venv-lock/bin/pip install --quiet pip-tools==7.6.2; }
	@$(LOCK) $(ARGS) --output-file requirements.txt pyproject.toml
	@$(LOCK) $(ARGS) --extra embedded -c requirements.txt --output-file requirements-run.txt pyproject.toml
	@$(LOCK) $(ARGS) --extra embedded --extra dev -c requirements-run.txt --output-file requirements-dev.txt pyproject.toml

clean: ## remove .venv and caches, keep the state
	@rm -rf $(VENV) .venv-lock .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info build
