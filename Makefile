# Every target sets up .venv first, once (scripts/environment.py). Another Python, index or model:
#   make demo PYTHON=python3.12 PIP_INDEX_URL=... MODEL=Qwen/Qwen3-Embedding-0.6B

PYTHON = python3
VENV = .venv/bin/python
PACKAGES = -p qwire -p qwire_server -p langchain_qwire -p llama_index.embeddings.qwire \
  -p llama_index.postprocessor.qwire -p benchmarks
# Files at a time. A file's tests share what they start, and stay together.
TWO = -n 2 --dist loadfile

.PHONY: help demo set-up browser test test-all test-gpu test-ray test-clients test-compat check-deploy pin-images soak chaos lint audit format bench bench-gpu bench-cpu simulate proto clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

demo: ## ask real questions of real documents through a running server (MODEL=..., LLM=...)
	@$(PYTHON) scripts/environment.py demo
	@$(VENV) examples/demo.py $${MODEL:+--model "$$MODEL"} $${LLM:+--llm "$$LLM"}

set-up: ## create or refresh .venv, with all that development needs
	@$(PYTHON) scripts/environment.py dev

browser: ## install the browser that tests/page drives, on Debian as root
	@$(PYTHON) scripts/browser.py

test: lint browser ## lint, then the tests that need no GPU and no patience
	$(VENV) -m pytest $(TWO) -m "not slow and not soak and not gpu"

test-all: lint browser ## lint, then every test that needs no GPU
	$(VENV) -m pytest $(TWO) -m "not soak and not gpu"

test-gpu: set-up ## the tests that need a CUDA device
	$(VENV) -m pytest -m gpu

test-ray: ## the tests that start Ray clusters on this machine, in an environment of their own
	@$(PYTHON) scripts/environment.py ray
	.venv-ray/bin/python -m pytest -m "ray and not soak and not gpu"

test-clients: ## test client and adapters without torch, on one Python (PYTHON=python3.13)
	@$(PYTHON) scripts/clients.py tested

test-compat: ## the same on the oldest and the newest grpcio, protobuf and frameworks that users may have
	@$(PYTHON) scripts/clients.py oldest
	@$(PYTHON) scripts/clients.py newest

check-deploy: set-up ## hold deploy/ against hadolint, Kubernetes' schemas and Envoy's API (260 MB of tools)
	@$(PYTHON) scripts/check_deploy.py

pin-images: ## pin the base image of deploy/docker to its digest, where docker reaches its registry
	@$(PYTHON) scripts/pin_images.py

soak: set-up ## a thousand clients at three times the capacity, then very many requests (REQUESTS=200000)
	$(VENV) -m pytest -m soak -s
	PYTHONPATH=tests $(VENV) -m chaos soak --requests $${REQUESTS:-200000}

chaos: set-up ## faults of every kind on three servers under load; a table of what was lost (MINUTES=3)
	PYTHONPATH=tests $(VENV) -m chaos --minutes $${MINUTES:-3}

lint: set-up ## ruff, its formatter, mypy and bandit, changing nothing
	$(VENV) -m ruff check .
	$(VENV) -m ruff format --check .
	$(VENV) -m mypy $(PACKAGES)
	$(VENV) -m mypy tests/typing/api.py
	$(VENV) -m bandit --quiet --configfile pyproject.toml --recursive integrations server

audit: set-up ## known vulnerabilities in all that is installed, where their database is reached
	@$(PYTHON) scripts/audit.py

format: set-up ## fix what ruff can fix, and format
	$(VENV) -m ruff check --fix .
	$(VENV) -m ruff format .

bench: set-up ## measure on this machine, under five minutes; writes benchmarks/results
	@$(VENV) -m benchmarks

bench-gpu: set-up ## beside sentence-transformers and the hardware, on a GPU, in nine minutes (MODELS="0.6B 4B")
	@$(VENV) -m benchmarks.suite --device cuda --model $${MODELS:-0.6B} --minutes 9

bench-cpu: set-up ## the same on a CPU, beside Infinity too, for which it makes .venv-infinity once
	@$(VENV) -m benchmarks.suite --device cpu --model demo 0.6B --layers 2 --minutes 24 --peers sentence-transformers infinity

simulate: set-up ## run days of traffic through the queue on a virtual clock; writes benchmarks/results
	@$(VENV) -m benchmarks.queue

proto: ## regenerate the gRPC stubs from proto/ (needs Python 3.10 to 3.12)
	@$(PYTHON) scripts/proto.py

clean: ## remove the environments, caches and built packages
	rm -rf .venv .venv-* .venv.lock dist build integrations/*/dist
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
