# Everything runs in .venv; PYTHON may be any Python 3.10, 3.11 or 3.12.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
BACKENDS := tensorflow jax torch
RUN := runs/quickstart

.PHONY: check gpu-check quickstart pretrain-long report-screenshot results notebooks downstream chromium test test-export test-slow test-faults test-minimum test-interop interop-fixtures lint format docs wheel clean

quickstart: $(VENV)/.core
	$(BIN)/leoclr pretrain fashion_scenes --workdir $(RUN) --overwrite
	@echo
	@echo "For comparison, MoCo v2: kNN 45.8, linear 52.1, few labels 38.8 % (measured with"
	@echo "leoclr pretrain fashion_scenes --method moco_v2 --workdir runs/scenes_moco)."

# docs/report.png, of the run of the quickstart.
report-screenshot: $(VENV)/.test chromium
	test -f $(RUN)/recipe.json || $(BIN)/leoclr pretrain fashion_scenes --workdir $(RUN)
	$(BIN)/leoclr report $(RUN)
	$(BIN)/python tools/report_screenshot.py $(RUN)/report.html docs/report.png

# What is there, or Debian's where that can be installed; the pages are tested in it.
chromium:
	@$(PYTHON) tests/chromium.py

pretrain-long: $(VENV)/.core
	$(BIN)/leoclr pretrain fashion_scenes --workdir runs/long --overwrite --epochs 60

# RESULTS.md, of docs/results.
results: $(VENV)/.core
	$(BIN)/python docs/results.py

# The notebooks of docs/tutorials, with new outputs.
notebooks: $(VENV)/.test
	$(BIN)/python docs/notebooks.py

# Detection and segmentation, pretrained backbone against new weights: the tables of docs/downstream.md.
downstream: $(VENV)/.test
	test -f runs/fashion_mnist/backbone.keras || \
		$(BIN)/leoclr pretrain fashion_mnist --method moco_v2 --workdir runs/fashion_mnist
	KERAS_BACKEND=tensorflow $(BIN)/python benchmarks/downstream.py --backbone runs/fashion_mnist

# For the daily work: the tests that need no backend, and those of the method on one.
check: lint
	KERAS_BACKEND=tensorflow $(BIN)/python -m pytest -n 2 --dist worksteal -m "(backend_free or method) and not slow" \
		--ignore tests/test_packaging.py --ignore tests/data/test_odd_files.py tests

# A machine with a GPU, on JAX and torch; plans for 10 minutes. Needs no TensorFlow, see docs/gpu.md.
gpu-check:
	$(PYTHON) tools/gpu_check.py

test: lint $(addprefix test-,$(BACKENDS))

# What does not touch the Keras backend runs once, with TensorFlow's.
test-tensorflow: $(VENV)/.test chromium
	KERAS_BACKEND=tensorflow $(BIN)/python -m pytest -n 2 --dist worksteal tests

test-jax test-torch: test-%: $(VENV)/.test
	KERAS_BACKEND=$* $(BIN)/python -m pytest -n 2 --dist worksteal -m "not backend_free" tests

# Every format on every backend, the large packages included; prints the table of docs/export.md.
test-export: $(VENV)/.test
	$(BIN)/pip install -q -e ".[export]" jax2onnx
	for backend in $(BACKENDS); do KERAS_BACKEND=$$backend $(BIN)/python benchmarks/exports.py || exit 1; done

# Four replicas instead of two.
test-slow: $(VENV)/.test
	for backend in tensorflow jax; do \
		REPLICAS=4 KERAS_BACKEND=$$backend $(BIN)/python -m pytest tests/distribution || exit 1; \
	done

# Real processes, killed and starved, on each backend; writes the table of docs/reliability.md.
test-faults: $(VENV)/.test
	KERAS_BACKEND=tensorflow $(BIN)/python benchmarks/faults.py
	KERAS_BACKEND=jax $(BIN)/python benchmarks/faults.py --kills 4 --only kill --epochs 15
	KERAS_BACKEND=torch $(BIN)/python benchmarks/faults.py --kills 3 --only kill --epochs 3

# The lowest versions that setup.cfg allows, in an environment of their own.
test-minimum: VENV := .venv-minimum
test-minimum: chromium
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/pip install -q -e ".[test]" -c tests/minimum.txt
	KERAS_BACKEND=tensorflow $(BIN)/python -m pytest tests

# Beside the real torchvision, timm and lightly, which need another torch: about 6 GB to download.
.venv-interop/.done: VENV := .venv-interop
.venv-interop/.done: setup.cfg
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/pip install -q -e ".[test]" torch==2.14.1 torchvision==0.29.1 timm==1.0.31 lightly==1.6.0
	touch $@

# -p torchvision: this build of torch crashes when it is imported after TensorFlow.
test-interop: .venv-interop/.done
	CUDA_VISIBLE_DEVICES= KERAS_BACKEND=tensorflow .venv-interop/bin/python -m pytest -p torchvision tests/interop

interop-fixtures: .venv-interop/.done
	CUDA_VISIBLE_DEVICES= .venv-interop/bin/python tests/interop/make_fixtures.py

# The site: pages, tutorials, reference of the names and of the command line; without network.
docs: $(VENV)/.test
	$(BIN)/python docs/build.py build/docs

# The package as others install it: built, installed into an empty environment, and asked for a run of a minute.
# build/lib would add modules that were renamed or removed since an earlier build.
wheel: $(VENV)/bin/python
	rm -rf build/wheel build/lib build/bdist.* && $(BIN)/pip wheel -q --no-deps -w build/wheel .
	$(PYTHON) -m venv build/wheel/env
	env -u PYTHONPATH build/wheel/env/bin/pip install -q build/wheel/*.whl
	cd build/wheel && env/bin/leoclr --version && env/bin/leoclr doctor
	cd build/wheel && env/bin/leoclr pretrain fashion_scenes --preset smoke --workdir run
	@echo build/wheel/*.whl

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell README.md CONTRIBUTING.md CHANGELOG.md leoclr.py docs keras_leoclr callbacks recipes tests tools benchmarks/*.py

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip

$(VENV)/.core: $(VENV)/bin/python setup.cfg
	$(BIN)/pip install -q -e .
	touch $@

# One torch for CPU and GPU alike; 2.13.0 is the version that the suite is run with.
$(VENV)/.test: $(VENV)/.core
	$(BIN)/pip install -q -e ".[test,jax,torch]" "torch==2.13.0"
	touch $@

clean:
	rm -rf $(VENV) .venv-minimum .venv-interop build *.egg-info .pytest_cache .ruff_cache
