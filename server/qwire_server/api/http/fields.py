"""Fields of the interfaces that we imitate, beyond those that a route's own body model declares.

A field that changes the result is honoured (declared in a body model), or refused with what to do
instead. `docs/http.md` has all of it as a table; a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwire_server.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_LONGEST_NAME = 64  # of a field that is looked up, or named in an error


@dataclass(frozen=True, slots=True)
class Refused:
    """A field that changes the result elsewhere, and cannot be honoured here.

    Attributes:
        instead: advice for the caller.
        but: values that ask for what happens here anyway; they are taken.
    """

    instead: str
    but: tuple[object, ...] = ()


_LIMIT = "the server's own limit holds (--max-tokens, --reranker-max-tokens); leave it out"
_WHOLE = "documents are never split here, their ends are cut off; leave it out"
_TEXT_ONLY = "this server takes texts only"
_FLOATS = "vectors come as float32 here; leave it out, or use gRPC, which has smaller encodings"
_WORDS = "say the task in words as `instruction`"

REFUSED: dict[str, Refused] = {
    # Embeddings.
    "add_special_tokens": Refused("the model's own special tokens are always added", (True,)),
    "chat_template": Refused("send the text as `input`"),
    "embd_normalize": Refused("send `normalize`", (2,)),
    "embed_dtype": Refused(_FLOATS, ("float32", "auto")),
    "embedding_type": Refused(_FLOATS, ("float", ["float"])),
    "embedding_types": Refused(_FLOATS, (["float"],)),
    "encoding_format": Refused(_FLOATS, ("float", ["float"])),
    "endianness": Refused("base64 is little-endian here", ("little", "native")),
    "images": Refused(_TEXT_ONLY, ([],)),
    "instruct": Refused(_WORDS),
    "late_chunking": Refused("each text is embedded by itself", (False,)),
    "max_tokens": Refused(_LIMIT),
    "messages": Refused("send the text as `input`"),
    "modality": Refused(_TEXT_ONLY, ("text", ["text"])),
    "output_dtype": Refused(_FLOATS, ("float", "float32")),
    "parameters": Refused("put its fields beside `inputs`", ({},)),
    "prefix": Refused(f"put it before each text yourself, or {_WORDS}", ("",)),
    "prompt": Refused(f"choose one by `prompt_name`, or {_WORDS}"),
    "return_colbert_vecs": Refused("there is one vector for each text", (False,)),
    "return_multivector": Refused("there is one vector for each text", (False,)),
    "return_sparse": Refused("vectors are dense here", (False,)),
    "task_type": Refused("send `input_type`"),
    "text_type": Refused("send `input_type`"),
    "title": Refused("put it into the text"),
    # Reranking.
    "max_chunks_per_doc": Refused(_WHOLE),
    "max_doc_length": Refused(_LIMIT),
    "max_length": Refused(_LIMIT),
    "max_query_length": Refused(_LIMIT),
    "max_tokens_per_doc": Refused(_LIMIT),
    "max_tokens_per_query": Refused(_LIMIT),
    "overlap_tokens": Refused(_WHOLE, (0,)),
    "rank_fields": Refused("a document's `text` is ranked", (["text"],)),
    "relevant_spans": Refused("this server finds no spans; leave it out"),
    "return_embeddings": Refused("send the texts to /v1/embeddings", (False,)),
    "softmax": Refused("send `use_activation`", (True,)),
    # Both.
    "mm_processor_kwargs": Refused(_TEXT_ONLY, ({},)),
}

IGNORED: dict[str, str] = {
    "additional_data": "comes back unused at other servers",
    "cache_salt": "keeps callers apart in a cache; no cache here changes a vector",
    "extra": "names nothing that a model does",
    "metadata": "describes the caller",
    "options": "how Hugging Face's own service waits for a model",
    "priority": "whose turn it is; here the header x-qwire-class says so",
    "request_id": "the caller's number; here it is the header x-request-id",
    "return_len": "counts of tokens, which stand in `usage`",
    "rid": "the caller's number; here it is the header x-request-id",
    "safety_identifier": "describes the caller",
    "store": "nothing is kept here",
    "stream": "a reply comes as a whole",
    "user": "describes the caller",
}


def check(sent: Mapping[str, object], honoured: Collection[str], known: Collection[str]) -> None:
    """Refuse fields that would be dropped though they change a result elsewhere.

    A field that no interface has is ignored, as nearly all servers do, unless it is another
    spelling of one that is known (`topN`, `dimension`).

    Args:
        sent: fields of a body, with their values.
        honoured: names of those that its route honours.
        known: names of those that any route honours.

    Raises:
        InvalidRequest: it names the field, and says what to do.
    """
    spellings = {_bare(name): name for name in (*REFUSED, *known, *honoured)}
    for name, value in sent.items():
        if name in honoured or name in IGNORED:
            continue
        if rule := REFUSED.get(name):
            if value not in rule.but:
                raise InvalidRequest(f"`{name}` is not taken: {rule.instead}")
        elif name in known:
            raise InvalidRequest(f"`{name}` is no field of this route: leave it out")
        elif len(name) <= _LONGEST_NAME and (meant := spellings.get(_bare(name))):
            raise InvalidRequest(f"{name!a} is no field: did you mean `{meant}`?")


def _bare(name: str) -> str:
    """A field name without case, dashes and plural, to compare spellings."""
    return name.replace("_", "").replace("-", "").lower().rstrip("s")
