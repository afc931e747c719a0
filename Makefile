# Two commands are all: `make demo` and `make test`. Each installs what it needs. `make help` lists the rest.
.DEFAULT_GOAL := help
SHELL := /bin/bash
UV ?= $(shell command -v uv 2>/dev/null || echo .venv-uv/bin/uv)
PY := .venv/bin/python
# Two tests at a time: most wait. Those of the one cluster follow the others, one after another.
AT_ONCE := -n 2
export PYTHONPATH := operator:tests
export UV_LINK_MODE := copy

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv-uv/bin/uv:
	@command -v uv >/dev/null || { echo "installing uv"; python3 -m venv .venv-uv && .venv-uv/bin/pip -q install uv; }

.venv/.done: pyproject.toml uv.lock
	@command -v uv >/dev/null || $(MAKE) -s .venv-uv/bin/uv
	@echo "installing the Python packages of uv.lock"
	@$(UV) sync --quiet --frozen --all-extras
	@touch $@

.PHONY: setup
setup: .venv/.done ## install the Python packages into .venv

.PHONY: demo
demo: setup ## the main job from nothing: cluster, operator, shop, traffic, faults, verdict
	$(PY) -m demo up

.PHONY: demo-down
demo-down: setup ## remove what the demo left: the cluster with everything in it
	$(PY) -m demo down

.PHONY: test
test: setup ## all tests but the long ones, from nothing
	$(PY) -m lab up
	$(PY) -m pytest $(AT_ONCE) -m "not long" $(PYTEST_ARGS)

.PHONY: check
check: setup lint types imports ## lint, types, import contracts, unit, golden and contract tests
	$(PY) -m pytest -q $(AT_ONCE) tests/unit tests/golden tests/contract

.PHONY: lint
lint: setup ## ruff
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

.PHONY: types
types: setup ## mypy --strict
	.venv/bin/mypy operator/stickyrouting tests

.PHONY: imports
imports: setup ## the layers of the packages
	@.venv/bin/lint-imports

.PHONY: format
format: setup ## format the code
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

.PHONY: cluster
cluster: setup ## start a local Kubernetes (kind, native or current)
	$(PY) -m lab up

.PHONY: cluster-down
cluster-down: setup ## remove it, leaving nothing behind
	$(PY) -m lab down

.PHONY: manifests
manifests: setup ## render deploy/manifests from the chart
	$(PY) -m contract.render

.PHONY: bench
bench: setup ## speed beside other proxies, and what the session map carries: build/bench.json and tables (8 minutes, quiet machine)
	$(PY) -m bench

.PHONY: soak
soak: setup ## an hour of kills, reloads and cuts under load, the long tests, an hour of pods that leave (SOAK_SECONDS, SOAK_SESSIONS, CHAOS_SECONDS)
	$(PY) -m soak
	$(PY) -m lab up
	$(PY) -m pytest -m long
	CHAOS_SECONDS=$${CHAOS_SECONDS:-3600} $(PY) -m pytest tests/cluster/test_drain_chaos.py
