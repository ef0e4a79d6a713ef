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
# What the webapp's Monitoring page links to: PROMETHEUS_URL and GRAFANA_URL too, where they run.
export REPORTING_URL ?= http://localhost:$(REPORTING_PORT)
export MLFLOW_URL ?= http://localhost:$(MLFLOW_PORT)

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
	@awk -F ':.*## ' '/^##@ / {print "\n" substr($$0, 5)} \
		/^[a-z0-9-]+:.*## / {printf "  \033[1m%-17s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(INSTALLED): pyproject.toml uv.lock $(wildcard */pyproject.toml */*/pyproject.toml)
	@command -v uv >/dev/null || { $(PYTHON) -m venv .venv && pip install --quiet uv==$(UV_VERSION); } || \
		{ echo "Boucle needs Python 3.11 with its venv module (Debian: apt-get install python3.11-venv)"; exit 1; }
	uv sync --frozen --all-packages --all-extras
	@touch $@

##@ On this machine

.PHONY: setup
setup: $(INSTALLED) ## Create the environment from the lock file

.PHONY: etl
etl: $(INSTALLED) ## Load what is new of the sources into the warehouse; OPTIONS="--limit 500 --source name"
	boucle etl $(OPTIONS)

.PHONY: prepare
prepare: $(INSTALLED) ## Embed the source into data/ref_data.csv
	boucle prepare --if-changed

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

.PHONY: diagnose
diagnose: $(INSTALLED) ## Write a page on what is wrong in production, since when, and what to do; OPTIONS="--out folder"
	@boucle diagnose $(OPTIONS)

##@ Pipelines: each runs alone, and goes on where it failed; FROM=step starts there

# What a person runs is what Jenkins and GitHub Actions run. A step is a target: it is idempotent, and one that finds
# nothing new says so. What became of the steps is in build/pipelines, what they made elsewhere in build/.
PIPELINE = @python -m scripts.pipelines $(if $(FROM),--from $(FROM))
ETL := $(if $(shell grep -slE '^\[+etl' "$${BOUCLE_PROJECT:-project.toml}"),etl)
OPTIONS ?= $(if $(LIMIT),--limit $(LIMIT))
# For one run, in place of what project.toml says: K=20 STRATEGY=scratch,window
comma := ,
ifneq ($(K),)
export BOUCLE__FEEDBACK__K := $(K)
endif
ifneq ($(STRATEGY),)
export BOUCLE__TRAINING__STRATEGIES := ["$(subst $(comma),"$(comma)",$(STRATEGY))"]
endif

.PHONY: data
data: $(INSTALLED) ## Collect and prepare the data, check the contract, tell the drift; LIMIT=500
	$(PIPELINE) data $(ETL) prepare contract drift

.PHONY: training
training: $(INSTALLED) ## Train if the data changed, examine challengers, promote the winner; K=20 STRATEGY=scratch
	$(PIPELINE) training drift first-champion retrain smoke

.PHONY: code
code: $(INSTALLED) ## Check, test and build: what a change must pass
	$(PIPELINE) code lint types files groovy security duplicates coverage images

.PHONY: contract
contract: $(INSTALLED) ## Check that the data have the form that clients were promised
	@boucle contract

.PHONY: drift
drift: $(INSTALLED) ## Tell what moved in production; Evidently's pages in build/reports
	@boucle drift
	@python -m reporting.html build/reports

.PHONY: first-champion
first-champion: $(INSTALLED)
	@boucle train --if-changed --plots build/training

.PHONY: retrain
retrain: $(INSTALLED) ## Examine challengers if k rows are new; promote the winner; plots in build/training
	@boucle retrain --if-due --plots build/training

.PHONY: smoke
smoke: $(INSTALLED) ## One real prediction by the champion: of the running API, else of one started for it
	@scripts/smoke-local.sh

.PHONY: notify
notify: $(INSTALLED) ## Tell people: TITLE=… TEXT=… STATUS=ok or failed
	@boucle notify "$$TITLE" "$$TEXT" --status "$${STATUS:-ok}" || echo "nobody was told"

##@ In Docker Compose

.PHONY: up
up: ## Build and start the stack in Docker Compose; return when a prediction works
	@scripts/up.sh

.PHONY: down
down: ## Stop the stack in Docker Compose; its state stays
	docker compose down

.PHONY: stack-etl
stack-etl: ## Load what is new of the sources, in the stack; then make up. OPTIONS="--limit 500 --source name"
	@scripts/secrets.sh && docker compose run --rm --build etl boucle etl $(OPTIONS)

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

.PHONY: images
images: ## Build the images of this folder, where Docker is
	@if docker info >/dev/null 2>&1; then scripts/secrets.sh && docker compose build; else echo "no Docker engine: no images built"; fi

##@ Code

.PHONY: requirements
requirements: $(INSTALLED) ## Write each image's requirements.txt from the lock
	scripts/requirements.sh

.PHONY: e2e
e2e: $(INSTALLED) system-packages ## Test the whole stack in Docker Compose, in a copy of this folder
	pytest tests/e2e

.PHONY: test
test: $(INSTALLED) system-packages ## Run every test that needs no Docker
	pytest --junitxml build/tests.xml

.PHONY: coverage
coverage: $(INSTALLED) system-packages ## The tests, and which lines they ran: build/coverage; fails below the floor
	scripts/coverage.sh $(TESTS)

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

.PHONY: score
score: $(INSTALLED) ## Predict every row of a table: INPUT=file-or-table OUTPUT=file-or-table; OPTIONS="--version v3"
	@boucle score "$(or $(INPUT),$(error INPUT=… is missing))" "$(or $(OUTPUT),$(error OUTPUT=… is missing))" $(OPTIONS)

.PHONY: watch
watch: $(INSTALLED) ## Do again what a changed file makes stale: checks and tests, data, training; Ctrl-C ends
	@python -m scripts.watch

.PHONY: package
package: $(INSTALLED) ## Build the wheel of `boucle` into dist/
	uv build --wheel --quiet --package boucle --out-dir dist

.PHONY: dashboards
dashboards: $(INSTALLED) ## Write Grafana's dashboards from scripts/dashboards
	python -m scripts.dashboards

.PHONY: check
check: lint types files ## Check all that takes seconds: lint, types, files

.PHONY: lint
lint: $(INSTALLED) ## Check format and lint of the Python code
	ruff format --check .
	ruff check .

.PHONY: types
types: $(INSTALLED) ## Check types, and who may import whom
	mypy
	lint-imports

.PHONY: files
files: $(INSTALLED) ## Check all other files: the lock, dashboards, Compose, shell, workflows
	uv lock --check
	scripts/requirements.sh --check
	python -m scripts.dashboards --check
	scripts/check-compose.sh
	scripts/check-ci.sh

.PHONY: security
security: $(INSTALLED) ## Look for risky code, known vulnerabilities and secrets
	bandit --quiet --configfile pyproject.toml --severity-level medium --recursive scripts serving webapp reporting monitoring
	git ls-files -z -co --exclude-standard | xargs -0 detect-secrets-hook --exclude-files uv.lock
	python -m scripts.audit

.PHONY: groovy
groovy: $(INSTALLED) ## Lint Jenkins' pipelines, where Java is
	scripts/check-ci.sh jenkins

.PHONY: duplicates
duplicates: $(INSTALLED) ## Look for ten equal lines in two places
	pylint scripts/boucle scripts/pipelines serving webapp reporting monitoring/exporter

.PHONY: hooks
hooks: $(INSTALLED) ## Have git run the checks: quick ones before a commit, the slow ones before a push
	pre-commit install --install-hooks --hook-type pre-commit --hook-type pre-push

.PHONY: format
format: $(INSTALLED) ## Format the code, and mend what the linter can
	ruff format .
	ruff check --fix .

.PHONY: clean
clean: ## Forget data, artifacts and what the tests left; the environment stays
	find data artifacts -mindepth 1 ! -name README.md -delete
	rm -rf build screenshots backtest diagnosis bench .bench/run .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
