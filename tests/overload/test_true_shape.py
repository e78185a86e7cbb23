"""The product's main job at its true size: LangChain, all defaults, a 0.6B model."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from langchain_qwire import QwireEmbeddings

from support.models import tiny_qwen3

SHAPE = {"hidden": 1024, "layers": 28, "heads": 16, "kv_heads": 8, "head_dim": 128}
QUEUE_SECONDS = 10.0  # the default of --queue-seconds
MOST = 20_000  # texts
WORDS = "the flow in a boundary layer of a thin wing at supersonic speed is measured here " * 3


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.timeout(3600)
def test_a_list_that_takes_three_times_the_queue_ends(tmp_path: Path):
    """As many abstracts as take more than three times what the server queues, all defaults."""
    folder = tiny_qwen3(tmp_path / "shape", max_tokens=32_768, **SHAPE)
    ports = ["--grpc-port", "0", "--http-port", "off"]
    command = [sys.executable, "-m", "qwire_server", "--model", str(folder), *ports]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("QWIRE_")}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stderr
            ready = next(line for line in process.stderr if " ready: " in line)
            target = ready.rpartition(" grpc ")[2].split()[0]
            model = QwireEmbeddings(target=target)
            model.embed_query("warm")
            began = time.monotonic()
            done, count = 0.0, 512
            while done < 3 * QUEUE_SECONDS and count <= MOST:  # a faster machine gets more
                vectors = np.asarray(model.embed_documents([f"{n} {WORDS}" for n in range(count)]))
                assert vectors.shape == (count, SHAPE["hidden"])
                done, count, began = time.monotonic() - began, count * 4, time.monotonic()
        finally:
            process.terminate()
            process.stderr.read()
