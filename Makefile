# Two commands: `make` builds the environment and the demo's figures and tables, `make test` tests.
# Everything else is a Snakemake target: `make` is only a short way to say it.

PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
CORES ?= all
STAMP := $(VENV)/.installed
# Two processes of tests, a file at a time; `make test WORKERS=` runs all of them in one.
WORKERS ?= -n 2 --dist loadfile

.PHONY: demo extended test test-slow test-slurm faults check-saelens lint format docs graph clean

demo: $(STAMP)
	$(BIN)/snakemake --cores $(CORES)
	@echo "Done: look at results/fig4.png, results/table3.md, results/table4.md."

extended: $(STAMP)
	$(BIN)/snakemake extended --cores $(CORES)

# Rebuilt when the pins or the package's metadata change.
$(STAMP): envs/requirements.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found; try: make PYTHON=python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement envs/requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $(STAMP)

test: $(STAMP)
	$(BIN)/python -m pytest $(WORKERS)

# The longer checks: every rule on the paper's geometry, resumption of killed runs.
test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow $(WORKERS)

# On a real Slurm of one node, which this starts and stops: as root, from Debian's packages, and with
# CLIP_SAE_MAY_KILL_SLURMD=1, which says that no other Slurm is on this machine.
test-slurm: $(STAMP)
	$(BIN)/python -m pip install --quiet --requirement envs/cluster.txt
	$(BIN)/python -m pytest -m slurm tests/slurm

# Every fault, injected into a run of a small project; benchmarks/faults.md is what was observed.
# As root also a full disk and the kernel's out-of-memory killer; with CLIP_SAE_MAY_KILL_SLURMD=1
# also a node that drops, of a Slurm that the test starts.
faults: $(STAMP)
	$(BIN)/python -m pip install --quiet --requirement envs/cluster.txt
	$(BIN)/python -m pytest tests/faults -m "not gpu" --fault-table benchmarks/faults.md

# SAEs to and from the real SAELens, in an environment of its own (about 6 GB with its default torch).
SAELENS := .venv-saelens

$(SAELENS)/.installed:
	$(PYTHON) -m venv $(SAELENS)
	$(SAELENS)/bin/python -m pip install --quiet sae-lens==6.54.12
	@touch $@

check-saelens: $(STAMP) $(SAELENS)/.installed
	rm -rf $(SAELENS)/check
	$(BIN)/python benchmarks/saelens_exchange.py write $(SAELENS)/check
	$(SAELENS)/bin/python benchmarks/saelens_exchange.py theirs $(SAELENS)/check
	$(BIN)/python benchmarks/saelens_exchange.py ours $(SAELENS)/check

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

# Renew the demo's figures and tables that the README shows.
docs: demo extended
	mkdir -p docs/demo
	cp results/fig4.png results/fig8.png results/l0_image.png results/firing.png results/training_curves.png results/sweep.png results/frontier.png results/fig[1235679].png results/fig10.png results/steerability_*.png results/concepts.png results/concept_masks.png results/class_concepts.png results/adaptation.png results/adaptation_changes.png docs/demo/
	cp results/table3.md results/table4.md results/frontier.md results/steerability_layers.md results/table[125678].md results/suppression_text.md results/suppression_prompts.md results/typographic_two_way.md results/class_concepts.md results/quality.md results/adaptation.md results/adaptation_changes.md docs/demo/

# The rule graph of docs/reruns.md.
graph: $(STAMP)
	$(BIN)/python docs/rule_graph.py

clean:
	rm -rf results .snakemake
