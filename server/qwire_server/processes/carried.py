"""Works, outcomes and models as plain data, on their way from one process to another."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qwire_server.api.served import Checked, Limits, Served
from qwire_server.checkpoint.model_prompts import Prompts
from qwire_server.engine.queue.cost import CostModel
from qwire_server.engine.work import Encoding, Failure, Outcome, RequestClass, RowForm, Rows, Work
from qwire_server.text.pair_tokenizer import PairTokenizer
from qwire_server.text.pairs import PairPrompt
from qwire_server.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from qwire_server.build import Described
    from qwire_server.load import LoadedModel
    from qwire_server.load_reranker import LoadedReranker
    from qwire_server.processes.link import Facts

_TOKENIZERS: dict[str, type[Tokenizer | PairTokenizer]] = {
    each.__name__: each for each in (Tokenizer, PairTokenizer)
}


def pack_work(work: Work) -> tuple[Facts, bytes]:
    """Head and body; the body is lengths (int32), costs (int64) and ids (int32), little-endian."""
    form = work.form
    facts = {
        "key": work.key,
        "texts": len(work.token_ids),
        "form": (form.dimensions, form.normalize, form.encoding),
        "model": work.model,
        "class": work.request_class,
        "deadline": work.deadline,
        "client": work.client,
        "request": work.request_id,
        "prefix": work.prefix,
    }
    lengths = np.fromiter(map(len, work.token_ids), "<i4", len(work.token_ids))
    ids = [array.astype("<i4", copy=False).tobytes() for array in work.token_ids]
    return facts, b"".join([lengths.tobytes(), np.array(work.costs, "<i8").tobytes(), *ids])


def unpack_work(facts: Facts, body: bytes, key: int) -> Work:
    """The work again, by another key."""
    texts: int = facts["texts"]
    lengths = np.frombuffer(body, "<i4", texts)
    costs = np.frombuffer(body, "<i8", texts, offset=4 * texts)
    ids = np.frombuffer(body, "<i4", offset=12 * texts)
    dimensions, normalize, encoding = facts["form"]
    return Work(
        key=key,
        token_ids=np.split(ids, np.cumsum(lengths)[:-1]),
        costs=costs.tolist(),
        form=RowForm(dimensions, normalize, Encoding(encoding)),
        model=facts["model"],
        request_class=RequestClass(facts["class"]),
        deadline=facts["deadline"],
        client=facts["client"],
        request_id=facts["request"],
        prefix=facts["prefix"],
    )


def pack_outcome(outcome: Outcome, key: int) -> tuple[Facts, bytes]:
    """Head and body, for the work that has this key where it came from; the body is its rows."""
    rows = outcome.rows
    facts = {
        "key": key,
        "indices": outcome.indices,
        "rows": rows.count,
        "scales": len(rows.scales),
        "failures": [
            (failure.index, failure.code, failure.message) for failure in outcome.failures
        ],
        "seconds": outcome.seconds,
    }
    return facts, rows.data + rows.scales if rows.scales else rows.data


def unpack_outcome(facts: Facts, body: bytes) -> Outcome:
    """The outcome again."""
    data = len(body) - facts["scales"]
    return Outcome(
        key=facts["key"],
        indices=facts["indices"],
        rows=Rows(body[:data], facts["rows"], body[data:]),
        failures=[Failure(*failure) for failure in facts["failures"]],
        seconds=facts["seconds"],
    )


@dataclass(frozen=True, slots=True)
class Carried:
    """A model that another process runs; see `build.Described`."""

    served: Served
    tokenizer: Tokenizer | PairTokenizer
    cost: CostModel


def pack_models(loaded: LoadedModel | None, ranker: LoadedReranker | None) -> Facts:
    """What fronts must know of models that are loaded here."""
    return {
        "model": loaded and _pack_model(loaded),
        "reranker": ranker and _pack_model(ranker.loaded),
        "instruction": ranker and ranker.prompt.instruction,
    }


def fingerprints(facts: Facts) -> list[str]:
    """Of packed models; processes of one server have the same."""
    models = (facts["model"], facts["reranker"])
    return [model["served"]["fingerprint"] if model else "" for model in models]


def unpack_models(facts: Facts) -> tuple[Carried | None, tuple[Carried, PairPrompt] | None]:
    """The models again, as far as fronts know them."""
    loaded, ranker = facts["model"], facts["reranker"]
    return (
        _unpack_model(loaded) if loaded else None,
        (_unpack_model(ranker), PairPrompt(facts["instruction"])) if ranker else None,
    )


def _pack_model(model: Described) -> Facts:
    tokenizer = model.tokenizer
    assert isinstance(tokenizer, (Tokenizer, PairTokenizer))
    return {
        "served": asdict(model.served),
        "tokenizer": (type(tokenizer).__name__, tokenizer.pack()),
        "cost": asdict(model.cost),
    }


def _unpack_model(facts: Facts) -> Carried:
    served: dict[str, Any] = facts["served"]
    kind, tokenizer = facts["tokenizer"]
    checked = served["checked"]
    return Carried(
        Served(
            **{
                **served,
                "languages": tuple(served["languages"]),
                "aliases": tuple(served["aliases"]),
                "unknown_config_keys": tuple(served["unknown_config_keys"]),
                "prompts": Prompts(**served["prompts"]),
                "limits": Limits(**served["limits"]),
                "checked": Checked(**checked) if checked else None,
            }
        ),
        _TOKENIZERS[kind].unpack(tokenizer),
        CostModel(**facts["cost"]),
    )
