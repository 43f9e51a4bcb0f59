# make install installs what is needed into .venv
# make run     does so and serves the page at http://127.0.0.1:7860
# make check   installs ruff and mypy beside it and looks through the code; seconds
# make test    installs what the tests need beside it and runs all tests
#
# All install the versions of constraints.txt. On Linux the usual package index gives a build of torch for NVIDIA GPUs,
# which also runs without one but is large. To install a smaller one for CPUs, name an index that has it:
#   PIP_EXTRA_INDEX_URL=<index with CPU builds> make run

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALLED := $(VENV)/.installed
CHECK_INSTALLED := $(VENV)/.check-installed
TEST_INSTALLED := $(VENV)/.test-installed

.PHONY: install run check test chromium

install: $(INSTALLED)

run: install
	$(BIN)/python -m krea_studio serve

check: $(CHECK_INSTALLED)
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m mypy

# Two processes of one thread each, which the tests' conftest sees to, finish sooner than one of two threads.
test: $(TEST_INSTALLED) chromium
	$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder $(TESTS)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed, $(PYTHON) is older: name one with make PYTHON=…"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): requirements.txt constraints.txt | $(BIN)/python
	$(PIP) install --quiet --requirement requirements.txt --constraint constraints.txt
	@touch $@

# Dependency groups came with pip 25.1.
$(VENV)/.%-installed: pyproject.toml $(INSTALLED)
	$(PIP) install --quiet --upgrade 'pip>=25.1'
	$(PIP) install --quiet --group $* --constraint constraints.txt
	@touch $@

# Without a Chromium the tests marked `browser` leave themselves out and say so; nothing here may fail.
chromium:
	@for name in chromium chromium-browser google-chrome; do \
		if command -v $$name >/dev/null; then exit 0; fi; \
	done; \
	if [ "$$(id -u)" = 0 ]; then sudo=""; elif sudo -n true 2>/dev/null; then sudo="sudo -n"; else sudo="none"; fi; \
	if [ "$$sudo" = none ] || ! command -v apt-get >/dev/null; then \
		echo "No Chromium here, and apt cannot be used: tests/browser is left out. Install Chromium to run it."; exit 0; \
	fi; \
	echo "Installing Chromium for tests/browser"; \
	$$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive \
		apt-get install -qq -y --no-install-recommends chromium >/dev/null || \
		echo "Chromium could not be installed: tests/browser is left out."
