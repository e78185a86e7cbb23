"""The compiled forward and the graphs' buckets: what they compute, on any machine."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from qwire_server.checkpoint import layout, source
from qwire_server.load import LoadedModel
from qwire_server.model import compiled, forward, weights
from qwire_server.model.attention import attend_sdpa
from qwire_server.model.buckets import BUCKETS, Bucket, Slots, choose
from qwire_server.model.compiled import CompiledForward
from qwire_server.model.forward import Forward, make_forward
from qwire_server.model.graphed import GraphedForward
from qwire_server.model.opaque import OpaqueForward, attend_packed
from qwire_server.model.packing import Packed, pack
from qwire_server.model.pooling import pool
from support import local

CPU = torch.device("cpu")
VOCAB = 500
LAST = partial(pool, pooling="last")
# One text, many, all alike, all of one token, more sizes than slots, a lone token.
PACKINGS = [[512], [2], [7] * 8, [1] * 9, [64] * 5, list(range(1, 30)), [1, 2, 511], [1]]


@pytest.fixture(scope="module")
def qwen3(qwen_folder: Path):
    return weights.load(qwen_folder, layout.read(qwen_folder), CPU, torch.float32)


@pytest.fixture(scope="module")
def bert():
    folder = source.find("demo").folder
    return weights.load(folder, layout.read(folder), CPU, torch.float32)


@pytest.fixture(scope="module")
def traced(qwen3) -> CompiledForward:
    """Compiled but for the code: guards and traces are those of the real thing."""
    torch._dynamo.reset()
    before = graphs_compiled()
    made = CompiledForward(qwen3, LAST, 512, backend="aot_eager")
    assert graphs_compiled() == before + 1, "one for both layers"
    return made


def batch(lengths: list[int], seed: int = 0) -> Packed:
    generator = np.random.default_rng(seed)
    return pack([generator.integers(0, VOCAB, n).astype(np.int32) for n in lengths], CPU)


def graphs_compiled() -> int:
    return counters["stats"]["unique_graphs"]


def strictly(compiled_forward: CompiledForward, packed: Packed) -> torch.Tensor:
    """Its compiled layers, under the stance of the caller."""
    tensors = (packed.ids, packed.positions, packed.offsets)
    return OpaqueForward.rows(compiled_forward, *tensors, packed.max_length)


class Same:
    """Graphs' twin: a replay that calls what was captured, on the same memory."""

    def capture(self, run):
        return run

    def bytes(self) -> int:
        return 0


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2)])
def test_the_operator_equals_the_attention_that_it_hides(heads, kv_heads, causal):
    packed = batch([3, 3, 9, 1])
    q, k, v = (torch.randn(16, n, 8) for n in (heads, kv_heads, kv_heads))
    got = attend_packed(q, k, v, packed.offsets, packed.max_length, causal, 0.3)
    expected = attend_sdpa(q, k, v, packed, causal=causal, scale=0.3)
    assert torch.equal(got, expected)


def test_the_operator_passes_over_empty_sequences():
    q = torch.randn(5, 2, 8)
    offsets = torch.tensor([0, 0, 2, 2, 5, 5], dtype=torch.int32)
    got = attend_packed(q, q, q, offsets, 3, True, None)
    dense = torch.tensor([0, 2, 5], dtype=torch.int32)
    assert torch.equal(got, attend_packed(q, q, q, dense, 3, True, None))


def test_the_operator_keeps_the_compilers_contract():
    """Schema, strides and dynamic shapes, as torch checks them."""
    q = torch.randn(4, 9, 8).transpose(0, 1)
    offsets = torch.tensor([0, 4, 9], dtype=torch.int32)
    torch.library.opcheck(attend_packed, (q, q, q, offsets, 5, True, 0.3))


@pytest.mark.parametrize("name", ["qwen3", "bert"])
def test_the_twin_equals_the_model_and_shares_its_weights(name, request):
    model = request.getfixturevalue(name)
    head = partial(pool, pooling="mean")
    twin = OpaqueForward(model, head)
    packed = batch([3, 50, 9])
    with torch.inference_mode():
        torch.testing.assert_close(twin(packed), Forward(model, head)(packed))
    assert all(a is b for a, b in zip(twin.twin.parameters(), model.parameters(), strict=True))


@pytest.mark.timeout(120)  # tracing, on a loaded machine
def test_one_layer_is_compiled_for_all_and_for_every_packing(traced, qwen3):
    """Two layers, one graph; sizes, numbers and lengths of texts compile nothing more."""
    before = graphs_compiled()
    plain = Forward(qwen3, LAST)
    for packed in map(batch, PACKINGS):
        with torch.inference_mode():
            torch.testing.assert_close(traced(packed), plain(packed), atol=1e-5, rtol=1e-5)
    assert graphs_compiled() == before


@pytest.mark.timeout(120)
def test_all_but_a_lone_token_runs_compiled(traced):
    """The forward would run the rest as it is, in silence; here that is an error."""
    with torch.compiler.set_stance("fail_on_recompile"):
        for lengths in PACKINGS[:-1]:
            strictly(traced, batch(lengths))
        with pytest.raises(RuntimeError, match="recompile"):
            strictly(traced, batch(PACKINGS[-1]))


@pytest.mark.timeout(120)
def test_another_thread_runs_what_this_one_compiled(traced):
    packed = batch([5, 17])
    with (
        torch.compiler.set_stance("fail_on_recompile"),
        ThreadPoolExecutor(1) as pool_of_one,
    ):
        pool_of_one.submit(strictly, traced, packed).result()


# The real compiler, after whatever uses `traced`: these forget what was traced before them.
@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler uses its own jit
@pytest.mark.parametrize("name", ["qwen3", "bert"])
def test_code_is_generated_once_for_every_packing(name, request):
    """The real compiler adds conditions of its own; it takes most of a minute the first time."""
    model = request.getfixturevalue(name)
    torch._dynamo.reset()
    generated = CompiledForward(model, LAST, 512)
    plain = Forward(model, LAST)
    with torch.compiler.set_stance("fail_on_recompile"):
        for lengths in PACKINGS[:-1]:
            packed = batch(lengths)
            rows = strictly(generated, packed)
            with torch.inference_mode():
                torch.testing.assert_close(rows, plain(packed), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler uses its own jit
def test_a_model_loaded_with_compile_on_gives_the_same_vectors_from_any_thread(
    qwen_folder: Path, qwen: LoadedModel, caplog
):
    """It is compiled in the thread that loads, and runs in the engine's."""
    loaded = local.load(qwen_folder, compile="on")
    assert "CANNOT" not in caplog.text
    before = graphs_compiled()
    texts = ["a text", "another, longer than the first one", "", "x " * 200]
    with ThreadPoolExecutor(1) as pool_of_one:
        rows = pool_of_one.submit(local.embed, loaded, texts).result()
    np.testing.assert_allclose(rows, local.embed(qwen, texts), atol=1e-5)
    assert graphs_compiled() == before


def test_what_cannot_be_compiled_runs_as_it_is_and_says_so_aloud(qwen3, monkeypatch, caplog):
    def no_compiler(*_: object) -> None:
        raise RuntimeError("no C++ compiler found\nand a long trace")

    monkeypatch.setattr(compiled, "CompiledForward", no_compiler)
    made = make_forward(qwen3, LAST, compiled="on", graphs="auto", batch_tokens=512)
    assert type(made) is Forward
    assert "CANNOT BE COMPILED" in caplog.text
    assert "no C++ compiler found; --compile off" in caplog.text


def test_on_a_cpu_nothing_is_compiled_unasked(qwen3):
    made = make_forward(qwen3, LAST, compiled="auto", graphs="auto", batch_tokens=512)
    assert type(made) is Forward


def test_without_the_packed_kernel_a_gpu_does_not_compile(qwen3, monkeypatch, caplog):
    monkeypatch.setattr(type(qwen3), "device", torch.device("cuda", 0))
    monkeypatch.setattr(forward, "has_native_bf16", lambda _: True)  # but the model is float32
    made = make_forward(qwen3, LAST, compiled="on", graphs="auto", batch_tokens=512)
    assert type(made) is Forward
    assert "no packed kernel" in caplog.text


class TestBuckets:
    @pytest.mark.parametrize(
        ("tokens", "sequences", "chosen"),
        [(1, 1, 64), (63, 15, 64), (64, 1, 128), (10, 16, 1024), (4095, 31, 4096)],
    )
    def test_the_smallest_that_holds_the_batch_is_chosen(self, tokens, sequences, chosen):
        bucket = choose(BUCKETS, tokens, sequences)
        assert bucket is not None
        assert bucket.tokens == chosen

    @pytest.mark.parametrize(("tokens", "sequences"), [(4096, 1), (100, 32)])
    def test_what_fits_none_has_none(self, tokens, sequences):
        assert choose(BUCKETS, tokens, sequences) is None

    def test_a_batch_comes_first_then_empty_slots_then_one_that_fills_it_up(self):
        slots = Slots(Bucket(16, 5), CPU)
        slots.fill(batch([2, 3]))
        assert slots.offsets.tolist() == [0, 2, 5, 5, 5, 16]
        assert slots.positions[0, :5].tolist() == [0, 1, 0, 1, 2]

    def test_every_slot_begins_at_a_token(self):
        """Pooling by the first token reads it, and on a GPU a wrong index ends the process."""
        bucket = Bucket(16, 3)
        assert not bucket.holds(16, 2)
        slots = Slots(bucket, CPU)
        slots.fill(batch([7, 8]))
        assert slots.offsets.tolist() == [0, 7, 15, 16]

    def test_what_was_there_before_stays_valid_and_unread(self):
        """A dense batch, then a short one: leftovers are ids and positions that exist."""
        slots = Slots(Bucket(16, 5), CPU)
        slots.fill(batch([8, 7], seed=1))
        slots.fill(batch([2]))
        assert slots.offsets.tolist() == [0, 2, 2, 2, 2, 16]
        assert int(slots.ids.max()) < VOCAB
        assert int(slots.positions.max()) < 8


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("name", "pooling"), [("qwen3", "last"), ("qwen3", "mean"), ("qwen3", "cls"), ("bert", "mean")]
)
def test_a_bucket_gives_the_bits_of_the_same_forward_and_the_rows_of_the_plain_one(
    name, pooling, request
):
    model = request.getfixturevalue(name)
    plain = OpaqueForward(model, partial(pool, pooling=pooling))
    buckets = [Bucket(64, 16), Bucket(128, 16)]
    graphed = GraphedForward(plain, CPU, 128, Same(), buckets)
    for seed, lengths in enumerate(([5], [64], [1] * 15, [3, 40, 9], [2] * 16, [300])):
        packed = batch(lengths, seed)
        rows = graphed(packed)
        bucket = choose(buckets, sum(lengths), len(lengths))
        torch.testing.assert_close(rows, plain(packed), atol=1e-5, rtol=1e-5)
        if bucket:
            slots = Slots(bucket, CPU)
            slots.fill(packed)
            alone = plain.rows(slots.ids, slots.positions, slots.offsets, bucket.tokens)
            assert torch.equal(rows, alone[: len(lengths)])


def test_rows_outlive_the_next_replay(qwen3):
    graphed = GraphedForward(OpaqueForward(qwen3, LAST), CPU, 64, Same())
    first = graphed(batch([5, 6], seed=1))
    kept = first.clone()
    graphed(batch([9, 4], seed=2))
    assert torch.equal(first, kept)


def test_buckets_beyond_the_batch_budget_are_not_captured(qwen3):
    graphed = GraphedForward(OpaqueForward(qwen3, LAST), CPU, 200, Same())
    assert repr(graphed) == "<GraphedForward [64, 128, 192] 0 MiB>"


def test_a_size_without_room_is_left_out_and_told(qwen3, caplog):
    class Small(Same):
        def capture(self, run):
            if len(run()) > 2:  # slots
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
            return run

    buckets = [Bucket(64, 2), Bucket(128, 3)]
    graphed = GraphedForward(OpaqueForward(qwen3, LAST), CPU, 200, Small(), buckets)
    assert repr(graphed).startswith("<GraphedForward [64] ")
    assert "no graph for 128 tokens: CUDA out of memory" in caplog.text


def test_only_graphs_that_are_faster_are_kept(qwen3, monkeypatch):
    """The times are given: 64 tokens are faster by graph, 128 are not."""
    times = iter([[1.0, 2.0], [3.0, 3.0]])
    monkeypatch.setattr("qwire_server.model.graphed._seconds", lambda *_: next(times))
    buckets = [Bucket(64, 4), Bucket(128, 4)]
    graphed = GraphedForward(OpaqueForward(qwen3, LAST), CPU, 200, Same(), buckets)
    graphed.keep_faster(CPU)
    assert repr(graphed).startswith("<GraphedForward [64] ")
    assert graphed(batch([100])).shape == (1, 64)


def test_both_ways_are_really_timed(qwen3):
    graphed = GraphedForward(OpaqueForward(qwen3, LAST), CPU, 64, Same())
    graphed.keep_faster(CPU)
    assert repr(graphed) in {"<GraphedForward [] 0 MiB>", "<GraphedForward [64] 0 MiB>"}
