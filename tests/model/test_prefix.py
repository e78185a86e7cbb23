"""Shared prefixes: the vectors of the plain path, fewer tokens computed, bounded memory."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qwire_server.checkpoint import layout
from qwire_server.engine.rows import finish
from qwire_server.engine.work import RowForm
from qwire_server.model import weights
from qwire_server.model.attention import attend_sdpa
from qwire_server.model.packing import pack
from qwire_server.model.pooling import pool
from qwire_server.model.prefix import Prefix, Prefixes
from qwire_server.model.runner import PackedRunner
from qwire_server.text.tokenizer import Truncate
from support import local
from support.models import QUERY_PROMPT, tiny_qwen3
from support.reference import transformers_last_token
from support.texts import HARD

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from transformers import PreTrainedModel

    from qwire_server.engine.runner import Runner
    from qwire_server.load import LoadedModel

pytestmark = pytest.mark.timeout(60)

CPU = torch.device("cpu")
LAST = partial(pool, pooling="last")
TOKEN_BYTES = 2 * 2 * 2 * 16 * 4  # of the tiny model: keys and values, layers, heads, values, bytes
FORM = RowForm(64)


@pytest.fixture(scope="module")
def model(qwen_folder: Path) -> PreTrainedModel:
    return weights.load(qwen_folder, layout.read(qwen_folder), CPU, torch.float32)


@pytest.fixture
def runner(model: PreTrainedModel) -> PackedRunner:
    """It has seen nothing yet, and keeps 1,000 tokens."""
    return PackedRunner(model, LAST, 1000 * TOKEN_BYTES)


@pytest.fixture(scope="module")
def plain(model: PreTrainedModel) -> PackedRunner:
    return PackedRunner(model, LAST)


def ids_of(*tokens: int) -> NDArray[np.int32]:
    return np.array(tokens, np.int32)


def run(runner: Runner, token_ids: Sequence[NDArray[np.int32]], hints: Sequence[int] = ()):
    """Normalised vectors, and tokens of each text that were not computed."""
    ran = runner.launch(token_ids, hints).wait()
    return finish(ran.rows, FORM), ran.saved


def same(vectors: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(vectors, expected, atol=1e-5, rtol=0)


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_packing_gives_the_vectors_of_the_plain_path(model, plain, data):
    """Texts with several prefixes and with none, hints right and wrong, batch after batch."""
    runner = PackedRunner(model, LAST, 60 * TOKEN_BYTES)
    token = st.integers(0, 500)
    prefixes = data.draw(st.lists(st.lists(token, min_size=4, max_size=40), min_size=1, max_size=3))
    text = st.tuples(
        st.integers(-1, len(prefixes) - 1),
        st.lists(token, max_size=60),
        st.integers(-3, 3),  # how far the hint is off
    )
    for _ in range(data.draw(st.integers(1, 4))):
        texts, hints = [], []
        for which, own, off in data.draw(st.lists(text, min_size=1, max_size=12)):
            begins = prefixes[which] if which >= 0 else []
            texts.append(ids_of(*begins, *own) if begins or own else ids_of(1))
            hints.append(max(0, len(begins) + off) if begins else 0)
        vectors, _ = run(runner, texts, hints)
        same(vectors, run(plain, texts)[0])


@pytest.mark.parametrize("shape", [{}, {"heads": 8, "kv_heads": 1, "layers": 4, "seed": 3}])
def test_instructed_queries_equal_transformers_run_one_at_a_time(tmp_path: Path, shape):
    """Those that are cut too: in a batch that computes the prefix, and in one that has it."""
    folder = tiny_qwen3(tmp_path / "model", **shape)
    loaded = local.load(folder)
    queries = ["", *HARD[:12], "why " * 600]
    texts = [QUERY_PROMPT + query for query in queries]
    theirs = transformers_last_token(folder, texts, max_tokens=512)
    encoded = loaded.tokenizer.encode(queries, QUERY_PROMPT)
    for _ in range(3):
        ours, saved = run(loaded.runner, encoded.ids, [encoded.shared] * len(queries))
        same(ours, theirs)
    assert saved == [encoded.shared] * len(queries)


def test_a_query_that_lost_its_beginning_keeps_its_instruction(
    qwen: LoadedModel, runner: PackedRunner, plain: PackedRunner
):
    encoded = qwen.tokenizer.encode(["why " * n for n in (600, 700)], QUERY_PROMPT, Truncate.START)
    vectors, saved = run(runner, encoded.ids, [encoded.shared] * 2)
    same(vectors, run(plain, encoded.ids)[0])
    assert saved == [0, encoded.shared]


def test_a_query_with_a_hot_instruction_costs_its_own_tokens(
    qwen: LoadedModel, runner: PackedRunner
):
    encoded = qwen.tokenizer.encode(["how do I restart a pod?"], QUERY_PROMPT)
    (ids,), hint = encoded.ids, encoded.shared
    assert [run(runner, [ids], [hint])[1] for _ in range(3)] == [[], [0], [hint]]


def test_texts_that_share_a_batch_compute_their_prefix_once(runner: PackedRunner):
    texts = [ids_of(*range(30), own) for own in (7, 8, 9)]
    assert run(runner, texts, [30] * 3)[1] == [0, 30, 30]


def test_a_batch_uses_the_prefix_that_saves_most(runner: PackedRunner, plain: PackedRunner):
    """Two instructions interleaved: the others run as they are."""
    texts = [ids_of(*range(n, n + 20), own) for own in range(4) for n in (0, 100)]
    texts.append(ids_of(*range(100, 120), 5))
    hints = [20] * len(texts)
    for _ in range(3):
        vectors, saved = run(runner, texts, hints)
        same(vectors, run(plain, texts)[0])
    assert saved == [0, 20] * 4 + [20]


def test_a_text_that_is_the_prefix_is_computed_whole(runner: PackedRunner, plain: PackedRunner):
    """There must be a token of its own whose vector is read."""
    texts = [ids_of(*range(10)), ids_of(*range(10), 3), ids_of(*range(10), 4)]
    vectors, saved = run(runner, texts, [10] * 3)
    assert saved == [0, 0, 10]
    same(vectors, run(plain, texts)[0])


def test_a_hint_is_not_trusted(runner: PackedRunner, plain: PackedRunner):
    """Texts that differ in one token share nothing, whatever the hint says."""
    texts = [ids_of(1, 2, 3, last, 5, 6) for last in (4, 40)]
    for _ in range(3):
        vectors, saved = run(runner, texts, [5, 5])
        same(vectors, run(plain, texts)[0])
    assert sorted(saved) == [0, 5], "each of them is a prefix of its own"


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_where_pooling_reads_the_first_tokens_nothing_is_shared(qwen_folder: Path, pooling: str):
    assert run_shared(local.load(qwen_folder, prefix_cache="64MiB", pooling=pooling)) == []


def test_an_encoder_whose_tokens_see_what_follows_shares_nothing(demo: LoadedModel):
    assert run_shared(demo) == []


def test_off_is_off(qwen_folder: Path):
    assert run_shared(local.load(qwen_folder, prefix_cache="off")) == []


def test_where_bits_matter_it_is_off(qwen_folder: Path):
    """They would tell whether the prefix was known."""
    assert run_shared(local.load(qwen_folder, deterministic=True)) == []


def test_on_a_cpu_it_is_on(qwen: LoadedModel):
    assert run_shared(qwen) == [0, 30]


def run_shared(loaded: LoadedModel) -> list[int]:
    texts = [ids_of(*range(30), own) for own in (7, 8)]
    return list(loaded.runner.launch(texts, [30, 30]).wait().saved)


class Kept:
    """A cache, and the prefixes that pass through it."""

    def __init__(self, tokens: int) -> None:
        self.prefixes = Prefixes(tokens * TOKEN_BYTES, TOKEN_BYTES)

    def batch(self, *ids: int) -> Prefix | None:
        """One text begins with `ids`; what a forward would leave is left."""
        prefix = self.prefixes.choose([ids_of(*ids, 9)], [len(ids)])
        if prefix and prefix.keeps:
            tensor = torch.zeros(len(ids), 2, 16)
            prefix.computed += [(tensor, tensor)] * 2
            self.prefixes.keep(prefix)
        return prefix

    def has(self, *ids: int) -> bool:
        prefix = self.batch(*ids)
        return bool(prefix and prefix.layers)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(4, 12)), max_size=40))
def test_the_cache_never_takes_more_than_its_bound(batches):
    kept = Kept(tokens=20)
    for first, length in batches:
        kept.batch(*range(first, first + length))
        assert kept.prefixes.size <= 20 * TOKEN_BYTES


def test_what_was_used_longest_ago_goes_first():
    kept = Kept(tokens=12)
    for first in (0, 10, 20):
        kept.batch(*range(first, first + 4))
        kept.batch(*range(first, first + 4))
    assert kept.has(*range(4))
    kept.batch(30, 31, 32, 33)
    kept.batch(30, 31, 32, 33)
    assert kept.has(*range(4))
    assert kept.has(20, 21, 22, 23)
    assert not kept.has(10, 11, 12, 13)


def test_what_comes_once_pushes_nothing_out():
    kept = Kept(tokens=4)
    kept.batch(1, 2, 3, 4)
    kept.batch(1, 2, 3, 4)
    for first in range(100, 200, 10):
        kept.batch(*range(first, first + 4))
    assert kept.has(1, 2, 3, 4)


def test_what_is_larger_than_the_bound_is_never_kept():
    kept = Kept(tokens=8)
    assert [kept.batch(*range(9)) for _ in range(3)] == [None] * 3


def test_out_of_memory_with_a_prefix_is_met_without_it(runner, plain, monkeypatch):
    """What is kept is given back, and the batch runs as it is."""
    texts = [ids_of(*range(30), own) for own in (7, 8)]
    for _ in range(2):
        run(runner, texts, [30, 30])

    def fail(*_args: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(Prefix, "arrange", fail)
        vectors, saved = run(runner, texts, [30, 30])
    same(vectors, run(plain, texts)[0])
    assert saved == []
    assert run(runner, texts, [30, 30])[1] == [0, 30], "computed anew"


def test_long_texts_after_a_prefix_attend_in_blocks():
    """The last tokens of causal attention over the whole, whatever their number."""
    prefix = Prefix(ids_of(*range(20)), [0, 1], layers=[], keeps=False)
    packed = pack([np.arange(1320, dtype=np.int32)] * 2, CPU, prefix)
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2620, heads, 16, generator=generator) for heads in (4, 2, 2))
    k, v = (prefix.arrange(0, t, t, packed.keys.rows)[0] for t in (k, v))
    q_whole = torch.cat([torch.zeros(20, 4, 16), q[20:1320]])
    got = attend_sdpa(q, k, v, packed, causal=True, scale=0.3)
    one = pack([np.arange(1320, dtype=np.int32)], CPU)
    expected = attend_sdpa(q_whole, k[20:1340], v[20:1340], one, causal=True, scale=0.3)
    torch.testing.assert_close(got[20:1320], expected[20:], atol=1e-5, rtol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("dtype", "atol"), [("bfloat16", 2e-2), ("float32", 1e-5)])
def test_on_a_gpu_prefixes_change_no_vector(qwen_folder: Path, plain, dtype: str, atol: float):
    """With the packed kernel, and with SDPA. There it is off unless asked for."""
    there = {"device": "cuda", "dtype": dtype}
    assert run_shared(local.load(qwen_folder, **there)) == []
    loaded = local.load(qwen_folder, prefix_cache="64MiB", **there)
    texts = [ids_of(*range(30), *range(own, own + 7)) for own in (40, 50, 60)] + [ids_of(*range(9))]
    expected, _ = run(plain, texts)
    for saved in ([0, 30, 30, 0], [0, 30, 30, 0], [30, 30, 30, 0]):
        vectors, told = run(loaded.runner, texts, [30] * 4)
        np.testing.assert_allclose(vectors, expected, atol=atol, rtol=0)
        assert told == saved
