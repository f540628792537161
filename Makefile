# Two commands do everything on a fresh clone: `make demo` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
WORKERS ?= 2

.PHONY: help demo test coverage check structure long real docs site results clean

help:
	@echo "make demo   install, then run everything on the synthetic demo cohort (report in demo/)"
	@echo "make test   install, then checks and tests with sampled counts"
	@echo "make coverage  the same tests, refused below 90% of the branches"
	@echo "make long   the tests with full counts"
	@echo "make real   all tests on real data, the long ones too (CROSSTYPE_DATA=folder of the data)"
	@echo "make docs   refresh what README and docs show of the demo and the settings"
	@echo "make site   the documentation as pages, built strictly, in site/"
	@echo "make results  measure the README's results table (CROSSTYPE_DATA=folder of the data)"
	@echo "make check  format, lint, types and layers"
	@echo "make structure  print the size of the source tree, its folders, doubles and circles"

$(INSTALLED): pyproject.toml constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check \
		-c constraints.txt -e ".[dev]"
	# Compiled here, on two cores where pip uses one: where Python may not write bytecode, as in most
	# container images, every process would compile torch anew, 7 seconds each. Some packages carry
	# templates that are no Python; that they do not compile is no fault.
	$(BIN)/python -m compileall -q -j 2 $(VENV)/lib src >/dev/null || true
	touch $@

demo: $(INSTALLED)
	$(BIN)/crosstype demo --out demo

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

structure: $(INSTALLED)
	$(BIN)/python tests/structure.py

test: check
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m "not long"

coverage: $(INSTALLED)
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m "not long" --cov --cov-report=term

long: $(INSTALLED)
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m "long"

real: $(INSTALLED)
	@test -d "$(CROSSTYPE_DATA)" || { echo "make real: set CROSSTYPE_DATA to the folder of the real data"; exit 2; }
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m "real"

docs: demo
	$(BIN)/python docs/make_config_reference.py
	$(BIN)/python docs/make_table_reference.py
	$(BIN)/python docs/make_demo_figure.py demo
	$(BIN)/python docs/make_readme_output.py .

site: $(INSTALLED)
	$(BIN)/mkdocs build --strict --quiet

results: $(INSTALLED)
	@test -d "$(CROSSTYPE_DATA)" || { echo "make results: set CROSSTYPE_DATA to the folder of the real data"; exit 2; }
	$(BIN)/python benchmarks/results.py out/results --write-readme

clean:
	rm -rf demo site out .coverage* .pytest_cache .mypy_cache .ruff_cache
