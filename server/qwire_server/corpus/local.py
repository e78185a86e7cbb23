"""The engine in this process, behind the words of `qwire.Client`: no server, no socket."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

from qwire.errors import InvalidRequestError
from qwire.failures import error_of
from qwire.info import read_description
from qwire.options import embed_options
from qwire_server import settings as all_settings
from qwire_server.api.call import Call
from qwire_server.api.flow import Flow
from qwire_server.api.rpc.wire import describe_response, options_from
from qwire_server.api.stats import Counters
from qwire_server.build import build
from qwire_server.corpus.stream import stream_items
from qwire_server.engine.observer import LogObserver
from qwire_server.engine.work import RequestClass
from qwire_server.errors import RequestError, StartError
from qwire_server.load import load_model
from qwire_server.security.keyring import Keyring

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from types import TracebackType

    from typing_extensions import Self

    from qwire.info import Description
    from qwire.results import StreamItem
    from qwire_server.load import LoadedModel
    from qwire_server.settings import Settings

_LOG = logging.getLogger("qwire.server")


def read_settings(model: str | None) -> Settings:
    """Settings of the model, from variables and the file that QWIRE_CONFIG names.

    Raises:
        InvalidRequestError: one is wrong.
    """
    try:
        return all_settings.load([] if model is None else ["--model", model])
    except StartError as error:
        raise InvalidRequestError(str(error)) from None


class LocalEngine:
    """A loaded model that takes streams; use in `with`.

    Args:
        settings: as of a server.
        load: where the model comes from; from where the settings say by default.

    Raises:
        InvalidRequestError: the model cannot be loaded.
    """

    def __init__(
        self, settings: Settings, load: Callable[[Settings], LoadedModel] = load_model
    ) -> None:
        try:
            loaded = load(settings)
        except StartError as error:
            raise InvalidRequestError(str(error)) from None
        self._served = loaded.served
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="qwire-local", daemon=True
        )
        self._thread.start()
        # An engine that is lost says so to each text, too.
        self._built = build(
            settings,
            loaded,
            None,
            LogObserver(),
            Counters(),
            Keyring(None, _LOG.error),
            self._loop,
            _LOG.error,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._built.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def describe(self) -> Description:
        """The model."""
        return read_description(describe_response(self._served, None))

    def embed_stream(
        self,
        texts: Iterable[tuple[Any, str]],
        *,
        input_type: str | None = None,
        instruction: str | None = None,
        prompt_name: str | None = None,
        dimensions: int | None = None,
        truncate: str = "end",
        encoding: str = "float32",
        expected_fingerprint: str | None = None,
        request_class: str | None = None,
        ordered: bool | None = None,  # noqa: ARG002  a client's word: here items always are
    ) -> Generator[StreamItem, None, None]:
        """Embed any number of texts in constant memory; one item comes for each, in their order.

        Args:
            texts: pairs of any id and a text.
            input_type: as all words, as in `Client.embed_stream`.
            instruction: replaces the task in the model's template.
            prompt_name: name of a prompt of the model, instead of the two above.
            dimensions: keep the first so many values.
            truncate: which end of a text that is too long is cut.
            encoding: "float32" or "float16".
            expected_fingerprint: refuse another model's vectors.
            request_class: whose turn it is; nobody else is here.
            ordered: items always are.

        Raises:
            InvalidRequestError: a word that the model does not take.
            ServerError: the device or the engine is lost.
        """
        assert self._built.embedder is not None
        call = Call("embed", "local", "local", float("inf"), RequestClass.BULK)
        options = embed_options(
            input_type=input_type,
            instruction=instruction,
            prompt_name=prompt_name,
            dimensions=dimensions,
            truncate=truncate,
            encoding=encoding,
            expected_fingerprint=expected_fingerprint,
            request_class=request_class,
        )
        try:
            plan = self._served.plan(call, options_from(options))
        except RequestError as error:
            raise error_of(error.code, error.message) from None
        flow = Flow(self._built.embedder, call)
        return stream_items(self._loop, flow, plan, iter(texts))
