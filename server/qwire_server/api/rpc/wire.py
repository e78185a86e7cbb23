"""Between `qwire.v1` messages and our own types. Pure; no policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwire._version import __version__
from qwire.v1 import embedding_pb2 as pb
from qwire_server.api.call import Options
from qwire_server.engine.work import Encoding, RequestClass
from qwire_server.errors import InvalidRequest
from qwire_server.text.prompts import InputType
from qwire_server.text.tokenizer import Truncate

if TYPE_CHECKING:
    from enum import IntEnum
    from typing import TypeVar

    from google.protobuf.message import Message

    from qwire_server.api.books import Books
    from qwire_server.api.chunk import Answer
    from qwire_server.api.embedder import Reply
    from qwire_server.api.flow import Notice
    from qwire_server.api.reranker import Reranker
    from qwire_server.api.served import Checked, Limits, Served
    from qwire_server.api.stats import ClassStats, Stats
    from qwire_server.engine.work import RowForm, Rows

    E = TypeVar("E", bound=IntEnum)
    D = TypeVar("D")


def options_from(message: pb.EmbedOptions) -> Options:
    """Read options; a value 0 is the default of its kind.

    Raises:
        InvalidRequest: an enum has a value that this server does not know.
    """
    return Options(
        model=optional(message, "model"),
        expected_fingerprint=optional(message, "expected_fingerprint"),
        input_type=known("input_type", InputType, message.input_type, None),
        instruction=optional(message, "instruction"),
        dimensions=message.dimensions if message.HasField("dimensions") else None,
        normalize=message.normalize if message.HasField("normalize") else True,
        truncate=known("truncate", Truncate, message.truncate, Truncate.END),
        encoding=known("encoding", Encoding, message.encoding, Encoding.FLOAT32),
        request_class=known("request_class", RequestClass, message.request_class, None),
        prompt_name=optional(message, "prompt_name"),
    )


def vectors(rows: Rows, form: RowForm) -> pb.Vectors:
    """Rows as they go on the wire."""
    return pb.Vectors(
        data=rows.data,
        rows=rows.count,
        dim=form.dimensions,
        encoding=pb.Encoding.Name(form.encoding),
        scales=rows.scales,
    )


def embed_response(reply: Reply, served: Served) -> pb.EmbedResponse:
    """Reply to `Embed`."""
    return pb.EmbedResponse(
        vectors=vectors(reply.rows, reply.form),
        usage=pb.TextUsage(tokens=reply.tokens, cut=reply.cut, unknown=reply.unknown),
        model=served.model,
        fingerprint=served.fingerprint,
    )


def stream_response(answer: Answer) -> pb.EmbedStreamResponse:
    """One reply of `EmbedStream`."""
    tokens, cut, unknown = zip(*answer.usage, strict=True) if answer.usage else ((), (), ())
    return pb.EmbedStreamResponse(
        ids=answer.ids,
        vectors=vectors(answer.rows, answer.form) if answer.ids else None,
        usage=pb.TextUsage(tokens=tokens, cut=cut, unknown=unknown),
        errors=[
            pb.TextError(id=i, code=error.code, message=error.message) for i, error in answer.errors
        ],
    )


def notice_response(notice: Notice) -> pb.EmbedStreamResponse:
    """A reply that carries only a notice."""
    return pb.EmbedStreamResponse(notice=f"NOTICE_{notice.value}")


def describe_response(served: Served | None, reranker: Reranker | None) -> pb.DescribeResponse:
    """Reply to `Describe`; one of the two is there at least."""
    if served is not None:
        response = _description(served)
    else:
        assert reranker is not None
        alone = reranker.served
        response = pb.DescribeResponse(
            server_version=__version__,
            device=alone.device,
            dtype=alone.dtype,
            limits=_limits(alone.limits),
        )
    if reranker is not None:
        ranks = reranker.served
        response.reranker.CopyFrom(
            pb.RerankerInfo(
                model=ranks.model,
                revision=ranks.revision,
                fingerprint=ranks.fingerprint,
                max_tokens=ranks.max_tokens,
                instruction=reranker.prompt.instruction,
                device=ranks.device,
                dtype=ranks.dtype,
                self_check=_self_check(ranks.checked),
                unknown_config_keys=ranks.unknown_config_keys,
            )
        )
    return response


def _description(served: Served) -> pb.DescribeResponse:
    return pb.DescribeResponse(
        model=served.model,
        revision=served.revision,
        fingerprint=served.fingerprint,
        server_version=__version__,
        languages=served.languages,
        dimensions=pb.Dimensions(native=served.native_dimensions, smallest=served.min_dimensions),
        max_tokens=served.max_tokens,
        pooling=served.pooling,
        prompts=pb.Prompts(
            query=served.prompts.query,
            document=served.prompts.document,
            template=served.prompts.template,
            named=served.prompts.named,
            default_name=served.prompts.default_name,
        ),
        device=served.device,
        dtype=served.dtype,
        limits=_limits(served.limits),
        self_check=_self_check(served.checked),
        unknown_config_keys=served.unknown_config_keys,
    )


def _self_check(checked: Checked | None) -> pb.SelfCheck | None:
    if checked is None:
        return None
    return pb.SelfCheck(
        lowest_cosine=checked.lowest_cosine, texts=checked.texts, dtype=checked.dtype
    )


def _limits(limits: Limits) -> pb.Limits:
    return pb.Limits(
        texts_per_request=limits.max_texts,
        bytes_per_text=limits.max_text_bytes,
        bytes_per_message=limits.max_message_bytes,
        tokens_per_batch=limits.batch_tokens,
        tokens_per_request=limits.request_tokens,
        tokens_per_stream=limits.stream_tokens,
    )


def optional(message: Message, name: str) -> str | None:
    """A string of a message, None where it is absent."""
    return getattr(message, name) if message.HasField(name) else None


def known(name: str, kind: type[E], value: int, default: D) -> E | D:
    """A value of an enum; 0 is the default.

    Raises:
        InvalidRequest: this server does not know it.
    """
    if value == 0:
        return default
    try:
        return kind(value)
    except ValueError:
        allowed = ", ".join(f"{e.value} ({e.name.lower()})" for e in kind)
        raise InvalidRequest(f"{name} {value} is unknown, it may be {allowed}") from None


def stats_response(stats: Stats) -> pb.StatsResponse:
    """Reply to `Stats`."""
    counters = stats.counters
    return pb.StatsResponse(
        uptime_seconds=stats.uptime,
        queue_seconds=stats.bound / 1e6,
        interactive=_class_stats(stats.classes[RequestClass.INTERACTIVE]),
        bulk=_class_stats(stats.classes[RequestClass.BULK]),
        clients=[
            pb.ClientStats(
                client=client.asker.client,
                request_class=f"REQUEST_CLASS_{client.asker.request_class.name}",
                held_seconds=client.held / 1e6,
                oldest_seconds=client.oldest / 1e6,
                streams=client.streams,
            )
            for client in stats.clients
        ],
        clients_active=stats.clients_active,
        calls=counters.calls,
        failures=counters.failures,
        texts=counters.texts,
        tokens=counters.tokens,
        bulk_tokens=counters.bulk_tokens,
        texts_expired=counters.expired,
        batches=counters.batches,
        batch_fill=counters.batch_fill,
        busy_seconds=counters.busy_seconds,
        starved_seconds=counters.starved_seconds,
        saved_tokens=counters.saved_tokens,
        cost_accuracy=stats.cost_accuracy,
        books=_books(counters.books),
        requests_waiting=stats.requests_waiting,
        bytes_waiting=stats.bytes_waiting,
    )


def _books(books: Books) -> pb.Books:
    return pb.Books(
        accepted=books.accepted,
        answered=books.answered,
        failed=books.failed,
        abandoned=books.abandoned,
    )


def _class_stats(stats: ClassStats) -> pb.ClassStats:
    return pb.ClassStats(
        held_seconds=stats.held / 1e6,
        texts_waiting=stats.texts,
        oldest_seconds=stats.oldest / 1e6,
    )
