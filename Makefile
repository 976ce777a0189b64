# `make help` lists what there is. Everything runs in .venv, which make sets up by itself.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
STARTED := $(shell date +%s)
BIN := $(CURDIR)/.venv/bin
TESTBED := python -m testbed
export PATH := $(BIN):$(PATH)
export MOLECULE_GLOB := molecule/*/molecule.yml
# Bytecode beside no source, but kept: uv compiles nothing, and to compile Ansible takes 0.4 s of each start.
export PYTHONPYCACHEPREFIX := $(CURDIR)/.cache/pycache
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "%-14s %s\n", $$1, $$2}'

.PHONY: venv
venv: ## make or update .venv with the tools of requirements-dev.txt
	@$(PYTHON) -m testbed.python_env .venv

##
## Demo
##
.PHONY: demo
demo: venv ## two Flask apps live over HTTPS on a fresh Debian host in a container
	@$(TESTBED) demo run --started $(STARTED)

.PHONY: demo-down
demo-down: ## remove the demo's host, certificate authority, network and files
	@$(PYTHON) -m testbed demo down

##
## Tests
##
.PHONY: test
test: venv ## everything: linters, unit and template tests, Molecule; one summary at the end
	@python tests/run.py

.PHONY: lint
lint: venv ## linters, type checker, sanity tests, documentation checks
	@python tests/run.py lint

.PHONY: unit
unit: venv ## unit and template tests, and the example's own
	@python tests/run.py unit

.PHONY: molecule
molecule: venv ## the Molecule scenarios: Debian 12 and 13 hosts, real certificates
	@python tests/run.py molecule

.PHONY: test-fleet test-containers test-compose test-kubernetes
test-fleet: venv ## the scenario fleet: two balancers, three hosts of the apps; on a machine that does nothing else
	@python tests/run.py fleet

test-containers: venv ## the scenario containers: images, and releases that are containers; likewise
	@python tests/run.py containers

test-compose: venv ## the scenario compose: a Compose project on a host with Docker; likewise
	@python tests/run.py compose

test-kubernetes: venv ## the scenario kubernetes: a real cluster, in containers; likewise
	@python tests/run.py kubernetes

.PHONY: test-matrix
test-matrix: venv ## the default scenario under the oldest and the newest ansible-core
	@python -m tests.matrix

.PHONY: bench-noop
bench-noop: venv ## how long a run takes that has nothing to do, with 1, 2, 50 and 150 apps
	@python bench/noop.py

.PHONY: bench-fleet
bench-fleet: venv ## how long a run takes that has nothing to do, over 1, 5, 10 and 20 hosts behind a balancer
	@python bench/fleet.py

.PHONY: bench-deploy
bench-deploy: venv ## what a deployment costs: requests, latencies, seconds, memory; ONLY="deploy restart" for parts
	@python bench/deploy.py $(if $(ONLY),--only $(ONLY))

.PHONY: bench-edge
bench-edge: venv ## what nginx costs, beside one that was tuned by hand for one thing
	@python bench/edge.py

.PHONY: bench-servers
bench-servers: venv ## the same app under each server: requests, latencies, memory, start; docs/choosing-a-server.md
	@python bench/servers.py

.PHONY: bench-containers
bench-containers: venv ## the same app as a process, in Podman, in Docker, and in a Compose project: requests, latencies
	@python bench/containers.py

.PHONY: bench-kubernetes
bench-kubernetes: venv ## what clients lose on a cluster, drawn from the last run of make test-kubernetes
	@python bench/kubernetes.py

.PHONY: bench-lifetime
bench-lifetime: venv ## 200 days of certificates that live 6 to 90 days, on short clocks: half an hour
	@python bench/lifetime.py

##
## Documentation, release
##
.PHONY: docs
docs: venv ## the site of the documentation, in .cache/docs/html; needs no network once its tools are there
	@python -m docs.site.build

.PHONY: release
release: venv ## changelog, version, tag and tarball: VERSION=0.2.0; pushes nothing
	@python -m testbed.release "$(VERSION)"

.PHONY: clean
clean: ## remove every lab, virtual environment and cache of this clone
	@for lab in demo $$(ls .cache/lab 2>/dev/null); do $(PYTHON) -m testbed down $$lab || true; done
	@rm -rf .venv .venv-* .cache .mypy_cache .ruff_cache .pytest_cache .ansible
