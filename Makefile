# Everything that people and CI run. `make` lists it.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
# Dagster's own records. A .env file may name another folder.
DAGSTER_HOME ?= $(or $(shell sed -n 's/^DAGSTER_HOME=//p' .env 2>/dev/null),$(CURDIR)/.dagster)
export DAGSTER_HOME

.PHONY: help demo backfill ui serve bench-serving bench-model bench-backfill test stack-test check format lock clean

help:  ## List these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: $(BIN)/.ready $(DAGSTER_HOME)/dagster.yaml  ## Make three days of all assets and show what came out
	$(BIN)/movie-platform demo

backfill: $(BIN)/.ready $(DAGSTER_HOME)/dagster.yaml  ## Make the missing days of a range: FROM=2026-01-01 TO=2026-01-13
	$(BIN)/movie-platform backfill --from "$(FROM)" --to "$(TO)"
	$(BIN)/movie-platform report --from "$(FROM)" --to "$(TO)"

ui: $(BIN)/.ready $(DAGSTER_HOME)/dagster.yaml  ## Open the Dagster UI on http://127.0.0.1:3000
	PYTHONWARNINGS='ignore:Function `dev_command`' $(BIN)/dagster dev --workspace workspace.yaml --host 127.0.0.1 --port 3000

serve: $(BIN)/.ready  ## Serve predictions and upcoming films on http://127.0.0.1:8000
	$(BIN)/python -m serving

bench-serving: $(BIN)/.ready  ## Measure the service beside other ways to serve the model (needs wrk)
	$(BIN)/python -m benchmarks.serving

bench-model: $(BIN)/.ready  ## Measure the model on later films: CATALOGUE=films.jsonl.gz
	$(if $(CATALOGUE),,$(error Name the films, one TMDB item a line: make bench-model CATALOGUE=films.jsonl.gz))
	$(BIN)/python -m benchmarks.model_quality $(CATALOGUE:%=--catalogue "%") $(EVALUATE:%=--evaluate "%") \
		--train-until "$(or $(TRAIN_UNTIL),2019-12-31)"

bench-backfill: $(BIN)/.ready  ## Measure a backfill beside one run a day with Dagster's default executor: DAYS="10 30"
	$(BIN)/python -m benchmarks.backfill $(if $(DAYS),--days $(DAYS))

test: $(BIN)/.ready .bench/mlflow/mlflow.lock  ## Run the tests
	$(BIN)/python -m pytest -n auto --dist loadgroup

stack-test: $(BIN)/.ready  ## Test the deployed stack with real containers (needs Docker)
	@if docker compose version > /dev/null 2>&1 && docker info > /dev/null 2>&1; then \
		docker image inspect caddy:2 > /dev/null 2>&1 || docker pull --quiet caddy:2 || \
			{ docker build --tag caddy:2 movie_platform_tests/stack/caddy && \
				echo "caddy:2 is a stand-in for these tests now: docker compose pull proxy brings the real one."; } && \
		$(BIN)/python -m pytest -m stack --exitfirst --verbose --durations=10 \
			-n 2 --dist loadfile movie_platform_tests/stack; \
	else echo "The stack is not tested: no Docker engine with compose answers here."; fi

check: $(BIN)/.ready $(DAGSTER_HOME)/dagster.yaml  ## Format, lint, types, import contracts, definitions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint $$(find . -name Dockerfile -not -path './.*')
	$(BIN)/compose-lint check --quiet --skip-suppressed --fail-on low --strict-config --no-env docker-compose.yml
	$(BIN)/zizmor --quiet --offline .github
	@# actionlint looks for shellcheck on the path. There is none for Linux on ARM.
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/actionlint
	if [ -x $(BIN)/shellcheck ]; then $(BIN)/shellcheck $$(grep -rlE '^#!.*\bbash' .ci deploy); fi
	PYTHONWARNINGS='ignore:Function `definitions_validate_command`' $(BIN)/dagster definitions validate --workspace workspace.yaml

format: $(BIN)/.ready  ## Format the code and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

COMPILE = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11

lock: $(BIN)/.ready  ## Resolve the lock files anew
	$(COMPILE) pyproject.toml --all-extras --output-file locks/dev.lock
	$(COMPILE) pyproject.toml --extra platform --extra ui --extra deploy --extra tracking --constraints locks/dev.lock --output-file locks/platform.lock
	$(COMPILE) pyproject.toml --extra serving --constraints locks/dev.lock --output-file locks/serving.lock
	$(COMPILE) locks/mlflow.in --output-file locks/mlflow.lock

clean:  ## Remove the environments, Dagster's records and caches (not the data)
	rm -rf .venv .dagster .serving .bench .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(BIN)/.ready: locks/dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; name one: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	awk '/^uv==/ {uv = 1; print; next} /^[^ ]/ {uv = 0} uv' locks/dev.lock > .venv/uv.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement .venv/uv.lock
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes locks/dev.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

# The MLflow server that the tests record trainings on.
.bench/mlflow/mlflow.lock: locks/mlflow.lock | $(BIN)/.ready
	$(BIN)/python -m benchmarks.serving.mlflow_environment
	touch $@

# A link, so that the project's own folder follows the project's file; somebody's own file is left alone.
$(DAGSTER_HOME)/dagster.yaml:
	mkdir -p $(DAGSTER_HOME)
	ln -sf $(CURDIR)/dagster.yaml $@
