# What there is to do with a checkout. Everything runs in an environment of its own, outside of the
# checkout, made on the first use from requirements.lock.

ARGS ?=

CACHE := $(if $(HEADRACE_CACHE),$(HEADRACE_CACHE),$(if $(filter /%,$(XDG_CACHE_HOME)),$(XDG_CACHE_HOME),$(HOME)/.cache)/headrace)
# Two checkouts must not share one: the project itself is installed from the place where it is.
HASH := $(shell { cat requirements.lock; pwd; } | cksum | tr -s ' ' '-')
VENV := $(CACHE)/venv-$(HASH)
PY := $(VENV)/bin/python
READY := $(VENV)/.ready

# The first that is there and runs: a shim of a version manager may be there and not run.
FIND_PYTHON = for python in $(PYTHON) python3.12 python3.11 python3 python; do \
	"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null \
	&& { command -v "$$python"; break; }; done

.PHONY: help demo test chaos bench fuzz promql jaeger check lock clean env
.DEFAULT_GOAL := help

help: ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo 'ARGS="..." is passed on, as in make demo ARGS="--seconds 90 --keep".'

demo: $(READY) ## Kafka, a collector, a shop that breaks, and Headrace: two minutes, then demo.html
	@$(PY) -m tests.demo $(ARGS)

# With ARGS, as in make test ARGS=tests/models, in one process. Tests that were read once are kept as
# bytecode, whatever the environment says: reading them anew takes each process 5 s of CPU.
test: $(READY) ## all tests, with real servers, which are downloaded or built the first time
	-@$(PY) -m tests.backends prepare
	@PYTHONDONTWRITEBYTECODE= $(PY) -m pytest --durations=15 $(if $(ARGS),$(ARGS),-n 3 --dist loadfile --no-loadscope-reorder)

chaos: $(READY) ## faults, one after the other, under a stream whose result is known
	@$(PY) -m tests.chaos $(ARGS)

bench: $(READY) ## measure throughput on this machine
	@$(PY) -m bench $(ARGS)

fuzz: $(READY) ## decode millions of damaged messages
	@$(PY) -m tests.fuzz $(ARGS)

promql: $(READY) ## run a folder of Prometheus' tests of its query language (ARGS=DIR, --json)
	@$(PY) -m tests.promql $(ARGS)

jaeger: $(READY) ## ask a real Jaeger the same of our documents and of its own (it is built once: minutes)
	@$(PY) -m tests.jaeger $(ARGS)

check: $(READY) ## formatting, lint and types
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy $(ARGS)

lock: $(READY) ## write requirements.lock anew from pyproject.toml
	@$(UV) pip compile pyproject.toml --universal --all-extras --group dev --generate-hashes \
		--no-header --no-emit-index-url --no-emit-find-links --quiet -o requirements.lock $(ARGS)

clean: ## remove what was made here, and the environment; downloads stay
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis dist demo.html "$(VENV)"
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

env: $(READY) ## make the environment, and say where it is
	@echo "$(VENV)"

# The one on the PATH, else one of our own.
UV = $$(command -v uv || echo "$(CACHE)/bin/uv")

# What was compiled in one checkout serves another, which compiles what is different there: each loop is kept
# with a hash of its sources. Only where there is none yet, since what lies in one folder belongs together.
KERNELS := $(CACHE)/kernels.tar
FIND_KERNELS := find flows operators sinks models -name '*.nb[ic]' -o -name '*.sources'

# Bytecode is made here too: a start whose Python may not write it takes twice as long.
# The mark comes last, so what was interrupted is done again, and what is done takes no time.
$(READY): requirements.lock pyproject.toml
	@set -e; mkdir -p "$(CACHE)"; \
	python=$$($(FIND_PYTHON)) || true; \
	if [ -z "$$python" ] && ! command -v uv >/dev/null; then \
		echo "Headrace needs Python 3.11 or 3.12, and neither was found." >&2; \
		echo "Install one of them, or uv, or say where it is: make PYTHON=/path/to/python3.12" >&2; \
		exit 1; \
	fi; \
	if ! command -v uv >/dev/null && ! "$(CACHE)/bin/uv" --version >/dev/null 2>&1; then \
		echo "preparing uv in $(CACHE)/bin" >&2; \
		making=$$(mktemp -d "$(CACHE)/uv.XXXXXX"); \
		trap 'rm -rf "$$making"' EXIT; trap 'exit 130' INT TERM; \
		"$$python" -m venv "$$making" || { \
			echo "$$python cannot make environments: install its venv (Debian: python3-venv), or uv" >&2; \
			exit 1; \
		}; \
		"$$making/bin/python" -m pip install --quiet --disable-pip-version-check uv; \
		mkdir -p "$(CACHE)/bin"; mv "$$making/bin/uv" "$(CACHE)/bin/uv"; \
	fi; \
	echo "preparing $(VENV)" >&2; \
	[ -x "$(PY)" ] || $(UV) venv --quiet --allow-existing --python "$${python:-3.12}" "$(VENV)"; \
	$(UV) pip sync --quiet --compile-bytecode --python "$(PY)" requirements.lock; \
	$(UV) pip install --quiet --no-deps --python "$(PY)" -e .; \
	"$(PY)" -m compileall -q flows operators sinks models; \
	if [ -f "$(KERNELS)" ] && [ -z "$$($(FIND_KERNELS))" ]; then \
		tar -xf "$(KERNELS)"; \
	fi; \
	echo "compiling the loops that run on every point: some minutes, once" >&2; \
	"$(PY)" -m flows.warm_up; \
	$(FIND_KERNELS) | tar -cf "$(KERNELS).$$$$" -T -; \
	mv "$(KERNELS).$$$$" "$(KERNELS)"; \
	touch "$@"
