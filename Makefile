# The vocabulary of the project: people, Jenkins and CI call only these targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
UV_VERSION := 0.13.8
PYTHON := $(shell command -v python3.11 || command -v python3)

# A port or another knob: from the environment, else from .env, else the usual one. Docker Compose looks in the same order.
port = $(or $(shell sed -n 's/^$(1)=//p' .env 2>/dev/null),$(2))

export BOUCLE_DATA ?= data
export SERVING_PORT ?= $(call port,SERVING_PORT,8080)
export WEBAPP_PORT ?= $(call port,WEBAPP_PORT,8081)
export REPORTING_PORT ?= $(call port,REPORTING_PORT,8082)
export EXPORTER_PORT ?= $(call port,EXPORTER_PORT,8083)
export MLFLOW_PORT ?= $(call port,MLFLOW_PORT,5000)
export PROMETHEUS_PORT ?= $(call port,PROMETHEUS_PORT,9090)
export ALERTMANAGER_PORT ?= $(call port,ALERTMANAGER_PORT,9093)
# Who hears of alerts: docs/alerts.md.
ALERT_KNOBS := SLACK_CHANNEL ALERT_MAIL_TO ALERT_MAIL_FROM SMTP_SMARTHOST SMTP_USERNAME SMTP_REQUIRE_TLS REPOSITORY_URL
$(foreach knob,$(ALERT_KNOBS),$(eval export $(knob) ?= $$(call port,$(knob),)))
export SERVING_URL ?= http://127.0.0.1:$(SERVING_PORT)

# One thread per linear-algebra call: two workers and a trainer share the cores better than their thread pools do.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
# No telemetry: MLflow, Evidently, Streamlit.
export DO_NOT_TRACK := true
export MLFLOW_DISABLE_TELEMETRY := true
export STREAMLIT_BROWSER_GATHER_USAGE_STATS := false
# Its job runner would cost two gigabytes of memory for jobs that Boucle does not use.
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION := false
# What a training run is made with, for its record.
export BOUCLE_GIT_COMMIT := $(or $(BOUCLE_GIT_COMMIT),$(shell git rev-parse HEAD 2>/dev/null))
export PYTHONPATH := .
export PYTHONUNBUFFERED := 1
export PATH := $(CURDIR)/.venv/bin:$(PATH)

INSTALLED := .venv/installed

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  \033[1m%-14s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(INSTALLED): pyproject.toml uv.lock $(wildcard */pyproject.toml */*/pyproject.toml)
	@command -v uv >/dev/null || { $(PYTHON) -m venv .venv && pip install --quiet uv==$(UV_VERSION); } || \
		{ echo "Boucle needs Python 3.11 with its venv module (Debian: apt-get install python3.11-venv)"; exit 1; }
	uv sync --frozen --all-packages --all-extras
	@touch $@

.PHONY: setup
setup: $(INSTALLED) ## Create the environment from the lock file

.PHONY: etl
etl: $(INSTALLED) ## Load what is new of the sources into the warehouse; OPTIONS="--limit 500 --source name"
	boucle etl $(OPTIONS)

.PHONY: prepare
prepare: $(INSTALLED) ## Embed the source into data/ref_data.csv
	boucle prepare

.PHONY: train
train: $(INSTALLED) ## Compare the candidates, make the best the champion
	boucle train

.PHONY: ready-to-run
ready-to-run: $(INSTALLED)
	@boucle ports
	@boucle train --if-changed

.PHONY: run
run: ready-to-run ## Start the whole stack on this machine; Ctrl-C stops it
	@honcho start || test $$? -eq 130

.PHONY: demo
demo: ready-to-run ## The same, then drive traffic through it: usual rows, late labels, a shift
	@BOUCLE_DEMO=true honcho start || test $$? -eq 130

.PHONY: report
report: $(INSTALLED) ## Have the Evidently reports written now, and say where they are
	@boucle report

.PHONY: monitor
monitor: $(INSTALLED) ## Start Prometheus and Alertmanager beside `make run`; Ctrl-C stops both
	@scripts/monitor.sh || test $$? -eq 130

.PHONY: alerts
alerts: ## Show what fires, and who hears of it
	@scripts/alerts.sh list

.PHONY: alert-test
alert-test: ## Send a test alert to everybody who hears of pages
	@scripts/alerts.sh test

.PHONY: silence
silence: ## Keep an alert quiet: ALERT=DataDrift FOR=2h COMMENT="why"
	@scripts/alerts.sh silence "$(ALERT)" "$(or $(FOR),2h)" "$(or $(COMMENT),$(error COMMENT="why" is missing))"

.PHONY: up
up: ## Build and start the stack in Docker Compose; return when a prediction works
	@scripts/up.sh

.PHONY: down
down: ## Stop the stack in Docker Compose; its state stays
	docker compose down

.PHONY: ps
ps: ## Show the containers of the stack, and their health
	docker compose ps --all

.PHONY: logs
logs: ## Follow the logs of the stack
	docker compose logs --follow --tail 100

.PHONY: deploy
deploy: ## Put other images into service, TAG=… REGISTRY=…; go back if no prediction works
	@scripts/deploy.sh

.PHONY: publish
publish: ## Build the images of this commit and push them, REGISTRY=…
	@scripts/publish.sh

.PHONY: requirements
requirements: $(INSTALLED) ## Write each image's requirements.txt from the lock
	scripts/requirements.sh

.PHONY: e2e
e2e: $(INSTALLED) system-packages ## Test the whole stack in Docker Compose, in a copy of this folder
	pytest tests/e2e

.PHONY: test
test: $(INSTALLED) system-packages ## Run every test that needs no Docker
	pytest

# What the tests and the benchmark need of Debian: a browser, a load, servers that they start by themselves.
.PHONY: system-packages
system-packages:
	@missing=$$(command -v chromium >/dev/null || echo chromium; \
		command -v wrk >/dev/null || echo wrk; \
		command -v prometheus >/dev/null || echo prometheus; \
		command -v prometheus-alertmanager >/dev/null || echo prometheus-alertmanager; \
		command -v prometheus-node-exporter >/dev/null || echo prometheus-node-exporter; \
		test -n "$(wildcard /usr/lib/postgresql/*/bin/initdb)" || echo postgresql); \
	test -z "$$missing" || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
		echo "installing for the tests:" $$missing && { apt-get update -qq && apt-get install -y -qq $$missing; } >/dev/null; } || \
		echo "Some tests will be skipped (Debian: apt-get install" $$missing")"

.PHONY: bench
bench: $(INSTALLED) system-packages ## Measure serving beside other tools; OPTIONS="--quick --only boucle,naive,noop"
	python -m scripts.benchmarks.serving $(OPTIONS)

.PHONY: bench-training
bench-training: $(INSTALLED) ## Measure what a long history and a training run cost, as ratios within one run
	python -m scripts.benchmarks.loop
	python -m scripts.benchmarks.retraining $(OPTIONS)

.PHONY: bench-monitoring
bench-monitoring: $(INSTALLED) system-packages ## Measure what a look, a scrape and a report cost on 1,000,000 rows
	python -m scripts.benchmarks.monitoring $(OPTIONS)

.PHONY: bench-etl
bench-etl: $(INSTALLED) ## Measure seconds and memory of 10,000,000 rows from a file to ref_data.csv; OPTIONS="--rows 1000000"
	python -m scripts.benchmarks.etl $(OPTIONS)

.PHONY: bench-drift
bench-drift: $(INSTALLED) ## Measure false alarms and delays of the drift verdicts; OPTIONS="--datasets folder"
	python -m scripts.benchmarks.drift $(OPTIONS)

.PHONY: backtest
backtest: $(INSTALLED) ## Replay DATA=file through the loop and its rivals; OPTIONS="--target y"
	boucle backtest $(if $(DATA),"$(DATA)") $(OPTIONS)

.PHONY: dashboards
dashboards: $(INSTALLED) ## Write Grafana's dashboards from scripts/dashboards
	python -m scripts.dashboards

.PHONY: check
check: $(INSTALLED) ## Check format, lint, types, imports, the lock, the dashboards and the Compose files
	ruff format --check .
	ruff check .
	mypy
	lint-imports
	uv lock --check
	scripts/requirements.sh --check
	python -m scripts.dashboards --check
	scripts/check-compose.sh

.PHONY: format
format: $(INSTALLED) ## Format the code, and mend what the linter can
	ruff format .
	ruff check --fix .

.PHONY: clean
clean: ## Forget data, artifacts and what the tests left; the environment stays
	find data artifacts -mindepth 1 ! -name README.md -delete
	rm -rf screenshots backtest bench .bench/run .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
