# make demo   sets up and runs the main job on a phantom study
# make test   sets up and passes the tests
# Both need Python 3.11 or 3.12 and, the first time, a package index.
PYTHON ?= python3
BIN := .venv/bin
DEMO_OUT ?= .demo

.PHONY: demo test check clean

demo: .venv/ready
	$(BIN)/reg2rg demo --out $(DEMO_OUT) --force

# The tests start many processes, which are not each to compile the package anew, whatever the environment says.
test: .venv/ready
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n 2 --dist worksteal

# What pre-commit and CI look at besides the tests.
check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

# The marker is newer than what it was made from, so a second run installs nothing.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v < (3, 13) else f"reg2rg needs Python 3.11 or 3.12, found {v.major}.{v.minor}: make PYTHON=python3.11")'
	@echo "Setting up .venv: 2.3 GB of packages, one to some fifteen minutes, this once."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,dicom,serve,evaluate,viewer,dev]'
	touch $@

clean:
	rm -rf .venv $(DEMO_OUT)
