"""The async client: the words of `client`, over grpc.aio."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
    Sized,
)
from contextlib import aclosing
from types import TracebackType
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

import grpc.aio
import numpy as np
from numpy.typing import NDArray

from qwire.aio_calls import call_all
from qwire.aio_streaming import drive
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
from qwire.forks import call_before_fork
from qwire.info import Description, read_description
from qwire.jobs import CountJob, EmbedJob, Request
from qwire.lists import call_limits, list_flow, take, unanswered
from qwire.options import check_count, check_timeout, embed_options, rerank_options
from qwire.outage import RECONNECT_SECONDS
from qwire.progress import Progress
from qwire.progress import acounted as counted
from qwire.ranking import Ranking, RerankJob
from qwire.results import Embeddings, StreamItem, TokenCounts
from qwire.split import as_query
from qwire.state import CallLimits, State
from qwire.stats import Stats, read_stats
from qwire.stream import Flow
from qwire.stream_codec import EmbedCodec
from qwire.v1 import embedding_pb2 as pb

_Self = TypeVar("_Self", bound="AsyncClient")


class AsyncClient:
    """Embeds texts at a Qwire server, under asyncio. Connects at the first call.

    Serves any number of event loops, one after another or in threads of their own; pickles and
    copies as its configuration. Arguments and errors are those of `Client`.
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
        # A channel of grpc.aio belongs to one event loop, and a forked child shares neither.
        self._links: dict[tuple[int, asyncio.AbstractEventLoop], Link] = {}
        # What was replaced while calls were on it: it goes with the last of them.
        self._older: WeakKeyDictionary[Link, tuple[int, asyncio.AbstractEventLoop]]
        self._older = WeakKeyDictionary()
        # gRPC cannot prepare for a fork while its poller runs, which ends with the last channel:
        # after `asyncio.run` 4 of 4 children crashed or hung.
        call_before_fork(self, self._drop_closed_loops)

    async def embed(
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
        """Embed a list of texts; see `Client.embed`."""
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
            await self._run(EMBED, job, timeout, bar)
        dim = job.dim or dimensions or (await self.describe(timeout=timeout)).dimensions.native
        return job.result(dim)

    async def embed_query(
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
        """Embed one question, float32 `(dim,)`; see `Client.embed_query`."""
        embeddings = await self.embed(
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

    async def embed_documents(
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
        """Embed documents, float32 `(n, dim)`; see `Client.embed_documents`."""
        embeddings = await self.embed(
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
        )
        return embeddings.vectors

    def embed_stream(
        self,
        texts: Iterable[str]
        | Iterable[tuple[Any, str]]
        | AsyncIterable[str]
        | AsyncIterable[tuple[Any, str]],
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
    ) -> AsyncGenerator[StreamItem, None]:
        """Embed any number of texts in constant memory; see `Client.embed_stream`.

        Takes an iterable or an async one, which a task of its own reads while the loop runs on.
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

    async def rerank(
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
        """Put documents in the order in which they answer a query; see `Client.rerank`."""
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
            await self._run(RERANK, job, timeout, bar)
        return job.result(return_documents=return_documents)

    async def count_tokens(
        self,
        texts: Sequence[str],
        *,
        input_type: str | None = None,
        instruction: str | None = None,
        prompt_name: str | None = None,
        timeout: float | None = None,
    ) -> TokenCounts:
        """Tokens that `embed` would use; see `Client.count_tokens`."""
        options = embed_options(
            model=self._state.config.model,
            input_type=input_type,
            instruction=instruction,
            prompt_name=prompt_name,
        )
        job = CountJob(texts, options)
        await self._run(COUNT_TOKENS, job, timeout, None)
        return job.result()

    async def describe(self, *, timeout: float | None = None, refresh: bool = False) -> Description:
        """What runs at the target; see `Client.describe`."""
        description = self._state.description
        if description is None or refresh:
            reply: pb.DescribeResponse = await self._call(DESCRIBE, pb.DescribeRequest(), timeout)
            description = self._state.description = read_description(reply)
        return description

    async def stats(self, *, timeout: float | None = None) -> Stats:
        """How busy the target is; see `Client.stats`."""
        reply: pb.StatsResponse = await self._call(STATS, pb.StatsRequest(), timeout)
        return read_stats(reply)

    async def healthy(self, *, timeout: float = 5) -> bool:
        """Whether the server says that it serves; see `Client.healthy`."""
        try:
            return bool(await self._call(HEALTH, b"", timeout, max_attempts=1) == SERVING)
        except ClosedError:
            raise
        except QwireError:
            return False

    async def close(self) -> None:
        """Close the channels; what is in flight raises ClosedError. Can be repeated."""
        self._state.closed = True
        here = asyncio.get_running_loop()
        links = [*self._links.items(), *((key, link) for link, key in self._older.items())]
        for (pid, loop), link in links:
            if pid != os.getpid():
                continue
            self._links.pop((pid, loop), None)
            if loop is here:
                for call in list(link.calls):
                    call.cancel()  # grpcio 1.60 waits for open streams instead
                await link.channel.close()
            elif loop.is_running():  # in another thread
                asyncio.run_coroutine_threadsafe(link.channel.close(), loop)

    aclose = close

    async def __aenter__(self: _Self) -> _Self:  # noqa: PYI019  typing has no Self before Python 3.11
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __getstate__(self) -> Config:
        return self._state.config

    def __setstate__(self, config: Config) -> None:
        self._start(config)

    def __repr__(self) -> str:
        mine = [link for (pid, _), link in list(self._links.items()) if pid == os.getpid()]
        closed = " closed" if self._state.closed else ""
        target = self._state.config.address.target
        return f"<AsyncClient {target} in_flight={in_flight(mine)}{closed}>"

    def _link(self, stale: Link | None = None) -> Link:
        """This loop's channel; a new one if the old one is `stale`."""
        self._state.check_open()
        key = (os.getpid(), asyncio.get_running_loop())
        link = self._links.get(key)
        if link is None or link is stale:
            self._drop_closed_loops()
            if link is not None:
                self._older[link] = key
            link = self._links[key] = Link(open_channel(self._state.config, grpc.aio))
        return link

    def _drop_closed_loops(self) -> None:
        """A channel keeps its loop alive and the loop its channel, so nobody else collects them."""
        for pid, loop in list(self._links):
            if pid == os.getpid() and loop.is_closed():
                self._links.pop((pid, loop), None)
        for link, (pid, loop) in list(self._older.items()):
            if pid == os.getpid() and loop.is_closed():
                self._older.pop(link, None)

    async def _run(
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
            await self.describe(timeout=timeout)
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
            finished = await call_all(
                state,
                self._link(),
                method,
                job.requests(),
                on_reply,
                limits=limits,
                window=window,
            )
            if not finished and not isinstance(job, CountJob):
                await self._stream_rest(job, limits, bar)
        except QwireError as error:
            error.partial = job.partial()
            raise

    async def _stream_rest(
        self, job: EmbedJob | RerankJob, limits: CallLimits, bar: Progress | None
    ) -> None:
        """Send what no call has answered over a stream."""
        flow = list_flow(self._state, job, limits)
        texts = unanswered(job.texts)
        async with aclosing(drive(self._state, self._link, flow, texts)) as stream:
            async for item in stream:
                take(item, bar)

    async def _call(
        self,
        method: Method,
        message: Any,
        timeout: float | None,
        max_attempts: int | None = None,
    ) -> Any:
        """One request without texts, and its reply."""
        replies: list[Any] = []
        seconds = check_timeout(self._state.config.timeout if timeout is None else timeout)
        await call_all(
            self._state,
            self._link(),
            method,
            [Request(message, range(0))],
            lambda _, reply: replies.append(reply),
            limits=CallLimits(seconds, max_attempts or self._state.config.max_attempts),
            window=1,
        )
        return replies[0]
