"""Each key of config.json is honoured, refused by its name, or reported as not known."""

from __future__ import annotations

import json
import logging
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.activations import ACT2FN

from qwire_server.checkpoint import layout, rank_layout
from qwire_server.checkpoint.architectures import ACTIVATIONS
from qwire_server.errors import ModelError
from support import local
from support.reference import cosines, transformers_last_token
from support.rerankers import tiny_bert_reranker, tiny_reranker, tiny_xlmr_reranker
from support.texts import HARD


@pytest.fixture
def folder(qwen_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(qwen_folder, tmp_path / "model")


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("use_bidirectional_attention", True),
        ("use_bidirectional_attention", "all"),
        ("is_causal", False),
        ("is_causal", None),  # transformers takes it for false
        ("is_bidirectional", True),
        ("bidirectional", 1),
        ("auto_map", {"AutoModel": "modeling.Evil"}),
        ("architectures", ["Qwen3BidirectionalModel"]),
        ("architectures", ["Qwen3Model", "LlamaModel"]),
        ("use_sliding_window", True),
        ("layer_types", ["full_attention", "sliding_attention"]),
        ("rope_scaling", {"rope_type": "dynamic", "factor": 2.0}),
        ("rope_scaling", {"type": "longrope", "factor": 2.0}),
        ("rope_parameters", {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [1]}),
        ("partial_rotary_factor", 0.5),
        ("position_embedding_type", "relative_key"),
        ("per_layer_config", {"0": {"hidden_act": "relu"}}),
        ("attn_logit_softcapping", 50.0),
        ("residual_multiplier", 0.22),
        ("num_experts", 8),
        ("add_cross_attention", True),
        ("text_config", {"use_bidirectional_attention": True}),
        ("quantization_config", {"quant_method": "gptq", "bits": 4}),
        ("quantization_config", {"quant_method": "fp8"}),
        ("quantization_config", {"load_in_4bit": True}),
        ("quantization", {"group_size": 64, "bits": 4}),
        ("compression_config", {"quant_method": "compressed-tensors"}),
        ("text_config", {"quantization_config": {"quant_method": "awq"}}),
        ("transformers_weights", "adapter_model.bin"),
    ],
)
def test_what_asks_for_another_forward_pass_is_refused_by_its_name(
    folder: Path, key: str, value: object
):
    edit(folder / "config.json", **{key: value})
    with pytest.raises(
        ModelError, match=key if key != "text_config" else "text_config.[uq]"
    ) as error:
        local.load(folder)
    assert "\n" not in str(error.value)
    assert "--compile" not in str(error.value)


@pytest.mark.parametrize("method", ["gptq", "awq", "fp8", "bitsandbytes", "compressed-tensors"])
def test_quantised_weights_have_a_sentence_of_their_own(folder: Path, method: str):
    edit(folder / "config.json", quantization_config={"quant_method": method})
    with pytest.raises(ModelError, match=rf"'{method}'.*quantised weights are not served"):
        layout.read(folder)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.int32, torch.uint8, torch.int8])
def test_quantised_weights_that_no_key_names_are_refused_before_they_load(
    folder: Path, dtype: torch.dtype
):
    tensors = load_file(folder / "model.safetensors")
    tensors["norm.weight"] = torch.ones(64).to(dtype)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"'norm.weight' has the dtype .*quantised"):
        local.load(folder)


@pytest.mark.parametrize(
    "config",
    [
        {"quantization_config": None, "auto_map": {}, "rope_scaling": None, "layer_types": None},
        {"use_bidirectional_attention": False, "is_causal": True, "use_sliding_window": False},
        {"sliding_window": 4096, "max_window_layers": 1, "position_embedding_type": "absolute"},
        {"architectures": None},
        {"architectures": ["Qwen3ForCausalLM"], "temperature": 0.6, "torch_dtype": "bfloat16"},
        {"output_attentions": True, "output_hidden_states": True, "return_dict": False},
        {"chunk_size_feed_forward": 3, "use_cache": False, "attention_dropout": 0.5},
    ],
)
def test_harmless_values_change_no_vector(qwen: Any, folder: Path, config: dict[str, object]):
    edit(folder / "config.json", **config)
    loaded = local.load(folder)
    assert loaded.served.unknown_config_keys == ()
    assert cosines(local.embed(loaded, HARD[:4]), local.embed(qwen, HARD[:4])).min() >= 0.9999999


@pytest.mark.parametrize(
    "config",
    [
        {"rope_parameters": None, "rope_theta": 500},
        {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}},
        {
            "rope_parameters": None,
            "rope_theta": 1e4,
            "rope_scaling": {
                "type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 128,
            },
        },
        {"hidden_act": "gelu_new"},
        {"rms_norm_eps": 0.1},
    ],
)
def test_what_is_honoured_is_done_as_by_transformers(
    qwen: Any, folder: Path, config: dict[str, object]
):
    edit(folder / "config.json", **config)
    texts = HARD[:6]
    ours = local.embed(local.load(folder), texts)
    assert cosines(ours, transformers_last_token(folder, texts, max_tokens=512)).min() >= 0.99999
    assert cosines(ours, local.embed(qwen, texts)).min() < 0.9999


def test_keys_that_are_not_known_are_one_warning_and_stand_in_the_description(
    folder: Path, caplog: pytest.LogCaptureFixture
):
    edit(folder / "config.json", unsloth_version="2026.1", my_head={"layers": 2}, rope_theta=1e6)
    with caplog.at_level(logging.WARNING, "qwire.server"):
        served = local.load(folder).served
    assert served.unknown_config_keys == ("my_head", "unsloth_version")
    (warning,) = [r.getMessage() for r in caplog.records if "config.json" in r.getMessage()]
    assert "my_head, unsloth_version" in warning


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("hidden_size", v) for v in ("x", None, 0, -1, 64.5, True, [], {}, 2**40)),
        *(("vocab_size", v) for v in ("x", None, 0)),
        *(("max_position_embeddings", v) for v in ("x", None, 0)),
        *(("num_hidden_layers", v) for v in (0, 10**9, "2")),
        *(("num_attention_heads", v) for v in (0, None)),
        *(("rms_norm_eps", v) for v in (float("nan"), -1, "x")),
        *(("hidden_act", v) for v in ("no-such", None, 3)),
        *(("model_type", v) for v in (None, 3, [], {})),
        *(("architectures", v) for v in ("Qwen3Model", [1], {"a": 1})),
        *(("rope_scaling", v) for v in ("linear", [1], {"type": "yarn", "factor": "x"})),
        *(("rope_theta", v) for v in ("x", None)),
        *(("layer_types", v) for v in ("full_attention", ["full_attention"], 3)),
        *(("pad_token_id", v) for v in ("x", -5, 10**6)),
        *(("tie_word_embeddings", v) for v in ("x", None)),
        *(
            ("transformers_weights", v)
            for v in (3, "", "../x.safetensors", "a\0.safetensors", "/x")
        ),
        *(("torch_dtype", v) for v in ("no-such", 3)),
        ("id2label", 3),
        ("quantization_config", "x"),
    ],
)
def test_a_value_of_the_wrong_type_is_a_sentence(folder: Path, key: str, value: object):
    edit(folder / "config.json", **{key: value})
    with suppress(ModelError):  # nothing else, and no traceback
        local.load(folder)


@pytest.mark.parametrize("key", ["hidden_size", "vocab_size", "max_position_embeddings"])
def test_a_key_that_is_needed_is_named_where_it_is_absent(folder: Path, key: str):
    config = json.loads((folder / "config.json").read_text())
    del config[key]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=f"is not what it should be: it has no {key}"):
        layout.read(folder)


def test_every_activation_that_is_let_through_is_one_of_transformers():
    assert set(ACT2FN) >= ACTIVATIONS


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["layers.0.self_attn.q_proj.weight", "embed_tokens.weight"])
def test_weights_that_are_not_finite_are_refused_by_their_name(
    folder: Path, name: str, value: float
):
    """Also in the row of a token that no text of the self-check has."""
    tensors = load_file(folder / "model.safetensors")
    tensors[name][-1, 0] = value
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=rf"hold NaN or infinity: {name}") as error:
        local.load(folder)
    assert "--compile" not in str(error.value)


def test_a_model_that_gives_nan_by_itself_is_told_so(folder: Path):
    """Its weights are finite, and too large for the forward pass."""
    tensors = load_file(folder / "model.safetensors")
    for name in tensors:
        if "mlp" in name:
            tensors[name] = torch.full_like(tensors[name], 3e38)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="the model itself gives NaN or infinity") as error:
        local.load(folder)
    assert "--compile" not in str(error.value)


class TestRerankers:
    """The same of their folders."""

    def test_those_that_are_served_have_no_unknown_keys(self, tmp_path: Path):
        makers = (tiny_reranker, tiny_bert_reranker, tiny_xlmr_reranker)
        for maker in makers:
            assert rank_layout.read_reranker(maker(tmp_path / maker.__name__)).unknown_keys == ()

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("is_decoder", True),
            ("position_embedding_type", "relative_key_query"),
            ("quantization_config", {"quant_method": "gptq"}),
            ("auto_map", {"AutoModelForSequenceClassification": "evil.Evil"}),
            ("rope_scaling", {"type": "linear", "factor": 2.0}),
            ("sbert_ce_default_activation_function", "evil.Softmax"),
            ("sentence_transformers", {"activation_fn": "torch.nn.modules.activation.Tanh"}),
        ],
    )
    def test_what_is_not_served_is_refused_by_its_name(
        self, tmp_path: Path, key: str, value: object
    ):
        folder = tiny_bert_reranker(tmp_path / "model")
        edit(folder / "config.json", **{key: value})
        with pytest.raises(ModelError, match=rf"{key}|activation"):
            rank_layout.read_reranker(folder)

    def test_scores_as_cross_encoders_make_them_are_let_through(self, tmp_path: Path):
        folder = tiny_bert_reranker(tmp_path / "model")
        edit(
            folder / "config.json",
            sbert_ce_default_activation_function="torch.nn.modules.linear.Identity",
            sentence_transformers={"activation_fn": "torch.nn.modules.activation.Sigmoid"},
        )
        assert rank_layout.read_reranker(folder).unknown_keys == ()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("config_args", {"is_causal": False}),
        ("tokenizer_args", {"truncation_side": "left"}),
        ("processing_kwargs", {"text": {"max_length": 3}}),
        ("transformer_task", "fill-mask"),
        ("query_length", 32),
        ("modality_config", {"text": {"method": "get_text_features"}}),
        ("do_lower_case", "yes"),
        ("max_seq_length", "x"),
    ],
)
def test_what_sentence_transformers_would_do_besides_is_refused(
    folder: Path, key: str, value: object
):
    (folder / "sentence_bert_config.json").write_text(json.dumps({key: value}))
    with pytest.raises(ModelError, match=key):
        layout.read(folder)
