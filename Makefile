# Every target works from a fresh clone with python3, python3-venv and make.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin

help: ## what can be made
	@grep -hE '^[a-z%-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 16

$(BIN)/nsexporter: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(BIN)/pytest: $(BIN)/nsexporter
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

$(BIN)/ruff: $(BIN)/pytest
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,check]'
	@touch $@

$(BIN)/playwright: $(BIN)/pytest
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,suites]'
	@touch $@

run: $(BIN)/nsexporter ## install into .venv and serve http://localhost:10061/metrics
	$(BIN)/nsexporter $(ARGS)

test: $(BIN)/pytest ## unit, golden, property and live tests; what cannot run here says why not
	$(BIN)/python -m pytest $(ARGS)

test-%: $(BIN)/playwright ## one of the heavier suites below tests/ (test-runtimes, test-kernels, …)
	$(BIN)/python -m pytest tests/$* $(ARGS)

SUITES = unit golden property live web browser deploy grafana kernels runtimes soak
FULL = NSEXPORTER_SOAK_KILLS=500 NSEXPORTER_STORM_KILLS=500 NSEXPORTER_SOAK_SECONDS=600
test-all: $(BIN)/playwright ## every suite in full size, before a release; writes docs/tested-on.md
	rm -rf build/tested
	-for suite in $(SUITES); do \
		$(FULL) $(BIN)/python -m pytest tests/$$suite --junitxml=build/tested/$$suite.xml $(ARGS); \
	done
	$(BIN)/python -m tests.tested_on build/tested/*.xml >docs/tested-on.md

check: $(BIN)/ruff ## lint, types, generated documents
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m nsexporter.reference --check docs
	$(BIN)/python -m grafana.build --check

golden: $(BIN)/pytest ## write the golden expositions anew (review them as code)
	$(BIN)/python -m pytest tests/golden --update-golden

docs: $(BIN)/nsexporter ## write the generated documents, config.example.yaml and the dashboards
	$(BIN)/python -m nsexporter.reference docs
	$(BIN)/python -c 'from nsexporter import config; print(config.example(), end="")' >config.example.yaml
	$(BIN)/python -m grafana.build

bench: $(BIN)/pytest ## what a pass and a scrape cost on this machine (root, cc; some minutes)
	$(BIN)/python -m bench $(ARGS)

bench-compare: $(BIN)/nsexporter ## the same against another revision: make bench-compare REV=v1.0
	$(BIN)/python -m bench --compare "$(REV)" $(ARGS)

# The same commit gives the same bytes: times are the commit's (https://reproducible-builds.org).
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 315532800)
$(BIN)/shiv: $(BIN)/nsexporter
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dist]'
	@touch $@

dist: $(BIN)/shiv ## wheel and sdist, reproducibly, into dist/
	$(BIN)/python -m build --outdir dist .

# From the wheel by name, and without scripts: both would leave this place's path in the archive.
# An index is asked for the dependencies alone: what it may have by our name is not ours.
zipapp: dist ## dist/nsexporter.pyz: one file with all dependencies but Python
	rm -rf build/zipapp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --target build/zipapp \
		--no-index --no-deps --find-links dist \
		nsexporter==$$($(BIN)/python -c 'import nsexporter; print(nsexporter.__version__)')
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
		| $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --target build/zipapp \
		--requirement /dev/stdin
	rm -rf build/zipapp/bin
	sed -i '/^[.][.]\/[.][.]\/bin\//d' build/zipapp/*.dist-info/RECORD
	$(BIN)/shiv --reproducible --console-script nsexporter --site-packages build/zipapp \
		--python '/usr/bin/env python3' --output-file dist/nsexporter.pyz

demo: $(BIN)/playwright ## containers, an OOM kill, and its alert from Alertmanager (root, docker, prometheus)
	$(BIN)/python -m tests.grafana

pictures: $(BIN)/playwright ## every dashboard as Grafana's UI libraries draw it, into docs/pictures
	$(BIN)/python -m pytest tests/grafana/test_pictures.py
	mkdir -p docs/pictures && cp build/pictures/*.webp docs/pictures/

SECONDS = 300
fuzz: $(BIN)/pytest ## every parser and the HTTP layer against any bytes: make fuzz SECONDS=600
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check atheris # where there is a wheel
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(ARGS)

SHARE = build/share
share: $(BIN)/nsexporter ## man page and shell completion from the command line's parser, into build/share
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[share]'
	mkdir -p $(SHARE)/man/man8 $(SHARE)/bash-completion/completions $(SHARE)/zsh/site-functions
	$(BIN)/argparse-manpage --module nsexporter.cli --function parser --prog nsexporter \
		--project-name nsexporter --manual-title "System administration" --manual-section 8 \
		--description "Prometheus exporter of cgroup memory and namespaces" \
		--format single-commands-section --output $(SHARE)/man/man8/nsexporter.8
	$(BIN)/shtab --shell=bash nsexporter.cli.parser >$(SHARE)/bash-completion/completions/nsexporter
	$(BIN)/shtab --shell=zsh nsexporter.cli.parser >$(SHARE)/zsh/site-functions/_nsexporter

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

.PHONY: help run test test-all check golden docs bench bench-compare dist zipapp demo pictures share clean
