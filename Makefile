# Every verb of the house. `make up` is the way in, `make test` is what a change must pass.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

# The checkout's own tools come first, the engine's own client before any other.
export PATH := $(CURDIR)/.cache/venv/bin:/usr/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

INVENTORY ?= inventories/lab
RELEASE ?= 1.1
SCENARIO ?=
FIGURE ?=
ARGS ?=
# A further lab on the same machine has its ports a hundred higher.
LAB_PORT := $(shell echo $$((8080 + 100 * $${EVENKEEL_LAB_ID:-0})))

RUN = python3 tests/run.py
# EVENKEEL_LAB_EDGES=2 puts a second edge into the lab.
EDGE2 = $(if $(filter 2,$(EVENKEEL_LAB_EDGES)),-i lab/edge2.yml)
PLAY = ansible-playbook $(EDGE2) -i $(INVENTORY) $(ARGS)

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  INVENTORY=$(INVENTORY) RELEASE=$(RELEASE) SCENARIO=<name> FIGURE=<name> ARGS=<more for ansible-playbook>"

# The platform

.PHONY: up
up: setup lab site ## the way in: tools, lab hosts, and site.yml on them
	@echo
	@echo "The shop is live: curl --resolve shop.lab.test:$(LAB_PORT):127.0.0.1 http://shop.lab.test:$(LAB_PORT)/"
	@echo "Next:  make status                what is live"
	@echo "       make deploy RELEASE=1.1    move to the next release"
	@echo "       make rollback              and back"
	@echo "       make lab-down              when you are done"

.PHONY: setup
setup: ## install the tools into .cache/venv
	@lab/setup.sh

.PHONY: lab
lab: ## start the lab's hosts and registry
	@ansible-playbook lab/up.yml

.PHONY: lab-down
lab-down: ## remove the lab's hosts and registry
	@ansible-playbook lab/down.yml

.PHONY: lab-clean
lab-clean: ## remove the lab with its images, packages and keys
	@ansible-playbook lab/down.yml -e lab_clean=true

.PHONY: site
site: ## make the hosts a platform and run the apps on it
	@$(PLAY) site.yml

.PHONY: deploy
deploy: ## move to RELEASE
	@$(PLAY) playbooks/deploy.yml -e release=$(RELEASE)

.PHONY: rollback
rollback: ## go back to the release before
	@$(PLAY) playbooks/rollback.yml

.PHONY: status
status: ## say what is live
	@$(PLAY) playbooks/status.yml

# The proof

.PHONY: test
test: ## everything a change must pass
	@$(RUN)

.PHONY: lint
lint: ## linters and types
	@$(RUN) --stage lint

.PHONY: unit
unit: ## unit tests
	@$(RUN) --stage unit

.PHONY: coverage
coverage: ## unit tests with coverage
	@$(RUN) --stage coverage

.PHONY: contract
contract: ## specs, docs and the rules of the house
	@$(RUN) --stage contract

.PHONY: sanity
sanity: ## ansible-test sanity
	@$(RUN) --stage sanity

.PHONY: integration
integration: ## backups of servers and lines of logs on this machine
	@$(RUN) --stage integration

.PHONY: molecule
molecule: ## the roles' default scenarios, or SCENARIO
	@$(RUN) --stage molecule $(if $(SCENARIO),--scenario $(SCENARIO))

.PHONY: matrix
matrix: ## every scenario
	@$(RUN) --stage matrix --budget-seconds 14400

.PHONY: e2e
e2e: ## the whole way of a release, under load, with what make test leaves out as too long
	@$(RUN) --stage e2e

.PHONY: faults
faults: ## kill, partition, fill, corrupt
	@$(RUN) --stage faults --budget-seconds 14400

.PHONY: mutants
mutants: ## plant each known defect and see its scenario turn red (SCENARIO= for one)
	@python3 tests/mutants.py $(if $(SCENARIO),--scenario $(SCENARIO))

.PHONY: bench
bench: ## measure FIGURE, or every figure
	@python3 benchmarks/run.py $(FIGURE)

.PHONY: watch-lab
watch-lab: ## have the lab that is up watched, with a receiver on data1
	@$(PLAY) lab/watch.yml
	@$(PLAY) site.yml --tags edge,monitoring

.PHONY: pictures
pictures: ## draw the dashboards from what the watched lab shows
	@python3 docs/pictures.py

.PHONY: docs
docs: ## write docs/reference and the dashboards
	@python3 docs/dashboards.py
	@python3 docs/generate.py
