# Every target makes its own environment from the hash-pinned locks in requirements/.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Where Python may not keep what it compiled, each of the hundreds of processes of a test run compiles all anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: serve test test-long test-vllm docs check format bench clients lock clean

serve: $(VENV)/run.stamp ## start the server on 127.0.0.1:8000 (ARGS="--port 9000 ..." to change it)
	$(BIN)/tutti serve $(ARGS)

test: $(VENV)/dev.stamp clients ## the whole test suite, official clients included
	$(BIN)/python -m pytest -n 4 --dist loadfile $(ARGS)

test-long: $(VENV)/dev.stamp clients ## make test with soaks, storms of faults and big files, and many more examples to draw (an hour)
	TUTTI_TEST_LONG=1 $(BIN)/python -m pytest -n 2 --dist loadfile --timeout 3600 $(ARGS)

test-vllm: $(VENV)/dev.stamp ## the vLLM adapter against a real vLLM on the CPU, in an environment of its own (several GB)
	TUTTI_TEST_VLLM=1 $(BIN)/python -m pytest tests/system/test_vllm.py $(ARGS)

docs: $(VENV)/dev.stamp ## write docs/generated anew, and take what is served off the list of gaps
	$(BIN)/python -m docs.generate

check: $(VENV)/dev.stamp ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(VENV)/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/dev.stamp ## the measured claims; results land in bench/results/
	$(BIN)/python -m bench $(ARGS)

clients: $(VENV)/dev.stamp ## an environment for each official client
	$(BIN)/python -m tests.support.clients

lock: $(VENV)/dev.stamp ## pin anew: run after changing pyproject.toml
	$(BIN)/uv pip compile --universal --generate-hashes --quiet --group build pyproject.toml -o requirements/run.txt
	$(BIN)/uv pip compile --universal --generate-hashes --quiet --group build --group dev -c requirements/run.txt pyproject.toml -o requirements/dev.txt
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --quiet src/tutti/sandboxes/interpreter.in -o src/tutti/sandboxes/interpreter.txt

$(VENV)/pip.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Tutti needs Python 3.11 or newer; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/run.stamp: $(VENV)/pip.stamp requirements/run.txt pyproject.toml
	@echo "Installing Tutti's dependencies into $(VENV): once, a minute or more"
	$(BIN)/python -m pip install --quiet --progress-bar on --require-hashes -r requirements/run.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements/dev.txt
	$(BIN)/python -m pip install --quiet --progress-bar on --require-hashes -r requirements/dev.txt
	touch $@

clean:
	rm -rf $(VENV) .clients
