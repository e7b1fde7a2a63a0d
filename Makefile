# Set up, demonstrate, test, check, measure. PYTHON=... chooses the interpreter; with a PYTHON that
# already has everything (make test-cuda PYTHON=python3) no environment is created.

PYTHON ?=
BASE   := $(firstword $(foreach p,python3 python3.11 python3.12 python3.13 python3.14,$(shell $(p) -c 'import sys, venv, ensurepip; sys.version_info < (3, 11) and sys.exit(1); print("$(p)")' 2>/dev/null)))
PY     := $(or $(PYTHON),.venv/bin/python)
READY  := $(if $(PYTHON),,.venv/ready)
INPUT  ?=
BENCH  ?=
IMAGE  ?=
# Tests of what is live watch the clock: they run beside one another, not beside what keeps cores busy,
# and one that fails is tried once more, as a busy machine may have held it up.
LIVE   := tests/live tests/preview tests/test_rig.py tests/test_trials.py

.PHONY: help setup demo test test-docs test-cuda image-test check format dist bench clean
.DEFAULT_GOAL := help

help:
	@echo "make demo [INPUT=my.mp4]  set up everything, restore a clip, show the result"
	@echo "make test                 set up everything, run the tests; TESTS=files runs a folder of them,"
	@echo "                          SLOW=1 runs those that take minutes as well,"
	@echo "                          COVER=1 measures which branches of the code they reach"
	@echo "make test-docs            those that read the documentation, which is what a change to it needs;"
	@echo "                          TEXT=1 leaves out those that run its commands"
	@echo "make check                formatting, lint, types"
	@echo "make dist                 wheel and source archive, tried in a clean environment"
	@echo "make bench [BENCH=--quick] measure speed and memory"
	@echo "make image-test           build the container's image with buildah and use it, as root on Debian;"
	@echo "                          IMAGE='--file deploy/Dockerfile.cuda' another one"
	@echo "make test-cuda            the tests that need a GPU; fails without one"

setup: $(READY)

.venv/ready: pyproject.toml constraints.txt
	@test -n "$(BASE)" || { echo "no Python 3.11 or newer (with venv) found; install one, on Debian: apt-get install python3 python3-venv"; exit 1; }
	@echo "Setting up .venv: PyTorch, OpenVINO, OpenCV, FFmpeg's libraries and what they need are fetched by"
	@echo "pip, about 0.6 GB, or 3 GB where pip takes PyTorch with CUDA (PyPI's for Linux); this takes minutes."
	$(BASE) -m venv .venv
	.venv/bin/python -m pip install --constraint constraints.txt --editable '.[dev,onnx,train,vapoursynth]'
	@touch $@

demo: $(READY)
	$(PY) -m demo $(if $(INPUT),--input "$(INPUT)")

PYTEST := $(PY) -m pytest --numprocesses 2 --dist worksteal $(if $(SLOW),-m 'not stress') $(if $(COVER),--cov --cov-append --cov-report=)

# What a change to documents alone needs.
test-docs: export OMP_WAIT_POLICY ?= PASSIVE
test-docs: $(READY)
	$(PYTEST) -m 'docs and not slow$(if $(TEXT), and not commands)' $$(grep -rl --include='*.py' mark[.]docs tests)

# Threads that spin while they wait, as PyTorch's do, take the cores from the other tests.
test: export OMP_WAIT_POLICY ?= PASSIVE
test: $(READY)
	$(if $(COVER),rm -f .coverage .coverage.*)
ifdef TESTS
	$(PYTEST) $(TESTS:%=tests/%)
else
	$(PYTEST) $(LIVE:%=--ignore=%)
	$(PYTEST) --numprocesses 3 --reruns 1 -r fER $(LIVE)
endif
	$(if $(COVER),$(PY) -m coverage report $(if $(TESTS),,--fail-under=90))

test-cuda: $(READY)
	DEBLUR_REQUIRE_CUDA=1 $(PY) -m pytest -m needs_cuda

image-test: $(READY)
	$(PY) -m tests.trials.image $(IMAGE)

check: $(READY)
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy

format: $(READY)
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

# In the folder of the demo lies the package's source, which must not be taken for what is installed.
dist: $(READY)
	rm -rf dist build/clean
	$(PY) -m build
	$(PY) -m tests.trials.wheel dist
	$(PY) -m venv build/clean
	build/clean/bin/python -m pip install --quiet --constraint constraints.txt dist/*.whl
	cp -r demo build/clean
	cd build/clean && bin/deblur --version && bin/deblur models && bin/python -m demo
	cd build/clean && bin/deblur compare demo/shaky.mp4 demo/clean.mp4 --to demo/page.html --moments 1

bench: $(if $(PYTHON),,.venv/plots)
	$(PY) -m benchmarks $(BENCH)

.venv/plots: .venv/ready
	.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	@touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache dist build demo/*.mp4 demo/*.png benchmarks/out
