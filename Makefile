# The contributor's interface: `make help`. Everything is installed into .venv; nothing outside it is changed,
# except that missing Debian packages are installed when run by root.

VENV := .venv
PYTHON := $(VENV)/bin/python
PACKAGES := -e . -e providers/dacc_fake -e providers/dacc_lustre -e providers/dacc_gluster
DEV_PACKAGES := -e .[dev] -e providers/dacc_fake -e providers/dacc_lustre -e providers/dacc_gluster
# What an installation depends on; a change of any of them installs anew.
INPUTS := pyproject.toml $(wildcard providers/*/pyproject.toml) constraints.txt
EVENTS ?= 1000000
JOBS ?= 2
SEED ?=

.DEFAULT_GOAL := help
.PHONY: help demo slurm-demo slurm-demo-down test test-long simulate bench lint types reference clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 18

demo: $(VENV)/.ready $(VENV)/.debian  ## install everything and run a job's life cycle on this machine
	$(VENV)/bin/dacc demo

slurm-demo: $(VENV)/.ready-dev $(VENV)/.debian-tests  ## start a Slurm cluster with burst buffers on this machine and say how to use it
	$(PYTHON) -m tests.slurm.demo up

slurm-demo-down: $(VENV)/.ready-dev  ## stop it and remove every trace
	$(PYTHON) -m tests.slurm.demo down

test: $(VENV)/.ready-dev $(VENV)/.debian-tests  ## run every check: tests, lint, types, each provider from its wheel
	$(VENV)/bin/tox run -e lint,types,py
	$(VENV)/bin/tox run-parallel --parallel-no-spinner -e fake,lustre,gluster

test-long: $(VENV)/.ready-dev $(VENV)/.debian-tests  ## run the tests that are too long for that: whole lives on GlusterFS and Lustre's stand-ins
	DACC_TESTS=long $(VENV)/bin/tox run -e py,fake,gluster

simulate: $(VENV)/.ready-dev  ## run the seeded simulation: make simulate EVENTS=1000000 SEED=7 JOBS=2
	$(PYTHON) -m dacc_core.simulation --events $(EVENTS) --jobs $(JOBS) $(if $(SEED),--seed $(SEED))

bench: $(VENV)/.ready-dev $(VENV)/.debian-tests  ## run the benchmarks, on SQLite and on etcd, and print a table
	$(PYTHON) -m bench

lint: $(VENV)/.ready-dev  ## check style and the direction of imports
	$(VENV)/bin/tox run -e lint

types: $(VENV)/.ready-dev  ## check types
	$(VENV)/bin/tox run -e types

reference: $(VENV)/.ready-dev  ## write the reference pages that are made from the code
	$(PYTHON) scripts/make-reference

clean:  ## remove everything that make made
	rm -rf $(VENV) .tox dist build .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

$(PYTHON):
	scripts/make-venv $(VENV)

$(VENV)/.ready: $(INPUTS) | $(PYTHON)
	$(PYTHON) -m pip install -c constraints.txt $(PACKAGES)
	@touch $@

$(VENV)/.ready-dev: $(INPUTS) | $(PYTHON)
	$(PYTHON) -m pip install -c constraints.txt $(DEV_PACKAGES)
	@touch $@ $(VENV)/.ready

$(VENV)/.debian: scripts/debian-packages | $(PYTHON)
	scripts/debian-packages
	@touch $@

$(VENV)/.debian-tests: scripts/debian-packages | $(PYTHON)
	scripts/debian-packages tests
	@touch $@ $(VENV)/.debian
