# Every target is listed by `make help`. Big builds are cached outside the checkout (FUSIONRUN_CACHE).
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
export CLUSTER ?= local
RUN ?= tiny
N ?= 1
ARGS ?=
PYTHON ?= python3

VENV := $(shell hack/venv --path)
BIN := $(VENV)/bin
PURE := tests/api tests/objects tests/plan tests/state tests/releases
SOURCES := operator images/fusionrun_stages tests hack

# What stands first in a line of prerequisites is done first, also under `make -j`.
.NOTPARALLEL:

.PHONY: help
help: ## List every target
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: check venv ## Bring up a cluster, run a whole FusionRun, print its table (RUN=tiny or smollm2)
	hack/demo/run $(RUN)

# The chart's tests need helm, which cluster-up builds: none of them may be skipped unseen.
.PHONY: test
test: export FUSIONRUN_TEST_ALL := 1
test: check verify lint type unit cluster-up rim images test-cluster test-stages test-e2e ## Run every test, the cluster's included

.PHONY: check
check: ## Say at once what is missing for the cluster (CLUSTER=local, kind or existing)
	@hack/cluster/check

.PHONY: venv
venv: ## Make the Python environment of the tools and tests
	@hack/venv

.PHONY: fmt
fmt: venv ## Format the code
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

.PHONY: lint
lint: venv ## Check style, imports between rooms, and YAML
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	PYTHONPATH=operator:images $(BIN)/lint-imports
	$(BIN)/yamllint -s manifests/samples helm/fusionrun/values.yaml

.PHONY: type
type: venv ## Check types
	$(BIN)/mypy

.PHONY: generate
generate: venv ## Write what is generated: the CRD, its reference, the chart's copies
	$(BIN)/python hack/generate

.PHONY: verify
verify: venv ## Fail when something generated is out of date
	$(BIN)/python hack/generate --check

.PHONY: unit
unit: ## Test the pure rooms: no network, no cluster, only pydantic, pytest and hypothesis
	hack/venv --pure
	@printf '%s\n' $(PURE) | xargs -P 2 -n 2 $(shell hack/venv --pure --path)/bin/python -m pytest -q -p no:cacheprovider

.PHONY: rim
rim: venv ## Test the operator's rim, the programs of the stages that need no torch, and the small world
	$(BIN)/python -m pytest -q -m "not cluster" tests/cluster tests/handlers tests/chart tests/crd tests/repository

.PHONY: test-alerts
test-alerts: ## Test the alert rules with promtool (Debian: the package prometheus)
	@command -v promtool >/dev/null || { echo "promtool is missing: install Prometheus, or its Debian package prometheus"; exit 2; }
	promtool test rules tests/chart/alerts.yaml

.PHONY: cluster-up
cluster-up: ## Bring the cluster up (CLUSTER=local, kind or existing)
	hack/cluster/up

.PHONY: cluster-down
cluster-down: ## Take the cluster down and leave the machine as it was
	hack/cluster/down

.PHONY: cluster-status
cluster-status: ## Say what runs of the cluster
	hack/cluster/status

.PHONY: images
images: ## Build the images and load them into the cluster
	hack/images/build

.PHONY: images-cuda
images-cuda: ## Build the CUDA flavour of the train and reward images and check it, without a GPU (not in CI)
	hack/images/build --cuda

.PHONY: test-cluster
test-cluster: venv ## Test the CRD and the chart against the real API server
	eval "$$(hack/cluster/env)"; $(BIN)/python -m pytest -q -m cluster tests/chart tests/crd

.PHONY: test-stages
test-stages: ## Test the programs of the stages on tiny models, in the image that ships
	hack/test/stages

.PHONY: test-e2e
test-e2e: venv ## Run a whole FusionRun on the cluster, killing the operator in every stage
	hack/test/e2e

.PHONY: test-kills
test-kills: ## Kill the data stages 200 times at random: what they leave must not change (PYTHON=one with their libraries)
	FUSIONRUN_TEST_KILLS=200 PYTHONPATH=operator:images $(PYTHON) -m pytest -q -s -p no:cacheprovider tests/stages/test_killed.py

.PHONY: test-upgrade
test-upgrade: venv ## Upgrade and roll back the operator during a run, between RELEASE (by default the last) and this checkout
	hack/test/upgrade $(RELEASE)

.PHONY: release-data
release-data: venv ## Record what this version writes, for the tests of later ones (tests/releases/VERSION)
	PYTHONPATH=tests $(BIN)/python hack/release

.PHONY: bench-construct
bench-construct: ## Measure construct against pandas on 0.3 and 3 million responses (PYTHON=as above)
	PYTHONPATH=operator:images $(PYTHON) hack/bench/construct --rows 300000 3000000

.PHONY: bench-verify
bench-verify: ## Measure verify: mathematics answers and sandboxed programs per second (PYTHON=as above)
	PYTHONPATH=operator:images $(PYTHON) hack/bench/verify mathematics
	PYTHONPATH=operator:images $(PYTHON) hack/bench/verify coding --count 400

.PHONY: bench-generate
bench-generate: ## Measure generate's client against vLLM's own (PYTHON=one with vLLM, too; MODEL=a model's folder)
	@test -n "$(MODEL)" || { echo "MODEL=FOLDER is missing: a model's folder, such as SmolLM2-135M-Instruct's"; exit 2; }
	PYTHONPATH=operator:images $(PYTHON) hack/bench/generate --model $(MODEL)

.PHONY: bench-scale
bench-scale: venv ## Measure the operator with N runs at once, on nodes that do not exist (N=10; ARGS="--help" for the rest)
	eval "$$(hack/cluster/env)"; $(BIN)/python hack/bench/scale --runs $(N) $(ARGS)

.PHONY: clean
clean: ## Delete what the tools left in the checkout
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
