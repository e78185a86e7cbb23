"""The sync client. What it sends and makes of replies is in the modules it imports."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence, Sized
from contextlib import closing
from types import TracebackType
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

import grpc
import numpy as np
from numpy.typing import NDArray

from qwire.calls import call_all
from qwire.channels import (
    COUNT_TOKENS,
    DESCRIBE,
    EMBED,
    HEALTH,
    RERANK,
    SERVING,
    STATS,
    Link,
    Method,
    in_flight,
    open_channel,
)
from qwire.config import Config, configure
from qwire.errors import ClosedError, QwireError
from qwire.exits import close_at_exit
from qwire.info import Description, read_description
from qwire.jobs import CountJob, EmbedJob, Request
from qwire.lists import call_limits, list_flow, take, unanswered
from qwire.options import check_count, check_timeout, embed_options, rerank_options
from qwire.outage import RECONNECT_SECONDS
from qwire.progress import Progress, counted
from qwire.ranking import Ranking, RerankJob
from qwire.results import Embeddings, StreamItem, TokenCounts
from qwire.split import as_query
from qwire.state import CallLimits, State
from qwire.stats import Stats, read_stats
from qwire.stream import Flow
from qwire.stream_codec import EmbedCodec
from qwire.streaming import drive
from qwire.v1 import embedding_pb2 as pb

_Self = TypeVar("_Self", bound="Client")


class Client:
    """Embeds texts at a Qwire server. For many threads at once; connects at the first call.

    Works after a fork, inside a running event loop, and pickles and copies as its configuration.

    Args:
        target: `host:port`, `host`, `grpc://host:port`, `grpcs://host:port` (TLS), or a gRPC name
            such as `unix:path`. Several servers of one model: `host:port,host:port`, or
            `dns:///name:port` for all that the name stands for; calls take turns over those that
            serve. Default: QWIRE_TARGET, then localhost:50051.
        model: the model that must be served there; None takes whichever is.
        api_key: sent as `authorization: Bearer`; a callable is asked at each call. Default:
            QWIRE_API_KEY.
        timeout: seconds without any progress of the server, after which a call fails. Waiting in
            the server's queue is progress as long as the server shows that it is alive, and so is
            each answered part of a list: a list of any length ends on a server of any speed. What
            a call is given as its own `timeout` is a deadline instead, for all of it.
        max_attempts: tries while nothing has ever answered at the target; a client that has reached
            it before tries again until the timeout. 1 never tries again.
        reconnect_seconds: how long a stream tries to find a server again that it lost; each answer
            starts it anew.
        max_concurrency: requests of one call in flight at once.
        batch_size: most texts a request; default 64, and never more than the server takes.
        metadata: headers for every call.
        tls: None decides by the target and the certificates.
        ca_cert, client_cert, client_key: PEM, or the path of a PEM file.
        server_name: name in the server's certificate, if it is not the host; a list of hosts with
            TLS needs it.
        channel_options: gRPC's own, over ours.
        user_agent: put before `qwire-python/<version>`.
        base_url: another word for `target`.

    Raises:
        InvalidRequestError: (a ValueError) a setting that cannot be used.
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        model: str | None = None,
        api_key: str | Callable[[], str] | None = None,
        timeout: float = 60.0,
        max_attempts: int = 4,
        reconnect_seconds: float = RECONNECT_SECONDS,
        max_concurrency: int = 4,
        batch_size: int | None = None,
        metadata: Mapping[str, str] | None = None,
        tls: bool | None = None,
        ca_cert: str | bytes | None = None,
        client_cert: str | bytes | None = None,
        client_key: str | bytes | None = None,
        server_name: str | None = None,
        channel_options: Sequence[tuple[str, Any]] = (),
        user_agent: str | None = None,
        base_url: str | None = None,
    ) -> None:
        self._start(
            configure(
                target,
                base_url=base_url,
                model=model,
                api_key=api_key,
                timeout=timeout,
                max_attempts=max_attempts,
                reconnect_seconds=reconnect_seconds,
                max_concurrency=max_concurrency,
                batch_size=batch_size,
                metadata=metadata,
                tls=tls,
                ca_cert=ca_cert,
                client_cert=client_cert,
                client_key=client_key,
                server_name=server_name,
                channel_options=channel_options,
                user_agent=user_agent,
            )
        )

    def _start(self, config: Config) -> None:
        self._state = State(config)
        # By process id: a forked child opens its own channel and leaves its parent's alone.
        # No lock, which a fork could copy while it is held: `dict.setdefault` is atomic.
        self._links: dict[int, Link] = {}
        # What was replaced while calls were on it: it goes with the last of them.
        self._older: WeakKeyDictionary[Link, int] = WeakKeyDictionary()

    def embed(
        self,
        texts: Sequence[str],
        *,
        input_type: str | None = None,
        instruction: str | None = None,
        prompt_name: str | None = None,
        dimensions: int | None = None,
        normalize: bool = True,
        truncate: str = "end",
        encoding: str = "float32",
        expected_fingerprint: str | None = None,
        request_class: str | None = None,
        batch_size: int | None = None,
        timeout: float | None = None,
        progress: Callable[[int, int | None], None] | None = None,
        show_progress: bool = False,
    ) -> Embeddings:
        """Embed a list of texts, all or nothing, in order.

        A long list is cut into requests, several of which are in flight at once. What a busy or
        slow server would let wait too long for that goes over a stream. If the call fails, the
        error's `partial` holds the vectors that were answered.

        Args:
            texts: any number; an empty list gives `(0, dim)`. A blank text is embedded like any
                other, in `qwire embed` too.
            input_type: "document", "query" or "none": the prompt that goes before each text. "none"
                is the model's default prompt if it names one, else no prompt. Default: the model's
                default prompt if it names one, else "document".
            instruction: replaces the task in the model's template; "" is no prompt.
            prompt_name: name of a prompt of the model (`Description.prompts.named`), instead of the
                two above.
            dimensions: keep the first so many values of each vector. Default: all.
            normalize: scale each vector to length 1.
            truncate: "end" or "start" of a text that is too long is cut; "none" refuses it.
            encoding: "float32", "float16", "int8" or "binary" on the wire; see `Embeddings`.
            expected_fingerprint: refuse another server's vectors.
            request_class: "interactive" or "bulk". Default: bulk if the list is cut.
            batch_size: most texts a request, for this call.
            timeout: seconds until this call must have ended. Default: none, see `Client`.
            progress: called with texts done and their total after each reply.
            show_progress: draw a bar.

        Raises:
            InvalidTextError, TextTooLongError, TextTooLargeError: a text is bad, `.index`.
            QwireError: see `qwire.errors` for the rest.
        """
        options = embed_options(
            model=self._state.config.model,
            expected_fingerprint=expected_fingerprint,
            input_type=input_type,
            instruction=instruction,
            prompt_name=prompt_name,
            dimensions=dimensions,
            normalize=normalize,
            truncate=truncate,
            encoding=encoding,
            request_class=request_class,
        )
        if batch_size is not None:
            check_count("batch_size", batch_size)
        job = EmbedJob(texts, options, batch_size or self._state.config.batch_size)
        with Progress(progress, show_progress, len(job.texts.texts)) as bar:
            self._run(EMBED, job, timeout, bar)
        dim = job.dim or dimensions or self.describe(timeout=timeout).dimensions.native
        return job.result(dim)

    def embed_query(
        self,
        text: str,
        *,
        instruction: str | None = None,
        prompt_name: str | None = None,
        dimensions: int | None = None,
        normalize: bool = True,
        truncate: str = "end",
        expected_fingerprint: str | None = None,
        timeout: float | None = None,
    ) -> NDArray[np.float32]:
        """Embed one question with the model's query prompt, in one request: float32 `(dim,)`.

        Arguments and errors are those of `embed`.
        """
        embeddings = self.embed(
            as_query(text),
            input_type="query" if prompt_name is None else None,
            instruction=instruction,
            prompt_name=prompt_name,
            dimensions=dimensions,
            normalize=normalize,
            truncate=truncate,
            expected_fingerprint=expected_fingerprint,
            timeout=timeout,
        )
        return cast("NDArray[np.float32]", embeddings.vectors[0])

    def embed_documents(
        self,
        texts: Sequence[str],
        *,
        instruction: str | None = None,
        prompt_name: str | None = None,
        dimensions: int | None = None,
        normalize: bool = True,
        truncate: str = "end",
        encoding: str = "float32",
        expected_fingerprint: str | None = None,
        request_class: str | None = None,
        batch_size: int | None = None,
        timeout: float | None = None,
        progress: Callable[[int, int | None], None] | None = None,
        show_progress: bool = False,
    ) -> NDArray[np.float32]:
        """Embed documents: float32 `(n, dim)`. Arguments and errors are those of `embed`."""
        return self.embed(
            texts,
            input_type="document" if prompt_name is None else None,
            instruction=instruction,
            prompt_name=prompt_name,
            dimensions=dimensions,
            normalize=normalize,
            truncate=truncate,
            encoding=encoding,
            expected_fingerprint=expected_fingerprint,
            request_class=request_class,
            batch_size=batch_size,
            timeout=timeout,
            progress=progress,
            show_progress=show_progress,
        ).vectors

    def embed_stream(
        self,
        texts: Iterable[str] | Iterable[tuple[Any, str]],
        *,
        input_type: str | None = None,
        instruction: str | None = None,
        prompt_name: str | None = None,
        dimensions: int | None = None,
        normalize: bool = True,
        truncate: str = "end",
        encoding: str = "float32",
        expected_fingerprint: str | None = None,
        request_class: str | None = None,
        ordered: bool | None = None,
        chunk_size: int = 64,
        window: int = 4096,
        timeout: float | None = None,
        progress: Callable[[int, int | None], None] | None = None,
        show_progress: bool = False,
    ) -> Generator[StreamItem, None, None]:
        """Embed any number of texts in constant memory; one `StreamItem` comes for each.

        The iterable is read as answers are taken, by the same thread; it may be infinite.
        Leaving the loop cancels what is in flight. A bad text is the `.error` of its item.

        The stream outlives its server: after a restart, a drain, a broken connection or 30 s of
        silence it connects again and sends what was not answered. Each text yields exactly one
        item, though the server may embed it twice. A text that was in flight at three deaths of
        the server is sent alone; if that one dies too, a ModelFailedError is the item's `.error`.

        Args:
            texts: texts, or pairs of any id and a text; ids may repeat.
            input_type: same as in `embed`, like the next seven.
            instruction: replaces the task in the model's template.
            prompt_name: name of a prompt of the model, instead of the two above.
            dimensions: keep the first so many values of each vector.
            normalize: scale each vector to length 1.
            truncate: which end of a text that is too long is cut.
            encoding: on the wire; the items hold float32.
            expected_fingerprint: refuse another server's vectors.
            request_class: default: bulk.
            ordered: answers in the order of the input. Default: for texts, not for pairs.
            chunk_size: texts a message.
            window: most texts taken from the iterable and not handed out yet.
            timeout: seconds without any progress of the server, lost connections included, after
                which the stream ends. Default: it goes on as long as the server shows that it is
                alive, and looks `reconnect_seconds` for one that was lost.
            progress: called with the texts handed out and their total, if it is known, after each.
            show_progress: draw a bar.

        Raises:
            StreamLostError: no server came back in `reconnect_seconds`; it says how far it came.
            DeadlineExceededError: the server made no progress for `timeout` seconds.
            FingerprintMismatchError: the server that came back, or another of several, has another
                model.
            QwireError: see `qwire.errors` for the rest.
            Exception: whatever the iterable raises, as it is.
        """
        options = embed_options(
            model=self._state.config.model,
            expected_fingerprint=expected_fingerprint,
            input_type=input_type,
            instruction=instruction,
            prompt_name=prompt_name,
            dimensions=dimensions,
            normalize=normalize,
            truncate=truncate,
            encoding=encoding,
            request_class=request_class,
        )
        self._state.check_open()
        flow = Flow(
            EmbedCodec(options),
            self._state.config.address,
            ordered=ordered,
            chunk_size=check_count("chunk_size", chunk_size),
            window=check_count("window", window),
            reconnect_seconds=self._state.config.reconnect_seconds,
            timeout=None if timeout is None else check_timeout(timeout),
            max_attempts=self._state.config.max_attempts,
        )
        stream = drive(self._state, self._link, flow, texts)
        if progress is None and not show_progress:
            return stream
        total = len(texts) if isinstance(texts, Sized) else None
        return counted(stream, Progress(progress, show_progress, total))

    def rerank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        instruction: str | None = None,
        top_n: int | None = None,
        raw_scores: bool = False,
        return_documents: bool = False,
        truncate: str = "end",
        model: str | None = None,
        expected_fingerprint: str | None = None,
        request_class: str | None = None,
        batch_size: int | None = None,
        timeout: float | None = None,
        progress: Callable[[int, int | None], None] | None = None,
        show_progress: bool = False,
    ) -> Ranking:
        """Put documents in the order in which they answer a query, all or nothing.

        A long list is sent as in `embed`; an error's `partial` holds the scores that were answered.

        Args:
            query: what is asked for.
            documents: any number; a blank one is scored like any other.
            instruction: what makes a document the right one. Default: the reranker's own.
            top_n: results for the best so many. Default: for all.
            raw_scores: log-odds instead of probabilities.
            return_documents: put each document's text into its result.
            truncate: "end" or "start" of a document that is too long is cut; "none" refuses it.
            model: the reranker that must be served there; None takes whichever is.
            expected_fingerprint: refuse another reranker's scores.
            request_class: "interactive" or "bulk". Default: bulk if the list is cut.
            batch_size: most documents a request, for this call.
            timeout: seconds until this call must have ended. Default: none, see `Client`.
            progress: called with documents done and their total after each reply.
            show_progress: draw a bar.

        Raises:
            NotServedError: the server has no reranker.
            InvalidTextError, TextTooLongError, TextTooLargeError: a document is bad, `.index`.
            QwireError: see `qwire.errors` for the rest.
        """
        options = rerank_options(
            model=model,
            expected_fingerprint=expected_fingerprint,
            instruction=instruction,
            truncate=truncate,
            raw_scores=raw_scores,
            request_class=request_class,
        )
        if batch_size is not None:
            check_count("batch_size", batch_size)
        job = RerankJob(
            query,
            documents,
            options,
            top_n=top_n,
            batch_size=batch_size or self._state.config.batch_size,
        )
        with Progress(progress, show_progress, len(job.texts.texts)) as bar:
            self._run(RERANK, job, timeout, bar)
        return job.result(return_documents=return_documents)

    def count_tokens(
        self,
        texts: Sequence[str],
        *,
        input_type: str | None = None,
        instruction: str | None = None,
        prompt_name: str | None = None,
        timeout: float | None = None,
    ) -> TokenCounts:
        """Tokens that `embed` would use for each text; arguments and errors as there."""
        options = embed_options(
            model=self._state.config.model,
            input_type=input_type,
            instruction=instruction,
            prompt_name=prompt_name,
        )
        job = CountJob(texts, options)
        self._run(COUNT_TOKENS, job, timeout, None)
        return job.result()

    def describe(self, *, timeout: float | None = None, refresh: bool = False) -> Description:
        """What runs at the target; asked once unless `refresh`.

        Raises:
            QwireError: nothing answers, or not as it should.
        """
        description = self._state.description
        if description is None or refresh:
            reply: pb.DescribeResponse = self._call(DESCRIBE, pb.DescribeRequest(), timeout)
            description = self._state.description = read_description(reply)
        return description

    def stats(self, *, timeout: float | None = None) -> Stats:
        """How busy the target is: what waits, what was answered since its start.

        Raises:
            QwireError: nothing answers, or not as it should.
        """
        reply: pb.StatsResponse = self._call(STATS, pb.StatsRequest(), timeout)
        return read_stats(reply)

    def healthy(self, *, timeout: float = 5) -> bool:
        """Whether the server says that it serves; False as well if nothing answers in time.

        Raises:
            ClosedError: after `close`.
        """
        try:
            return bool(self._call(HEALTH, b"", timeout, max_attempts=1) == SERVING)
        except ClosedError:
            raise
        except QwireError:
            return False

    def close(self) -> None:
        """Close this process's channel; what is in flight raises ClosedError. Can be repeated."""
        self._state.closed = True
        pid = os.getpid()
        older = [link for link, owner in list(self._older.items()) if owner == pid]
        for link in filter(None, (self._links.pop(pid, None), *older)):
            link.channel.close()

    def __enter__(self: _Self) -> _Self:  # noqa: PYI019  typing has no Self before Python 3.11
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __getstate__(self) -> Config:
        return self._state.config

    def __setstate__(self, config: Config) -> None:
        self._start(config)

    def __repr__(self) -> str:
        mine = [link for pid, link in list(self._links.items()) if pid == os.getpid()]
        closed = " closed" if self._state.closed else ""
        return f"<Client {self._state.config.address.target} in_flight={in_flight(mine)}{closed}>"

    def _link(self, stale: Link | None = None) -> Link:
        """This process's channel; a new one if the old one is `stale`."""
        self._state.check_open()
        pid = os.getpid()
        if stale is not None and self._links.get(pid) is stale:
            self._links.pop(pid, None)
            self._older[stale] = pid
        link = self._links.get(pid)
        if link is None:
            made = Link(open_channel(self._state.config, grpc))
            link = self._links.setdefault(pid, made)
            if link is not made:  # another thread was first
                made.channel.close()
            close_at_exit(self)
        return link

    def _run(
        self,
        method: Method,
        job: EmbedJob | CountJob | RerankJob,
        timeout: float | None,
        bar: Progress | None,
    ) -> None:
        """Send a job's requests and collect their replies."""
        state = self._state
        seconds = check_timeout(state.config.timeout if timeout is None else timeout)
        deadline = None if timeout is None else time.monotonic() + seconds
        if job.texts.needs_limits:
            self.describe(timeout=timeout)
        job.texts.split(state.description)
        window = min(state.config.max_concurrency, len(job.texts.runs))
        limits = call_limits(state, job, seconds, deadline, window)

        def on_reply(run: range, reply: Any) -> None:
            if not isinstance(job, CountJob):
                state.check_same_model(job.options, reply)
            job.collect(run, reply)
            if bar is not None:
                bar.add(len(run))

        try:
            finished = call_all(
                state,
                self._link(),
                method,
                job.requests(),
                on_reply,
                limits=limits,
                window=window,
            )
            if not finished and not isinstance(job, CountJob):
                self._stream_rest(job, limits, bar)
        except QwireError as error:
            error.partial = job.partial()
            raise

    def _stream_rest(
        self, job: EmbedJob | RerankJob, limits: CallLimits, bar: Progress | None
    ) -> None:
        """Send what no call has answered over a stream."""
        flow = list_flow(self._state, job, limits)
        texts = unanswered(job.texts)
        with closing(drive(self._state, self._link, flow, texts)) as stream:
            for item in stream:
                take(item, bar)

    def _call(
        self,
        method: Method,
        message: Any,
        timeout: float | None,
        max_attempts: int | None = None,
    ) -> Any:
        """One request without texts, and its reply."""
        replies: list[Any] = []
        seconds = check_timeout(self._state.config.timeout if timeout is None else timeout)
        call_all(
            self._state,
            self._link(),
            method,
            [Request(message, range(0))],
            lambda _, reply: replies.append(reply),
            limits=CallLimits(seconds, max_attempts or self._state.config.max_attempts),
            window=1,
        )
        return replies[0]
