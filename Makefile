# Every habit has one word; `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
# uv is on PATH, or `make setup` puts it in .uv. One that was on PATH then may be gone now: the locked packages bring uv too.
UV := $(shell command -v uv || command -v .uv/bin/uv || command -v .venv/bin/uv || echo .uv/bin/uv)
RUN := $(UV) run --frozen --no-sync
EXAMPLE := examples/flight-delays/system.yaml
STAMP := .venv/.capstan-setup
AZURITE := 3.37.0

# A tier ends with the time it took, whether it passed or not. In the tiers of real processes, what failed is run once
# more, alone, and said so: a test that waits for a process can fail on a machine that others keep busy. Each tier remembers
# what failed in a folder of its own, since two may run beside each other.
tier = started=$$(date +%s); echo "== $(1)"; pytest="$(RUN) pytest -q -o cache_dir=.pytest_cache/$(1) $(2)"; \
	$$pytest $(3); code=$$?; \
	if [ $$code -eq 1 ] && [ "$(4)" = real ]; then \
		echo "== $(1): what failed is run again, alone"; \
		$$pytest --last-failed --last-failed-no-failures none; code=$$?; fi; \
	echo "== $(1) took $$(( $$(date +%s) - started )) s"; exit $$code

SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

# What Python's packages do not bring comes from Debian's: $(1) is it, $(2) are its packages. One line says what is installed.
debian = { command -v apt-get >/dev/null && command -v $(or $(SUDO),true) >/dev/null; } || { \
		echo "error: $(1) is needed. Install it; on Debian and Ubuntu as root: apt-get install $(2)" >&2; exit 1; }; \
	echo "setting up: $(1) (Debian's packages $(2))"; log=$$(mktemp); \
	{ $(SUDO) apt-get update -qq; $(SUDO) env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq --no-install-recommends $(2); } >$$log 2>&1 || { cat $$log >&2; \
		echo "error: $(1) could not be installed. Install it as root: apt-get install $(2)" >&2; exit 1; }; rm -f $$log

.PHONY: chromium libatomic java mariadb azurite router help setup demo example test test-unit test-simulation test-contract test-embedded test-browser test-cluster test-deep cluster-programs check bench format clean docs site charts images kind
.DEFAULT_GOAL := help
# Tiers share cores and ports: `make -j test` runs them one after the other all the same.
.NOTPARALLEL:

help: ## list these words
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml uv.lock
	@command -v $(UV) >/dev/null || { command -v $(PYTHON) >/dev/null || { $(call debian,Python 3.11,python3); }; \
		$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(call debian,Python's module venv,python3-venv); }; \
		echo "setting up: uv"; $(PYTHON) -m venv .uv && .uv/bin/pip install -q uv; }
	@echo "setting up: Python packages (locked)"
	@$(UV) sync --frozen --python 3.11 --compile-bytecode
	@# The project's own modules too: where Python is told to write no bytecode, each process would compile them anew.
	@$(RUN) python -m compileall -q platform/capstan pipelines/capstan_pipelines operators
	@echo "setting up: Prometheus and Alertmanager"
	@$(RUN) python -m capstan.adapters.processes.programs
	@touch $@

# The browser tier needs a real Chromium. PostgreSQL and the S3 server of the other tiers are packages of uv.lock.
chromium:
	@for name in chromium chromium-browser google-chrome; do ! command -v $$name >/dev/null || exit 0; done; \
		$(call debian,Chromium,chromium fonts-liberation)

# Playwright, which drives Chromium, is a program for Node.js and brings that, but not a library of GCC that it needs.
libatomic: $(STAMP)
	@.venv/lib/python3.11/site-packages/playwright/driver/node --version >/dev/null 2>&1 || { \
		$(call debian,libatomic,libatomic1); }

# A real MariaDB, for tests of sources and of ETL.
mariadb:
	@PATH=$$PATH:/usr/sbin; command -v mariadbd >/dev/null || { $(call debian,MariaDB,mariadb-server-core); }

# A server of Azure's object storage, for tests of sources: a program for Node.js.
azurite: build/azurite/$(AZURITE)/node_modules/azurite/package.json
build/azurite/$(AZURITE)/node_modules/azurite/package.json:
	@command -v npm >/dev/null || { $(call debian,Node.js and npm,nodejs npm); }
	@echo "setting up: Azurite $(AZURITE)"; rm -rf build/azurite; mkdir -p build/azurite/$(AZURITE); \
		log=$$(mktemp); npm install --prefix build/azurite/$(AZURITE) --no-audit --no-fund --omit=dev azurite@$(AZURITE) >$$log 2>&1 \
		|| { cat $$log >&2; rm -rf build/azurite; exit 1; }; rm -f $$log

# METEOR and CIDEr are programs in Java.
java:
	@command -v java >/dev/null || { $(call debian,Java,default-jre-headless); }

# The router of Seldon graphs has packages of its own, since seldon-core wants another Python.
router: $(STAMP)
	@UV=$(abspath $(UV)) platform/images/bandit-router/environment >/dev/null

setup: $(STAMP) ## install what is missing: locked packages, Envoy, Prometheus, Alertmanager
	@echo "ready: try 'make demo'"

demo: $(STAMP) ## eleven months of real flights through the whole loop, in about ten minutes
	@$(RUN) capstan demo --into $(dir $(EXAMPLE))

example: $(STAMP) ## one of examples/ through the whole loop, in minutes; one without a past comes up live: make example NAME=flight-minutes
	@test -f "examples/$(NAME)/system.yaml" || { echo "error: NAME='$(NAME)' is no example; write one of:" \
		$(patsubst examples/%/system.yaml,%,$(wildcard examples/*/system.yaml examples/*/*/system.yaml)) >&2; exit 1; }
	@for script in $(wildcard examples/$(NAME)/prepare.py examples/$(dir $(NAME))prepare.py); do \
		$(RUN) python $$script || exit 1; done
	@$(RUN) capstan $$(grep -q '^  replay:' examples/$(NAME)/system.yaml && echo replay || echo up) \
		examples/$(NAME)/system.yaml --state examples/$(NAME)/.capstan

# What a later tier needs is installed first, so that a person who is asked for a password need not wait for it.
test: chromium libatomic java mariadb azurite router test-unit test-simulation test-contract test-embedded test-browser ## all tests: unit, simulation, contract, embedded (real parts), the page in a browser

test-unit: $(STAMP)
	@$(call tier,unit,tests/unit tests/members,-n 2)

test-simulation: $(STAMP)
	@$(call tier,simulation,tests/simulation,-n 2)

test-contract: $(STAMP) java mariadb azurite router
	@$(call tier,contract,tests/contract,-n 2 --dist loadfile --no-loadscope-reorder,real)

test-embedded: $(STAMP)
	@$(call tier,embedded,tests/embedded,-n 2 --dist loadgroup,real)

test-browser: $(STAMP) chromium libatomic
	@$(call tier,browser,tests/browser,-n 2,real)

test-deep: $(STAMP) java mariadb ## models of PyTorch and XGBoost, batches on Spark, in an environment of its own (on Linux some 6 GB)
	@UV_PROJECT_ENVIRONMENT=build/deep-environment $(UV) sync -q --frozen --python 3.11 --extra deep --extra xgboost --extra spark
	@build/deep-environment/bin/pytest -q tests/deep

test-cluster: $(STAMP) chromium libatomic ## the tests in a real cluster: that of KUBECONFIG, or of kind; builds images first
	@started=$$(date +%s); echo "== cluster"; tests/cluster/run; code=$$?; \
		echo "== cluster took $$(( $$(date +%s) - started )) s"; exit $$code

cluster-programs: $(STAMP) ## build the programs of the test cluster, where it has none yet
	@tests/cluster/run --prepare

images: ## build the images by docker, podman or buildah: make images TAG=... REGISTRY=...
	@platform/images/build

kind: $(STAMP) ## a cluster on this machine by Docker and kind, with charts and example
	@tests/cluster/kind_up

check: $(STAMP) site ## ruff, mypy --strict, import-linter; adapters only in wiring, tasks and metrics only in their rooms; the site of the docs
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) lint-imports
	$(RUN) python tests/checks/adapters_in_wiring.py
	$(RUN) python tests/checks/tasks_in_their_room.py

bench: $(STAMP) ## Capstan beside its peers: serving, drift, pipeline overhead
	$(RUN) python tests/benchmarks/run.py

format: $(STAMP) ## format and mend what ruff can
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

docs: $(STAMP) ## regenerate the reference of the file, and that of the commands
	$(RUN) python -m capstan.cli.reference > platform/docs/cli.md.new && mv platform/docs/cli.md.new platform/docs/cli.md
	$(RUN) python -m capstan.spec.reference > platform/docs/spec.md.new && mv platform/docs/spec.md.new platform/docs/spec.md

site: $(STAMP) ## the documentation as a site: build/site/index.html
	@UV_PROJECT_ENVIRONMENT=build/site-environment $(UV) sync -q --frozen --python 3.11 --only-group site
	@$(RUN) python platform/site/staging.py build
	@cd build && site-environment/bin/zensical build --clean --strict
	@echo "the site: build/site/index.html"

charts: $(STAMP) ## regenerate what the chart has from code: custom resources, roles, dashboards
	$(RUN) python -m capstan.cluster.crds --write charts/capstan/crds
	$(RUN) python -m capstan_operator.rights > charts/capstan/files/rights.yaml.new && mv charts/capstan/files/rights.yaml.new charts/capstan/files/rights.yaml
	$(RUN) python -m capstan_page.rights > charts/capstan/files/page-rights.yaml.new && mv charts/capstan/files/page-rights.yaml.new charts/capstan/files/page-rights.yaml
	$(RUN) python -m capstan.monitoring.dashboards charts/capstan-stack/files/dashboards

clean: ## remove the environment and all local state
	rm -rf .venv .uv .capstan build
