# Every target sets up what it needs in .venv/ first. PYTHON: the interpreter to build it with, 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/pytest -n auto --dist worksteal
DEMO := demo
QUERY := $(DEMO)/data/query/0101_c1s1_010111_01.jpg
SHIPPED := $(notdir $(wildcard src/dare/shipped/lite))

.PHONY: demo test check bench docs lowest clean

# Draw the tiny synthetic benchmark, train a small network on it, score every exit, write a report; then fill a gallery,
# search it, and identify a stream of queries on half of the full network's budget. Then do the same with the network
# that is shipped.
demo: .venv/installed
	rm -rf $(DEMO)
	$(BIN)/dare data synthetic $(DEMO)/data --size tiny
	$(BIN)/dare train $(DEMO)/data $(DEMO)/run --preset demo --threads 1
	$(BIN)/dare evaluate $(DEMO)/data --model $(DEMO)/run --report $(DEMO)/report.html
	$(BIN)/dare index $(DEMO)/gallery --model $(DEMO)/run --images $(DEMO)/data --threads 1
	$(BIN)/dare search $(DEMO)/gallery $(QUERY) --count 5 --threads 1
	$(BIN)/dare stream $(DEMO)/gallery --queries $(DEMO)/data --mean-macs 1.7M --threads 1
	$(if $(SHIPPED),$(BIN)/dare index $(DEMO)/gallery-$(SHIPPED) --model $(SHIPPED) --images $(DEMO)/data)
	$(if $(SHIPPED),$(BIN)/dare search $(DEMO)/gallery-$(SHIPPED) $(QUERY) --count 5)
	$(if $(SHIPPED),$(BIN)/dare stream $(DEMO)/gallery-$(SHIPPED) --queries $(DEMO)/data)
	@echo "Open $(DEMO)/report.html in a browser."

test: .venv/installed
	$(PYTEST)

check: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(PYTEST)

bench: .venv/installed
	$(BIN)/python bench/scoring.py

docs: .venv/installed
	$(BIN)/python -m pip install --quiet --group docs
	$(BIN)/sphinx-build --fail-on-warning --quiet docs docs/_build
	@echo "Open docs/_build/index.html in a browser."

# The tests again with the oldest versions of every dependency that pyproject.toml allows.
lowest: .venv/installed
	rm -rf .venv-lowest
	$(BIN)/uv venv --quiet --python $(BIN)/python .venv-lowest
	$(BIN)/uv pip install --quiet --python .venv-lowest --resolution lowest-direct --editable '.[all]' --group dev
	.venv-lowest/bin/python -m pytest -n auto --dist worksteal -m 'not heavy'

.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("dare needs Python 3.11 or newer, this is %s; set PYTHON=..." % sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable '.[all]' --group dev
	touch $@

clean:
	rm -rf .venv .venv-lowest $(DEMO) docs/_build
