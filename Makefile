# Needs Python 3.11 or newer, make and pip; everything else goes into .venv.
#
#   PYTHON=python3.12 make check      another interpreter
#   make check PIP_FLAGS=...          options for pip, e.g. an index with CPU-only torch
#   make test JOBS=8                  more test processes

PYTHON ?= python3
PIP_FLAGS ?=
REPOSITORY ?=
JOBS ?= 2
MINUTES ?= 10
MUTANTS ?= 300

BIN := .venv/bin
READY := .venv/ready
ROOT_FILES := $(sort $(filter-out %/__pycache__,$(wildcard tools/qbnnc/*)))
LOWEST := .venv-minimum/bin/python
ONNXRUNTIME_WEB := 1.30.0
MINIMUM_PYTHON ?= python3.11
MINIMUM_EXTRAS := compile,distributed,onnx,plots,serving,sklearn,study,tables,zarr
MINIMUM_TESTS ?= $(addprefix tests/conformance/test_,conformance.py noise.py heads.py) \
    $(addprefix tests/runtime/test_,microkernel.py frames.py) \
    $(addprefix tests/study/test_,report.py sweep_command.py) \
    $(addprefix tests/qbnnc/test_,sklearn.py sklearn_checks.py) tests/serving/test_service.py \
    $(addprefix tests/qbnnc/batches/test_,formats.py reading.py workers.py)
# All that try the extra `distributed` are slow.
MINIMUM_CLUSTERS := tests/study/test_sweep_command.py::test_a_cluster_gives_the_same_results \
    tests/qbnnc/batches/test_workers.py::test_a_cluster_of_3_workers_one_of_which_is_killed
PYTEST := $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal

# Tests start hundreds of processes, which read bytecode sooner than they make it again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo docs page pictures web zoo check test nightly devices fuzz fuzz-million fenced mutants coverage
.PHONY: minimum release versions lint types format onnx-wheel clean distclean FORCE
.DELETE_ON_ERROR:

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile

demo: $(READY) ## Compile the bundled network, verify it, run it, show what it knows and what not
	@mkdir -p build
	$(BIN)/qbnnc compile tools/demo/lenet_mcd.pt --model tools.models:LeNet_MCD \
	    --calib tools/demo/fashion.npz:calib --bits w8a7 --samples 20 \
	    --task classification -o build/lenet.onnx -o build/lenet.qbnn
	$(BIN)/qbnnc verify build/lenet.onnx build/lenet.qbnn \
	    --input tools/demo/fashion.npz:x --seed 7
	$(BIN)/qbnnc run build/lenet.qbnn --input tools/demo/fashion.npz:x --seed 7 \
	    -o build/fashion.npz
	$(BIN)/qbnnc run build/lenet.qbnn --input tools/demo/fashion.npz:ood --seed 7 \
	    -o build/ood.npz
	$(BIN)/python tools/demo/show.py build/fashion.npz build/ood.npz

page: $(READY) ## build/page/index.html: draw, and see the bundled network answer (needs clang, lld)
	@mkdir -p build/page
	$(BIN)/qbnnc compile tools/demo/lenet_mcd.pt --model tools.models:LeNet_MCD \
	    --calib tools/demo/fashion.npz:calib --bits w8a7 --samples 20 \
	    --task classification -o build/page/lenet.qbnn
	$(BIN)/python -m tools.page build/page/lenet.qbnn -o build/page/index.html \
	    --title "A Bayesian network in your browser" \
	    --classes "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot" \
	    --images "Garments of the test set" tools/demo/fashion.npz:x \
	        "19=T-shirt/top,2=Trouser,20=Pullover,13=Dress,10=Coat,8=Sandal,7=Shirt,9=Sneaker,30=Bag,0=Ankle boot" \
	    --images "Digits, never seen in training" tools/demo/fashion.npz:ood \
	        0=Zero,4=One,6=Two,18=Three,7=Four

web: ## onnxruntime-web, for the tests that run .onnx files as a browser does (needs node and npm)
	npm install --prefix build/web --no-save --ignore-scripts --no-audit --no-fund \
	    onnxruntime-web@$(ONNXRUNTIME_WEB)

check: lint types ## Lint, types and the fast tests
	$(PYTEST) --quick -m "not slow and not nightly"

test: lint types ## Lint, types, and all tests but the longest, large families by a sample: what CI runs
	$(PYTEST) -m "not nightly"

nightly: lint types ## Everything: the longest tests, all cases and all examples
	$(PYTEST) --all
	$(MAKE) fenced mutants fuzz-million

devices: $(READY) ## C and the runtime on emulated devices: install what Debian has (as root), then all their tests
	$(BIN)/python -m tools.devices
	$(PYTEST) tests/devices

fuzz: $(READY) ## Fuzz every format for MINUTES=10; inputs by the clock, or of SEED=
	$(BIN)/python -m tests.fuzz --minutes $(MINUTES) $(addprefix --seed ,$(SEED))

fuzz-million: $(READY) ## Fuzz .qbnn files to the millionth; goes on where it was stopped
	$(BIN)/python -m tests.fuzz qbnn --until 1000000 --state build/fuzz/million.json

fenced: $(READY) ## The tests of the runtime with guard pages around what kernels touch
	$(PYTEST) --all -p tests.fenced --fence after tests/runtime
	$(PYTEST) --all -p tests.fenced --fence before tests/runtime

mutants: $(READY) ## MUTANTS=300 small changes of the sources: do tests notice? Goes on where it was
	$(BIN)/python -m tests.mutants --count $(MUTANTS) --jobs $(JOBS)

# Kernels are machine code, which coverage does not see: their lines count as never run.
coverage: $(READY) ## Branch coverage of our packages by the tests of `make test`
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q -n $(JOBS) -m "not nightly"
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

# Not editable: the wheel is tried too.
minimum: ## The lowest versions that pyproject.toml admits: the demo, the tests of equal bits, and each extra
	@test -x $(LOWEST) || $(MINIMUM_PYTHON) -m venv .venv-minimum
	@$(LOWEST) -m pip install -qq --disable-pip-version-check $(PIP_FLAGS) \
	    -c constraints-minimum.txt hatchling httpx hypothesis pytest pytest-xdist
	@$(LOWEST) -m pip install -qq --disable-pip-version-check $(PIP_FLAGS) \
	    -c constraints-minimum.txt --no-build-isolation '.[$(MINIMUM_EXTRAS)]'
	$(LOWEST) -m pip freeze
	@mkdir -p build/minimum
	.venv-minimum/bin/qbnnc compile tools/demo/lenet_mcd.pt --model tools.models:LeNet_MCD \
	    --calib tools/demo/fashion.npz:calib --bits w8a7 --samples 20 --task classification \
	    -o build/minimum/lenet.onnx -o build/minimum/lenet.qbnn
	.venv-minimum/bin/qbnnc verify build/minimum/lenet.onnx build/minimum/lenet.qbnn \
	    --input tools/demo/fashion.npz:x --seed 7
	.venv-minimum/bin/qbnnc run build/minimum/lenet.onnx --input tools/demo/fashion.npz:x \
	    --seed 7 -o build/minimum/onnx.npz
	.venv-minimum/bin/qbnnc run build/minimum/lenet.qbnn --input tools/demo/fashion.npz:x \
	    --seed 7 -o build/minimum/qbnn.npz
	$(LOWEST) -m tools.versions.artefacts build/minimum/networks
	$(LOWEST) tools/versions/check.py onnxruntime build/minimum/networks
	$(LOWEST) tools/versions/check.py runtime build/minimum/networks
	$(LOWEST) -m pytest -q -n $(JOBS) -p no:cacheprovider --quick -m "not slow and not nightly" \
	    $(MINIMUM_TESTS)
	$(LOWEST) -m pytest -q -p no:cacheprovider $(MINIMUM_CLUSTERS)

onnx-wheel: $(READY) ## Build dist/qbnnc_onnx-*.whl, which runs .onnx files with onnxruntime alone
	cd tools/qbnnc_onnx && ../../$(BIN)/python -m hatchling build -t wheel -d ../../dist

# The tree has to be committed. Nothing is uploaded, and no tag is made.
release: $(READY) ## Wheels and sdist in dist/, each tried in an empty environment (REPOSITORY=https://...)
	$(BIN)/python -m tools.release --repository "$(REPOSITORY)" --pip-flags="$(PIP_FLAGS)"

versions: $(READY) ## Each Python that is found, old and new onnxruntimes: the tables of docs/reference/versions.md
	$(BIN)/python tools/versions/trials.py --jobs $(JOBS) --pip-flags="$(PIP_FLAGS)"

notebooks: $(READY) ## Run the tutorials: their outputs in docs/tutorials/*.ipynb (needs clang, lld, node)
	$(BIN)/python -m tools.docs.notebook

docs: $(READY) ## The site in build/site: every link and reference must resolve
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

pictures: $(READY) ## The pictures of docs/how-to/look-inside.md, by the commands of that page
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tools.docs.pictures

zoo: $(READY) ## Train, compile and measure the published networks: docs/reference/networks.md
	$(BIN)/python -m tools.zoo --output docs/reference/networks.md

lint: $(READY) ## Format and lint rules
	$(BIN)/ruff format --check
	$(BIN)/ruff check

types: $(READY) ## Strict type checks, tests included
	$(BIN)/mypy

format: $(READY) ## Rewrite the sources in the house format
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

clean: ## Remove what builds and tests leave behind
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name '.venv*' -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean ## clean, and remove the virtual environment too
	rm -rf .venv .venv-minimum .venv-versions .editable

# A new file directly in tools/qbnnc/ needs the links of the editable install laid again, so the
# list of its files is an input like pyproject.toml; it is written only when it differs.
$(READY): pyproject.toml constraints.txt tests/libraries.txt .venv/root-files
$(READY): tools/hatch_build.py tools/hatch_metadata.py
	@echo "Installing into .venv (the first time this takes several minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check $(PIP_FLAGS) \
	    -c constraints.txt -e '.[compile,test]'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check $(PIP_FLAGS) \
	    --no-deps -r tests/libraries.txt
	@touch $@

.venv/root-files: FORCE
	@mkdir -p .venv
	@echo '$(ROOT_FILES)' | cmp -s - $@ || echo '$(ROOT_FILES)' > $@
