# Every habit has one word; `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
RUN := $(UV) run --frozen --no-sync
EXAMPLE := examples/flight-delays/system.yaml
STAMP := .venv/.capstan-setup

# A tier ends with the time it took, whether it passed or not. In the tiers of real processes, what failed is run once
# more, alone, and said so: a test that waits for a process can fail on a machine that others keep busy.
tier = started=$$(date +%s); echo "== $(1)"; $(RUN) pytest -q $(2) $(3); code=$$?; \
	if [ $$code -eq 1 ] && [ "$(4)" = real ]; then \
		echo "== $(1): what failed is run again, alone"; \
		$(RUN) pytest -q --last-failed --last-failed-no-failures none $(2); code=$$?; fi; \
	echo "== $(1) took $$(( $$(date +%s) - started )) s"; exit $$code

SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: chromium postgresql versitygw help setup demo test test-cluster check bench format clean docs charts images kind
.DEFAULT_GOAL := help

help: ## list these words
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml uv.lock
	@command -v $(UV) >/dev/null || { $(PYTHON) -m venv .uv && .uv/bin/pip install -q uv; }
	@echo "setting up: Python packages (locked)"
	@$(UV) sync --frozen --python 3.11 --compile-bytecode
	@echo "setting up: Prometheus and Alertmanager"
	@$(RUN) python -m capstan.adapters.tools
	@touch $@

# The browser tier needs a real Chromium; Debian's comes in a package of its own.
chromium:
	@command -v chromium >/dev/null || { echo "setting up: Chromium"; \
		$(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq --no-install-recommends chromium fonts-liberation; }

# So does the registry's contract on an MLflow server like those in clusters.
postgresql:
	@command -v postgres >/dev/null || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || { \
		echo "setting up: PostgreSQL"; \
		$(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq --no-install-recommends postgresql; }

# Tests of object storage need a real S3 server; this one is a Go program.
TOOLS := $(or $(CAPSTAN_TOOLS),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/capstan/tools)
versitygw:
	@command -v versitygw >/dev/null || test -x $(TOOLS)/versitygw || { echo "setting up: versitygw (an S3 server)"; \
		GOBIN=$(TOOLS) go install github.com/versity/versitygw/cmd/versitygw@v1.8.0; }

setup: $(STAMP) ## install what is missing: locked packages, Envoy, Prometheus, Alertmanager
	@echo "ready: try 'make demo'"

demo: $(STAMP) ## eleven months of real flights through the whole loop, in about ten minutes
	@$(RUN) python examples/flight-delays/prepare.py
	@$(RUN) capstan demo $(EXAMPLE)

test: $(STAMP) chromium postgresql versitygw ## all tests: unit, simulation, contract, embedded (real parts), the page in a browser
	@$(call tier,unit,tests/unit,-n 2)
	@$(call tier,simulation,tests/simulation,-n 2)
	@$(call tier,contract,tests/contract,-n 2 --dist loadfile --no-loadscope-reorder,real)
	@$(call tier,embedded,tests/embedded,-n 2 --dist loadgroup,real)
	@$(call tier,browser,tests/browser,,real)

test-cluster: $(STAMP) ## the tests in a real cluster: that of KUBECONFIG, or of kind; builds images first
	@started=$$(date +%s); echo "== cluster"; tests/cluster/run; code=$$?; \
		echo "== cluster took $$(( $$(date +%s) - started )) s"; exit $$code

images: ## build the images by docker, podman or buildah: make images TAG=... REGISTRY=...
	@platform/images/build

kind: $(STAMP) ## a cluster on this machine by Docker and kind, with charts and example
	@tests/cluster/kind_up

check: $(STAMP) ## ruff, mypy --strict, import-linter
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) lint-imports

bench: $(STAMP) ## Capstan beside its peers: serving, drift, pipeline overhead
	$(RUN) python tests/benchmarks/run.py

format: $(STAMP) ## format and mend what ruff can
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

docs: $(STAMP) ## regenerate the reference of the file
	$(RUN) python -m capstan.spec.reference > platform/docs/spec.md.new && mv platform/docs/spec.md.new platform/docs/spec.md

charts: $(STAMP) ## regenerate what the chart has from code: custom resources, roles
	$(RUN) python -m capstan.cluster.crds --write charts/capstan/crds
	$(RUN) python -m capstan_operator.rights > charts/capstan/files/rights.yaml.new && mv charts/capstan/files/rights.yaml.new charts/capstan/files/rights.yaml

clean: ## remove the environment and all local state
	rm -rf .venv .uv .capstan
