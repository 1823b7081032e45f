# One definition of each task; .ci/run and people call the same. `make` alone lists them.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := python -m pip install --quiet --disable-pip-version-check --no-compile
# Each file in constraints/ has hashes, so pip takes nothing without. PySpark alone has no wheel.
PINNED := $(PIP) --no-build-isolation --only-binary :all: --no-binary pyspark
SOURCE ?= sample-bucket
LAKE   ?= lake

# Thousands of processes start in the tests: where this is set each compiles all its modules anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help

.PHONY: help install convert report test quick oldest lint types check docs site wheel format notebook notebooks bench fuzz mutants soak pins audit clean

help:  ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  SOURCE=$(SOURCE) LAKE=$(LAKE): folders or s3://…, for make convert"

$(BIN)/flowlake: pyproject.toml constraints/base.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "FlowLake needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	@echo "Setting up $(VENV) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/$(PINNED) -r constraints/base.txt
	@$(BIN)/$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

SETS := report notebooks dev bench

$(SETS:%=$(VENV)/.%): $(VENV)/.%: $(BIN)/flowlake constraints/%.txt
	@echo "Adding constraints/$*.txt …"
	@$(BIN)/$(PINNED) -r constraints/$*.txt
	@touch $@

$(VENV)/.bench: $(VENV)/.dev

install: $(BIN)/flowlake  ## set up .venv with the flowlake command

sample-bucket: | $(BIN)/flowlake
	@$(BIN)/flowlake sample $@.part 2> /dev/null && mv $@.part $@
	@echo "Made a sample bucket: $@"

convert: $(BIN)/flowlake $(if $(filter sample-bucket,$(SOURCE)),sample-bucket)  ## convert SOURCE into LAKE and show the traffic by protocol
	@$(BIN)/flowlake convert '$(SOURCE)' --lake '$(LAKE)'
	@$(BIN)/flowlake query protocol_breakdown --lake '$(LAKE)'

REPORT ?= report.html

report: $(VENV)/.report convert  ## convert, and write LAKE as a page to look at: REPORT=report.html
	@$(BIN)/flowlake report '$(REPORT)' --lake '$(LAKE)'

# One more than cores: many tests wait, for S3 or for a pause to end.
PARALLEL := -n $(shell expr $$(nproc) + 1) --dist worksteal

test: lint types oldest  ## lint, types, and every test
	@$(BIN)/python -m pytest $(PARALLEL)

quick: $(VENV)/.dev  ## the tests that need no Spark, and so no Java
	@$(BIN)/python -m pytest $(PARALLEL) -m "not spark and not long"

OLDEST := $(VENV)/duckdb-1.5.5

$(OLDEST): $(VENV)/.dev constraints/oldest.txt
	@$(BIN)/$(PINNED) --no-deps --target $@ -r constraints/oldest.txt

oldest: $(OLDEST)  ## the saved queries on the oldest DuckDB that is supported, and its httpfs
	@PYTHONPATH=$(OLDEST) $(BIN)/python -c 'import duckdb; assert duckdb.__version__ == "1.5.5"'
	@PYTHONPATH=$(OLDEST) $(BIN)/python -m pytest --quiet $(PARALLEL) tests/test_parity.py tests/test_queries.py tests/test_enrichment.py tests/test_hunting.py tests/test_httpfs.py

lint: $(VENV)/.dev  ## ruff: style and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.dev  ## mypy --strict
	@$(BIN)/mypy

check: test  ## the same as test

ALONE := dist/alone/bin

wheel: $(VENV)/.dev  ## build wheel and sdist into dist, and try the wheel where nothing else is
	@rm -rf dist
	@$(BIN)/python -m hatchling build --directory dist
	@$(PYTHON) -m venv dist/alone
	@$(ALONE)/$(PINNED) -r constraints/base.txt
	@$(ALONE)/$(PIP) --no-deps dist/*.whl && $(ALONE)/python -m pip check
	@cd dist && alone/bin/flowlake sample bucket && alone/bin/flowlake convert bucket
	@cd dist && alone/bin/flowlake query protocol_breakdown && alone/bin/flowlake verify
	@cp tests/data/typed.py dist
	@cd dist && ../$(BIN)/mypy --config-file= --python-executable alone/bin/python --strict typed.py

format: $(VENV)/.dev  ## rewrite the code in the house's format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(VENV)/.dev  ## regenerate the pages that are written from the code
	@$(BIN)/python -m flowlake.catalog > queries/README.md
	@$(BIN)/python -m website.reference

site: $(VENV)/.dev  ## build the documentation as a site: open site/index.html
	@$(BIN)/python -m website

notebook: $(VENV)/.notebooks convert  ## open the notebooks in Jupyter, on the sample bucket's lake
	@$(BIN)/jupyter lab --notebook-dir=notebooks

notebooks: $(VENV)/.dev convert  ## run every notebook from its top
	@cd notebooks && ../$(BIN)/jupyter execute *.ipynb

bench: $(VENV)/.bench  ## measure beside other tools, for 20 minutes, into benchmarks/RESULTS.md
	@$(BIN)/python -m benchmarks

MINUTES ?= 10

fuzz: $(VENV)/.dev  ## read damaged objects for MINUTES=10, and keep what goes wrong in findings
	@$(BIN)/python -m benchmarks.fuzz --minutes $(MINUTES)

MODULE ?= flowlake/reading/text.py
TESTS  ?= tests/test_reading.py tests/test_reading_cells.py tests/test_detecting.py

mutants: $(VENV)/.dev  ## break MODULE=… in each way, one at a time, and see whether TESTS=… notice
	@$(BIN)/python -m benchmarks.mutants '$(MODULE)' $(TESTS)

soak: $(VENV)/.dev  ## the tests that take an hour: every crash, every interleaving, a million objects
	@$(BIN)/python -m pytest $(PARALLEL) -m "long or hypothesis" --hypothesis-profile many --timeout 3600

TOOLS := $(VENV)/tools

$(TOOLS): constraints/tools.txt
	@$(PYTHON) -m venv $@
	@$@/bin/$(PINNED) -r constraints/tools.txt
	@touch $@

COMPILE := $(TOOLS)/bin/uv pip compile --quiet --universal --python-version 3.11.5 \
  --only-binary :all: --no-binary pyspark \
  --generate-hashes --no-header --no-annotate --no-emit-index-url
REST = $(COMPILE) pyproject.toml -c $(TOOLS)/all.txt \
  $$(sed -n 's/\(.*\)==.*/--no-emit-package \1/p' $(1))

pins: $(TOOLS)  ## renew constraints/: the newest versions that pyproject.toml allows, with hashes
	@printf 'hatchling\neditables\nsetuptools\n' > $(TOOLS)/build.txt
	@$(COMPILE) --all-extras pyproject.toml $(TOOLS)/build.txt > $(TOOLS)/all.txt
	@$(COMPILE) pyproject.toml $(TOOLS)/build.txt -c $(TOOLS)/all.txt > constraints/base.txt
	@for set in report notebooks dev; do \
	  $(call REST,constraints/base.txt) --extra $$set > constraints/$$set.txt; done
	@$(call REST,constraints/base.txt constraints/dev.txt) --extra dev --extra bench > constraints/bench.txt
	@printf 'duckdb==1.5.5\nduckdb-extension-httpfs==1.5.5\n' | $(COMPILE) --no-deps - > constraints/oldest.txt
	@printf 'pip-audit\nuv\n' | $(COMPILE) - > constraints/tools.txt

audit: $(TOOLS)  ## ask for known weaknesses of what is pinned; needs the network
	@$(TOOLS)/bin/pip-audit --disable-pip --strict $(patsubst %,-r %,$(wildcard constraints/*.txt))

clean:  ## remove the environment, and what was made in this folder: sample bucket, lake, report, site
	rm -rf $(VENV) sample-bucket sample-bucket.part lake report.html site dist
