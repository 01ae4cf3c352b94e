# make demo: a trained agent and its evaluation in a few minutes.   make test: the tests.
# Both make .venv and install into it; nothing is needed beforehand but Python 3.11+ and make.
PYTHON ?= python3
DEMO ?=# options of spl train agent, such as "--num_steps 500" for a demo of seconds
BIN := .venv/bin
INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt

# Without compiled files every process of a test takes three times as long to import torch and the rest.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint check docs tutorial clean

demo: .venv/core
	$(BIN)/spl train agent $(DEMO)
	$(BIN)/spl evaluate agent "$$(ls -td runs/agent/*/ | head -n 1)"
	@echo "The run directory is $$(ls -td runs/agent/*/ | head -n 1): configuration, metrics, checkpoints, memory, evaluation."
	@echo "Next: . .venv/bin/activate && spl --help"

test: .venv/dev
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations 25

lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy -p spl

check: lint test

tutorial: .venv/core
	$(BIN)/python scripts/site/notebook.py docs/tutorial/crossing.ipynb

docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "The site is in site/: python -m http.server --directory site"

.venv/uv:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "spl needs Python 3.11 or newer; choose one: make PYTHON=python3.12"'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	touch $@

.venv/core: .venv/uv pyproject.toml constraints.txt
	$(INSTALL) --editable .
	touch $@

.venv/dev: .venv/core
	$(INSTALL) --editable '.[dev,all,ray]'
	touch $@

.venv/docs: .venv/core
	$(INSTALL) --editable '.[docs]'
	touch $@

clean:
	rm -rf .venv build dist site *.egg-info
