"""The keys of config.json that each supported architecture understands: add one here.

A key is honoured (transformers' own model reads it, with our attention in it), or refused unless
its value changes nothing, or it changes nothing at all. Any other key is reported at start: it may
come from a tool for fine-tuning, or it may change a forward pass that nobody here knows. Nothing of
this can be found out by comparing with transformers: what it ignores, it ignores without a word.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from qwire_server.checkpoint.values import FLAG, NUMBER, TEXT, WHOLE, Kind, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

Role: TypeAlias = Literal["embedding", "reranking"]
Harmless: TypeAlias = tuple[Any, ...]

ABSENT: Harmless = (None, False, 0, {}, [], "")

_COUNT, _ID = whole(1), whole(0, null=True)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


ACTIVATIONS = _names(
    "gelu gelu_10 gelu_fast gelu_new gelu_python gelu_pytorch_tanh gelu_python_tanh gelu_accurate "
    "hardswish leaky_relu mish quick_gelu relu relu2 relu6 sigmoid silu swish tanh"
)

# Honoured by every architecture, each with what its value must be.
HONOURED: dict[str, Kind] = {
    "vocab_size": _COUNT,
    "hidden_size": _COUNT,
    "intermediate_size": _COUNT,
    "num_hidden_layers": whole(1, 1000),  # each is built before a weight is read
    "num_attention_heads": _COUNT,
    "max_position_embeddings": _COUNT,
    "hidden_act": Kind("the name of an activation", lambda v: v in ACTIVATIONS),
    "pad_token_id": _ID,
    "tie_word_embeddings": FLAG,
    "model_type": TEXT,
    "transformers_weights": Kind(
        "null or a file name", lambda v: v is None or (v != "" and TEXT.fits(v))
    ),
}
REQUIRED = ("vocab_size", "hidden_size", "max_position_embeddings")

# They ask for another forward pass, of these architectures or of others. With the values that ask
# for nothing.
REFUSED: dict[str, Harmless] = {
    "auto_map": ({},),  # code of the repository, which is never run
    "use_bidirectional_attention": ABSENT,
    "is_encoder_decoder": ABSENT,
    "add_cross_attention": ABSENT,
    "cross_attention_hidden_size": ABSENT,
    "pruned_heads": ABSENT,
    "per_layer_config": ABSENT,
    "partial_rotary_factor": (None, 1),
    "rotary_pct": (None, 1),
    "use_sliding_window": ABSENT,
    "hidden_activation": (None,),
    "activation_function": (None,),
    "mlp_bias": ABSENT,
    "alibi": ABSENT,
    "use_alibi": ABSENT,
    "use_mrope": ABSENT,
    "no_rope_layers": ABSENT,
    "no_rope_layer_interval": ABSENT,
    "attn_logit_softcapping": ABSENT,
    "final_logit_softcapping": ABSENT,
    "query_pre_attn_scalar": ABSENT,
    "attention_multiplier": (None, 1),
    "embedding_multiplier": (None, 1),
    "residual_multiplier": (None, 1),
    "logits_scaling": (None, 1),
    "scale_emb": (None, 1),
    "clip_qkv": ABSENT,
    "num_experts": ABSENT,
    "num_local_experts": ABSENT,
    "attention_chunk_size": ABSENT,
    "attention_window": ABSENT,
    "local_attention": ABSENT,
    "global_attn_every_n_layers": ABSENT,
    "relative_attention": ABSENT,
}
# They change nothing here: training, generation, notes of tools, and what the server decides.
INERT = _names(
    "architectures transformers_version dtype torch_dtype use_cache _name_or_path name_or_path "
    "_commit_hash attn_implementation _attn_implementation _attn_implementation_autoset "
    "_experts_implementation gradient_checkpointing torchscript use_bfloat16 tf_legacy_loss "
    "output_attentions output_hidden_states return_dict chunk_size_feed_forward "
    "tie_last_hidden_states tie_encoder_decoder initializer_range attention_dropout "
    "hidden_dropout_prob attention_probs_dropout_prob classifier_dropout problem_type num_labels "
    "id2label label2id finetuning_task task_specific_params tokenizer_class prefix "
    "bos_token_id eos_token_id sep_token_id cls_token_id mask_token_id unk_token_id "
    "decoder_start_token_id output_past gradient_checkpointing_kwargs pretraining_tp "
    # Parameters of text generation, which transformers takes out.
    "assistant_confidence_threshold bad_words_ids begin_suppress_tokens diversity_penalty "
    "do_sample early_stopping encoder_no_repeat_ngram_size encoder_repetition_penalty "
    "epsilon_cutoff eta_cutoff exponential_decay_length_penalty forced_bos_token_id "
    "forced_eos_token_id length_penalty max_length max_new_tokens min_length no_repeat_ngram_size "
    "num_assistant_tokens num_assistant_tokens_schedule num_beam_groups num_beams "
    "num_return_sequences output_scores remove_invalid_values repetition_penalty "
    "return_dict_in_generate suppress_tokens target_lookbehind temperature top_k top_p "
    "typical_p"
)


@dataclass(frozen=True, slots=True)
class Architecture:
    """One `model_type`.

    Attributes:
        embedding: entries of `architectures` that are served as embedding models.
        reranking: likewise as rerankers.
        honoured: keys that transformers' model reads, besides those that all of them have.
        refused: keys and their harmless values, likewise.
        inert: keys that change nothing, likewise.
    """

    embedding: frozenset[str] = frozenset()
    reranking: frozenset[str] = frozenset()
    honoured: Mapping[str, Kind] = field(default_factory=dict)
    refused: Mapping[str, Harmless] = field(default_factory=dict)
    inert: frozenset[str] = frozenset()


_ENCODER_REFUSED: dict[str, Harmless] = {
    "is_decoder": ABSENT,
    "is_causal": ABSENT,
    "position_embedding_type": (None, "absolute"),
    "rope_scaling": ABSENT,
    "rope_parameters": ABSENT,
}
_ENCODER_HONOURED = {"type_vocab_size": _COUNT, "layer_norm_eps": NUMBER}

# Kinds of rotary positions whose frequencies do not depend on the other texts of a batch, and their
# parameters. (Those of `dynamic` and `longrope` depend on the longest text.)
ROPE_KINDS = ("default", "linear", "yarn", "llama3")
ROPE_NAMES = _names(
    "rope_type type rope_theta factor original_max_position_embeddings attention_factor beta_fast "
    "beta_slow mscale mscale_all_dim truncate low_freq_factor high_freq_factor "
    "partial_rotary_factor"
)

ARCHITECTURES: dict[str, Architecture] = {
    "qwen3": Architecture(
        embedding=frozenset({"Qwen3Model", "Qwen3ForCausalLM"}),
        reranking=frozenset({"Qwen3ForCausalLM", "Qwen3ForSequenceClassification"}),
        honoured={
            "num_key_value_heads": whole(1, null=True),
            "head_dim": _COUNT,
            "rms_norm_eps": NUMBER,
            "attention_bias": FLAG,
            "rope_theta": NUMBER,
        },
        # transformers 5 makes the mask bidirectional for `is_causal: false`.
        refused={"is_causal": (True,), "position_embedding_type": (None, "absolute", "rope")},
        inert=frozenset({"is_decoder", "sliding_window", "max_window_layers"}),
    ),
    "bert": Architecture(
        embedding=frozenset(
            f"Bert{name}"
            for name in ("Model", "ForMaskedLM", "ForPreTraining", "ForNextSentencePrediction")
        ),
        reranking=frozenset({"BertForSequenceClassification"}),
        honoured=_ENCODER_HONOURED,
        refused=_ENCODER_REFUSED,
        inert=_names(
            "directionality pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers "
            "pooler_size_per_head pooler_type model_max_length"
        ),
    ),
    "xlm-roberta": Architecture(
        reranking=frozenset({"XLMRobertaForSequenceClassification"}),
        honoured={**_ENCODER_HONOURED, "pad_token_id": WHOLE},
        refused=_ENCODER_REFUSED,
    ),
}


def model_types(role: Role) -> list[str]:
    """The values of `model_type` that are served so."""
    return [name for name, one in ARCHITECTURES.items() if getattr(one, role)]
