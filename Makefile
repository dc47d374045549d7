# What can be done here; `make` alone prints the list. Everything happens in .venv, nothing is installed elsewhere.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
STEP := scripts/step
PIP = $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt
NATIVE := CMakeLists.txt $(wildcard src/longshort/native/*.cpp src/longshort/native/*.hpp)
PACKAGE := pyproject.toml $(shell find src -type f -not -name '*.so' -not -name '*.pyc' 2>/dev/null)
OTHER_PYTHONS := 3.12 3.13

help: ## print this list
	@echo "longshort: what can be done here"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|'

# For users --------------------------------------------------------------------------------------------------------

demo: $(VENV)/installed ## set up and run the study of AAPL: chart, forecast, verdict, HTML report
	@$(BIN)/longshort demo

# For developers ---------------------------------------------------------------------------------------------------

test: $(VENV)/installed $(VENV)/test-tools ## set up and run lint, types and the tests (minutes); lists what it skipped
	@$(MAKE) --no-print-directory lint
	@echo "  Tests (not those marked full)"
	@$(BIN)/python -m pytest -m "not full" -rs

test-full: $(VENV)/installed $(VENV)/test-tools $(VENV)/full-tools ## the same with torch, Chromium, TA-Lib, every Python found, nothing skipped
	@for version in $(OTHER_PYTHONS); do $(MAKE) --no-print-directory test-python VERSION=$$version || exit 1; done
	@echo "  All tests"
	@$(BIN)/python -m pytest --no-skips --durations=15

lint: $(VENV)/test-tools ## ruff and pyright
	@$(STEP) "ruff check" $(BIN)/ruff check .
	@$(STEP) "ruff format" $(BIN)/ruff format --check .
	@$(STEP) "pyright" $(BIN)/pyright --pythonpath $(BIN)/python

bench: $(VENV)/installed $(VENV)/full-tools ## benchmarks with small settings, as ratios to other libraries (under ten minutes)
	@scripts/bench $(BIN)/python quick

bench-full: $(VENV)/installed $(VENV)/full-tools .venv-bench/made .venv-engines/made ## the same as the docs cite them, beside Keras and other engines too (long)
	@scripts/bench $(BIN)/python

tutorials: $(VENV)/installed $(VENV)/test-tools .venv-tutorials/made ## run two Keras tutorials unchanged under Keras, our presets beside them (minutes)
	@scripts/tutorials $(BIN)/python .venv-tutorials/bin/python

zoo: $(VENV)/installed ## the leak audit on its zoo of leaks and clean twins: confusion matrix, seconds (two minutes)
	@$(BIN)/python benchmarks/audit.py

null: $(VENV)/installed ## what the verdict says of noise and of planted signals: table, hours, goes on where it was stopped
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/null.py --sets all

studies: $(VENV)/installed $(VENV)/study-tools ## studies of real markets: prints them and writes docs/studies.md (minutes; data: LONGSHORT_SHARED_DATA)
	@LONGSHORT_SHARED_DATA=$${LONGSHORT_SHARED_DATA:-../shared/data} $(BIN)/python docs/make_studies.py

figures: $(VENV)/installed ## make the pictures of README and docs again
	@$(BIN)/python docs/make_figures.py

wheel: $(VENV)/build-tools ## build the source archive and the wheel for this machine into dist/
	@$(STEP) "Building dist/" $(BIN)/python -m build --outdir dist .
	@ls -l dist

clean: ## remove everything that was made here (.venv, build, dist, caches)
	@rm -rf .venv .venv-* build dist runs .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# How it is set up: each step leaves a file in .venv, so that a second run starts at once --------------------------

$(VENV)/made:
	@scripts/compiler
	@echo "Setting up in $(VENV) (once, about two minutes)"
	@python=$$(scripts/find-python) && $(STEP) "Python: $$python" $$python -m venv $(VENV)
	@$(STEP) "pip" $(PIP) --upgrade pip
	@touch $@

$(VENV)/libraries: $(VENV)/made pyproject.toml constraints.txt
	@$(BIN)/python scripts/requirements core build > $(VENV)/requirements.txt
	@$(STEP) "Libraries: numpy, pandas, scipy, matplotlib, ..." $(PIP) -r $(VENV)/requirements.txt
	@touch $@

$(VENV)/installed: $(VENV)/libraries $(NATIVE) $(PACKAGE)
	@scripts/compiler
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(STEP) "longshort: compiling the core" $(PIP) --no-build-isolation --no-deps --force-reinstall .
	@touch $@

$(VENV)/test-tools: $(VENV)/libraries
	@$(BIN)/python scripts/requirements test > $(VENV)/requirements.txt
	@$(STEP) "Test tools: pytest, ruff, pyright" $(PIP) -r $(VENV)/requirements.txt
	@touch $@

$(VENV)/full-tools: $(VENV)/libraries
	@$(BIN)/python scripts/requirements full > $(VENV)/requirements.txt
	@$(STEP) "Referees: torch, TA-Lib, statsmodels, arch, ..." $(PIP) -r $(VENV)/requirements.txt
	@scripts/chromium
	@touch $@

$(VENV)/study-tools: $(VENV)/libraries
	@$(STEP) "For studies: pyarrow, scikit-learn, arch" $(PIP) pyarrow scikit-learn arch
	@touch $@

.venv-bench/made: $(VENV)/made
	@$(BIN)/python -m venv .venv-bench
	@$(STEP) "Peers in .venv-bench: Keras, TensorFlow, ONNX Runtime" .venv-bench/bin/python -m pip install -q tensorflow-cpu==2.21.0 \
		keras==3.15.1 onnx==1.23.2 onnxruntime==1.31.1
	@touch $@

.venv-engines/made: $(VENV)/made
	@for peer in "backtrader backtrader==1.9.78.123 pandas" "zipline zipline-reloaded==3.2.1" \
		"vectorbt vectorbt==1.2.0" "nautilus nautilus_trader==1.221.0"; do set -- $$peer; name=$$1; shift; \
		$(BIN)/python -m venv .venv-engines/$$name && \
		$(STEP) "Peer in .venv-engines: $$name" .venv-engines/$$name/bin/python -m pip install -q "$$@" || exit 1; done
	@touch $@

.venv-tutorials/made: $(VENV)/made
	@$(BIN)/python -m venv .venv-tutorials
	@$(STEP) "Keras, TensorFlow, scikit-learn in .venv-tutorials" .venv-tutorials/bin/python -m pip install -q tensorflow-cpu==2.21.0 keras==3.15.1 pandas scikit-learn matplotlib
	@touch $@

$(VENV)/build-tools: $(VENV)/made constraints.txt
	@$(STEP) "Build tool" $(PIP) build
	@touch $@

test-python: # VERSION=3.12: build from scratch with that Python and run the tests that need no torch
	@python=$$(scripts/find-python $(VERSION)) || { echo "  Python $(VERSION): not found, left out"; exit 0; }; set -e; \
	rm -rf .venv-$(VERSION); \
	$(STEP) "Python $(VERSION): $$python" $$python -m venv .venv-$(VERSION); \
	$(STEP) "pip" .venv-$(VERSION)/bin/python -m pip install -q -c constraints.txt --upgrade pip; \
	$(STEP) "pip install . (compiler and Python only)" .venv-$(VERSION)/bin/python -m pip install -q -c constraints.txt .; \
	$(STEP) "pytest, hypothesis" .venv-$(VERSION)/bin/python -m pip install -q -c constraints.txt pytest hypothesis; \
	.venv-$(VERSION)/bin/python -m pytest -m "not full" -p no:cacheprovider

.PHONY: help demo test test-full test-python lint bench bench-full tutorials zoo null studies figures wheel clean
.NOTPARALLEL:
