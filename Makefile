# The environment is made once in .venv; the control plane is built once into the user's cache.
PYTHON ?= python3
PY := .venv/bin/python
READY := .venv/.ready
# More workers only wait for each other: each runs a control plane of its own.
WORKERS ?= 2
PLATFORM ?= ubuntu@24.04:$(shell dpkg --print-architecture 2>/dev/null)

export PYTHONPATH := $(CURDIR)/src
# Each worker and each hook would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test lint types unit client-tests packing-tests benchmark-tests loader-tests sandbox-own-tests sandbox-tests sandbox format docs lock benchmark benchmark-seed pack clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r name text; do printf '  make %-14s %s\n' "$$name" "$$text"; done

demo: $(READY) ## play the README's story on this machine: deploy, relate, data set, resize, teardown
	@$(PY) -m sandbox demo

test: lint types unit client-tests packing-tests benchmark-tests loader-tests sandbox-own-tests sandbox-tests ## all of the following checks and tests

lint: $(READY) ## ruff, import-linter, codespell
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	.venv/bin/lint-imports --no-logo
	$(PY) -m codespell_lib

types: $(READY) ## pyright, strict
	.venv/bin/pyright

unit: $(READY) ## the pure code, in seconds
	$(PY) -m pytest -n $(WORKERS) tests/unit

client-tests: $(READY) ## the clients of AWS and Kubernetes, against servers that are dead, mute or wrong
	$(PY) -m pytest -n $(WORKERS) tests/clients

packing-tests: $(READY) ## what charmcraft packs, for each platform, and what each hook imports of it
	$(PY) -m pytest -n $(WORKERS) --dist loadfile tests/packing

benchmark-tests: $(READY) ## the file system and the contestants of the benchmarks
	$(PY) -m pytest -n $(WORKERS) tests/benchmarks

loader-tests: $(READY) ## the loader's archives of every kind, and its processes that fetch over HTTP and write real files
	$(PY) -m pytest -n $(WORKERS) tests/loader

# They passed for this content: they run again when the sandbox changes, and always in CI.
OWN_CONTENT = find sandbox tests/sandbox_own tests/conftest.py requirements-dev.txt -type f ! -name '*.pyc' | LC_ALL=C sort | xargs sha256sum | sha256sum

sandbox-own-tests: $(READY) ## what the sandbox itself enforces; skipped while it is unchanged
	@if [ -z "$$CI" ] && [ "$$($(OWN_CONTENT))" = "$$(cat .venv/.sandbox-own-passed 2>/dev/null)" ]; then \
		echo "tests/sandbox_own: skipped, they passed for this very sandbox (CI=true runs them)"; \
	else \
		content="$$($(OWN_CONTENT))" && $(PY) -m sandbox build && \
		$(PY) -m pytest -n $(WORKERS) --dist loadfile tests/sandbox_own && \
		echo "$$content" > .venv/.sandbox-own-passed; \
	fi

sandbox-tests: $(READY) ## every behaviour that a user sees, against a real control plane
	$(PY) -m sandbox build
	$(PY) -m pytest -n $(WORKERS) --dist worksteal tests/sandbox

sandbox: $(READY) ## leave the sandbox running, and print how to try it by hand
	@$(PY) -m sandbox serve

benchmark: $(READY) ## AWS calls and tool calls of a hook, and the cost of hooks that have nothing to do
	$(PY) -m benchmarks.calls
	$(PY) -m benchmarks.hook_cost

benchmark-seed: $(READY) ## data sets against what one would do instead (an hour, or five minutes with QUICK=1; root, a C compiler)
	$(PY) -m benchmarks.seed $(if $(QUICK),--quick)

format: $(READY) ## format, and mend what ruff can mend
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

docs: $(READY) ## write the generated reference pages anew
	$(PY) -m docs.generator

lock: $(READY) ## make requirements*.txt anew from pyproject.toml
	.venv/bin/uv pip compile -q --universal --generate-hashes --python-version 3.10 --no-header pyproject.toml -o requirements.txt
	.venv/bin/uv pip compile -q --universal --generate-hashes --python-version 3.10 --no-header --extra dev -c requirements.txt pyproject.toml -o requirements-dev.txt

pack: ## make the charm for PLATFORM (needs charmcraft and LXD)
	charmcraft pack --platform $(PLATFORM)

clean: ## remove the environment; the built control plane stays in the cache
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(READY): requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed: make PYTHON=python3.12 ..." if sys.version_info < (3, 10) else 0)'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "Python's venv module is missing: sudo apt-get install python3-venv"; exit 1; }
	@echo "Making .venv (about a minute, once) ..."
	@$(PYTHON) -m venv .venv
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@
