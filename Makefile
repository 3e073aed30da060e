PYTHON ?= $(shell command -v python3.11 || command -v python3)
PORT ?= 8000
BIN := .venv/bin
INSTALL := $(BIN)/pip install --quiet --editable
WITHOUT_C := echo "Without a C compiler HTTP is parsed in Python: fewer requests a second, nothing else."
export PIP_CONSTRAINT := constraints.txt
export PIP_CACHE_DIR := $(CURDIR)/.venv/cache
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help serve test clients lint format bench bench-peers nightly kills examples

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

serve: .venv/serve ## Serve and train models on 127.0.0.1:8000 (another port: make serve PORT=9000)
	@NNSERVE_PORT=$(PORT) exec $(BIN)/nnserve up

test: .venv/develop ## Run the tests (some of them: make test ARGS="tests/nncore -k dense")
	@OPENBLAS_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist worksteal $(ARGS)

CLIENTS := kserve mlserver
clients: $(CLIENTS:%=var/clients/%/installed) ## Install KServe's and MLServer's clients into var/clients, for the tests

lint: .venv/develop ## Check style and types
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

format: .venv/develop ## Put the code into the house's style
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

bench: .venv/develop ## Measure speed, as ratios between things run side by side
	@$(BIN)/python bench/serving.py
	@$(BIN)/python bench/request.py
	@$(BIN)/python bench/jobs.py
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python bench/client.py
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python bench/training.py
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python bench/convolution.py --layers
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python bench/augmentation.py
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python bench/prediction.py
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python bench/digit_pictures.py

nightly: .venv/develop ## Generate over 10,000 requests, and hold the answers to /openapi.json
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python tests/openapi_cases.py $(ARGS)

PEERS := fastapi mlserver litserve bentoml
bench-peers: .venv/develop var/peers/nnserve/installed $(PEERS:%=var/peers/%/installed) ## Measure serving beside other servers, installed into var/peers
	@$(BIN)/python bench/peer_serving.py $(ARGS)

kills: .venv/develop ## Kill processes at random, 200 times on each database, and write docs/kills.md
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python tests/kills_report.py --report docs/kills.md $(ARGS)

examples: .venv/examples ## Run the eight parts of docs/tour.md, and draw their pictures into var/tour
	@for part in examples/[1-8]_*.py; do echo "== $$part"; $(BIN)/python $$part || exit 1; done

# Everything is installed into .venv, and again only when the pins change.
.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nnserve needs Python 3.11 or newer: make PYTHON=…")'
	@$(PYTHON) -m venv --clear .venv

.venv/serve: .venv/bin/pip pyproject.toml constraints.txt
	@echo "Installing nnserve into .venv …"
	@$(INSTALL) '.[fast]' 2>/dev/null || { $(INSTALL) . && $(WITHOUT_C); }
	@touch $@

.venv/examples: .venv/bin/pip pyproject.toml constraints.txt
	@echo "Installing nnserve and what draws the examples' pictures into .venv …"
	@$(INSTALL) '.[examples]'
	@touch $@

.venv/develop: .venv/bin/pip pyproject.toml constraints.txt
	@echo "Installing nnserve and what its tests need into .venv …"
	@$(INSTALL) '.[dev,fast]' 2>/dev/null || { $(INSTALL) '.[dev]' && $(WITHOUT_C); }
	@touch .venv/serve $@

# Each server that is measured beside the others has an environment with what it needs, and nothing else.
var/peers/nnserve/installed: pyproject.toml constraints.txt | .venv/develop
	@echo "Installing nnserve as it is served into var/peers/nnserve …"
	@$(PYTHON) -m venv --clear --without-pip var/peers/nnserve/.venv
	@$(BIN)/pip --python var/peers/nnserve/.venv/bin/python install --quiet --editable '.[fast]'
	@touch $@

define install_apart
@echo "Installing $* into $(@D) …"
@$(PYTHON) -m venv --clear --without-pip $(@D)/.venv
@PIP_CONSTRAINT= $(BIN)/pip --python $(@D)/.venv/bin/python install --quiet $(1) -r $<
@touch $@
endef

var/peers/%/installed: bench/peers/%.txt | .venv/develop
	$(call install_apart)

# So has each client whose pins do not go together with ours. Not compiled: they import a fraction of what they bring.
var/clients/%/installed: tests/service/clients/%.txt | .venv/develop
	$(call install_apart,--no-compile)
