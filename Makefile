# `make help` lists the targets. Large builds are cached outside the checkout (FUSIONRUN_CACHE).
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
export CLUSTER ?= local
RUN ?= tiny
N ?= 1
ARGS ?=
TAG ?=
PYTHON ?= python3

VENV := $(shell hack/venv --path)
BIN := $(VENV)/bin
PURE := tests/api tests/objects tests/plan tests/state tests/releases
SOURCES := operator images/fusionrun_stages tests hack

.PHONY: help demo test check venv fmt lint type generate verify unit test-adapters test-scale test-mlflow test-alerts cluster-up \
	cluster-down cluster-status images images-cuda test-cluster test-stages test-e2e test-pods test-kills test-mutations \
	fuzz oracles test-upgrade test-integrations release-data release-check release-images release-files \
	release-chart release-sign sbom audit bench-construct bench-verify bench-train \
	bench-score bench-generate bench-judge bench-reconcile bench-scale bench-status rehearsal gpu-check clean

# Prerequisites run in the order of their line, also under `make -j`.
.NOTPARALLEL:

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: check venv ## Start a cluster, run a complete FusionRun and print its results (RUN=tiny, smollm2 or one-gpu)
	hack/demo/run $(RUN)

# FUSIONRUN_TEST_ALL: a test of the chart fails without helm, which cluster-up builds, instead of being skipped.
test: export FUSIONRUN_TEST_ALL := 1
test: check verify lint type unit test-alerts cluster-up test-adapters test-scale images test-cluster test-pods ## Run all tests, including those on a cluster

check: ## List the missing requirements of the cluster (CLUSTER=local, kind or existing)
	@hack/cluster/check

venv: ## Create the Python environment of the tools and tests
	@hack/venv

fmt: venv ## Format the code
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

lint: venv ## Check style, imports between packages, and YAML
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	PYTHONPATH=operator:images $(BIN)/lint-imports
	$(BIN)/yamllint -s manifests/samples manifests/gitops/example helm/fusionrun/values.yaml tests/crd .github

type: venv ## Check types
	$(BIN)/mypy

generate: venv ## Write the generated files: the CRD, its reference and the chart's copies
	$(BIN)/python hack/generate

verify: venv ## Fail if a generated file is out of date
	$(BIN)/python hack/generate --check

unit: ## Test the functional core: tests/{api,objects,plan,state,releases}, with pydantic, pytest and hypothesis only
	hack/venv --pure
	@printf '%s\n' $(PURE) | xargs -P 2 -n 2 $(shell hack/venv --pure --path)/bin/python -m pytest -q -p no:cacheprovider

test-adapters: venv ## Test everything around the core without a cluster: tests/{cluster,handlers,chart,cli,crd,gitops,repository}
	$(BIN)/python -m pytest -q -m "not cluster" tests/cluster tests/handlers tests/chart tests/cli tests/crd tests/gitops tests/repository

test-scale: venv cluster-up ## Run 10 FusionRuns at once on a control plane of their own with simulated nodes
	hack/test/scale

test-mlflow: ## Test a training's run on a real MLflow server (MLFLOW=PROGRAM; PYTHON with the extra train)
	@test -n "$(MLFLOW)" || { echo "MLFLOW=PROGRAM is required: mlflow of an environment with pip install mlflow"; exit 2; }
	FUSIONRUN_MLFLOW=$(MLFLOW) PYTHONPATH=operator:images:tests:hack $(PYTHON) -m pytest -q tests/stages/training/test_mlflow.py

test-alerts: ## Check and test the alert rules with promtool (hack/prometheus unpacks it if it is not installed)
	tools=$$(hack/prometheus); "$$tools/promtool" check rules manifests/monitoring/rules.yaml; \
		"$$tools/promtool" test rules tests/chart/alerts.yaml

cluster-up: ## Start the cluster (CLUSTER=local or kind), or check an existing one (CLUSTER=existing)
	hack/cluster/up

cluster-down: ## Stop the cluster and restore the network and mounts of the machine
	hack/cluster/down

cluster-status: ## Show the status of the cluster (CLUSTER=existing: what it has and what it lacks)
	hack/cluster/status

images: ## Build the images and load them into the cluster
	hack/images/build

images-cuda: ## Build and check the CUDA variant of the train and reward images; needs no GPU (not in CI)
	hack/images/build --cuda

test-cluster: venv ## Test the CRD, the chart and the command check with the API server of the cluster
	eval "$$(hack/cluster/env)"; $(BIN)/python -m pytest -q -m cluster tests/chart tests/cli tests/crd

test-stages: ## Test the stages with tiny models, in a pod with the packages of the images: tests/{stages,tiny}
	hack/test/stages

test-pods: venv ## Run test-stages and test-e2e at the same time
	hack/test/pods

test-e2e: venv ## Test complete FusionRuns on the cluster; the operator is killed in every stage
	hack/test/e2e

test-kills: ## Kill the data stages 200 times at random moments and compare their output (PYTHON with the stages' packages)
	FUSIONRUN_TEST_KILLS=200 PYTHONPATH=operator:images $(PYTHON) -m pytest -q -s -p no:cacheprovider \
		tests/stages/test_killed.py tests/stages/test_killed_workers.py

test-mutations: ## Compare the judge of coding with plain Python on mutants of 200 programs (PYTHON as for test-kills)
	FUSIONRUN_TEST_MUTATIONS=200 PYTHONPATH=operator:images $(PYTHON) -m pytest -q -s -p no:cacheprovider tests/stages/sandbox/test_mutations.py

fuzz: venv ## Decide on 10,000 random histories of a run; `make unit` has 200 of them
	seq 5 | FUSIONRUN_HISTORIES=2000 xargs -P 2 -n 1 $(BIN)/python -m pytest -q -p no:cacheprovider tests/state/test_histories.py --hypothesis-seed

oracles: ## Compare graders with the official code that PyPI has; fail if a committed result changes (not in CI)
	hack/oracle/packaged

test-upgrade: venv ## Upgrade and roll back the operator during a run, between RELEASE (default: the latest) and this checkout
	hack/test/upgrade $(RELEASE)

test-integrations: venv cluster-up images ## Test with Kueue, Kubeflow Trainer, Flux and others on the local cluster (not in CI)
	hack/integrations/test

release-data: venv ## Record the data formats of this version for compatibility tests (tests/releases/VERSION)
	PYTHONPATH=tests $(BIN)/python hack/release

release-check: ## Fail if an image from elsewhere has no digest, or if TAG is not that of the next release
	hack/publish/check $(TAG)

release-images: ## Build the wheel and the images and push them to REGISTRY (Docker with buildx)
	hack/publish/images

release-files: ## Write the chart with the digests of release-images, install.yaml and the checksums to dist (helm)
	@test -n "$(REGISTRY)" || { echo "REGISTRY=HOST/PATH is required: the registry that has the images"; exit 2; }
	hack/publish/files $(REGISTRY) dist/images.json

release-chart: ## Push the chart of release-files to REGISTRY as an OCI artifact (helm)
	hack/publish/chart

release-sign: ## Sign the images, the chart and the checksums (cosign, in the release workflow)
	hack/publish/sign

sbom: ## Write a bill of materials (CycloneDX) for each lock file of the images to dist/sbom
	hack/supply/sbom

audit: ## Look up all locked packages in PyPI's vulnerability database (not in CI: needs the internet)
	hack/supply/audit

bench-construct: ## Compare construct with pandas on 0.3 and 3 million responses (PYTHON as for test-kills)
	PYTHONPATH=operator:images $(PYTHON) hack/bench/construct --rows 300000 3000000

bench-verify: ## Measure verified mathematics answers and sandboxed programs per second (PYTHON as for test-kills)
	PYTHONPATH=operator:images $(PYTHON) hack/bench/verify mathematics
	PYTHONPATH=operator:images $(PYTHON) hack/bench/verify coding --count 400

bench-train: ## Compare the trainers of sft and dpo with plain TRL: losses and tokens per second (PYTHON with the extra train)
	PYTHONPATH=operator:images:tests $(PYTHON) hack/bench/train $(ARGS)

bench-score: ## Compare the batches of score with batches of 16: padding and CPU seconds (PYTHON with the extra reward)
	PYTHONPATH=operator:images $(PYTHON) hack/bench/score $(ARGS)

bench-generate: ## Compare the client of generate with vllm bench serve (PYTHON also with vLLM; MODEL=FOLDER of a model)
	@test -n "$(MODEL)" || { echo "MODEL=FOLDER is required: the folder of a model such as SmolLM2-135M-Instruct"; exit 2; }
	PYTHONPATH=operator:images $(PYTHON) hack/bench/generate --model $(MODEL)

bench-judge: ## Measure judged pairs per second against a judge that replies at once (PYTHON as for test-kills)
	PYTHONPATH=operator:images $(PYTHON) hack/bench/judge $(ARGS)

bench-reconcile: venv ## Measure what N concurrent runs cost the operator, without a cluster (N=10; ARGS="--help" lists the options)
	PYTHONPATH=operator:images $(BIN)/python hack/bench/reconcile --runs $(N) $(ARGS)

bench-scale: venv ## Measure the operator, or Argo Workflows, with N runs on simulated nodes (N=10; ARGS="--help" lists the options)
	eval "$$(hack/cluster/env)"; PYTHONPATH=operator:images $(BIN)/python hack/bench/scale --runs $(N) $(ARGS)

bench-status: venv ## Measure the API server's CPU time for a write of a run's status (ARGS="--writes 300")
	eval "$$(hack/cluster/env)"; PYTHONPATH=operator:images $(BIN)/python hack/bench/status $(ARGS)

rehearsal: venv ## Simulate the sample's order of stages beside the optimum (ARGS="--runs 20 --nodes 16 --solve 600")
	PYTHONPATH=operator:images:tests $(BIN)/python hack/bench/rehearsal --solve 60 $(ARGS)

gpu-check: ## Check training, scoring and generation on the GPU of this machine (PYTHON with torch; docs/gpu.md)
	PYTHON=$(PYTHON) hack/gpu/check $(ARGS)

clean: ## Delete the caches of the tools in the checkout
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
