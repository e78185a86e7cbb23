"""Between texts and token ids, for any protocol; the model itself has no part in it.

Tokenising is admitted like embedding, by the device time that the texts would take: a text costs
the tokeniser much more than its reply says.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from qwire_server.engine.queue.admission import Asker
from qwire_server.errors import InvalidRequest, RequestTooLarge
from qwire_server.text.pool import SLICE_CHARS, parts_of, slices
from qwire_server.text.spelling import Spelled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qwire_server.api.call import Call
    from qwire_server.api.desk import Hold
    from qwire_server.api.embedder import Embedder
    from qwire_server.text.spelling import Token

_BYTES_PER_ID = 4
_PACKED_TOKENS = 4096  # at a time: about 30 ms of Python


class Vocabulary:
    """The tokeniser of a served model.

    Args:
        embedder: of the model, or of the reranking model.
    """

    def __init__(self, embedder: Embedder) -> None:
        self.served = embedder.served
        self.room = embedder.room
        self._embedder = embedder

    async def spell(
        self,
        call: Call,
        texts: Sequence[str],
        prompt: str,
        *,
        special: bool,
        pack: Callable[[list[Token]], bytes],
        patient: bool = False,
    ) -> list[bytes]:
        """Tokens of each text.

        Args:
            call: whose work it is.
            pack: makes tokens into bytes; those of a text follow each other.
            texts: as many as one slice may have.
            prompt: put before each.
            special: add the special tokens that the model sees.
            patient: wait for room in the queue, as streams do, instead of being refused.

        Raises:
            RequestError: with `index` where one text is to blame.
        """
        self.served.check_texts(texts)
        size = sum(map(sys.getsizeof, texts))
        held = await self._hold(call, self._embedder.estimate(texts), size, patient=patient)
        try:
            spell = partial(self._embedder.tokenizer.spell, prompt=prompt, special=special)
            run, rows = self._embedder.pool.run, list[Spelled]()
            for part, chars in parts_of(texts, prompt):
                rows += await run(call.default_class, spell, part, chars=chars)
            for index, row in enumerate(rows):
                self._check_tokens(index, len(row))
            return [await self._packed(call, row, pack) for row in rows]
        finally:
            held.release()

    async def _packed(
        self, call: Call, row: Spelled, pack: Callable[[list[Token]], bytes]
    ) -> bytes:
        """All tokens of a text; the event loop is free between its parts, and so is the pool."""

        def pack_part(first: int) -> bytes:
            return pack(row.tokens(first, first + _PACKED_TOKENS))

        run = self._embedder.pool.run
        return b"".join(
            [
                await run(call.default_class, pack_part, first, chars=len(row))
                for first in range(0, len(row), _PACKED_TOKENS)
            ]
        )

    def _check_tokens(self, index: int, tokens: int) -> None:
        most = self.served.limits.request_tokens
        if tokens > most:
            raise RequestTooLarge(
                f"this text has {tokens} tokens, at most {most} are taken: split it, or raise "
                "--request-tokens",
                index=index,
            )

    async def join(
        self,
        call: Call,
        ids: Sequence[Sequence[int]],
        *,
        skip_special: bool,
        patient: bool = False,
    ) -> list[str]:
        """The text of each row of token ids.

        Raises:
            RequestError: a row is empty, or has more ids than a request may have tokens.
        """
        for index, row in enumerate(ids):
            if not row:
                raise InvalidRequest("`ids` cannot be empty", index=index)
            if len(row) > self.served.limits.request_tokens:
                raise RequestTooLarge(
                    f"{len(row)} ids, at most {self.served.limits.request_tokens} are taken: "
                    "send fewer at a time",
                    index=index,
                )
        tokens = [len(row) for row in ids]
        held = await self._hold(call, tokens, _BYTES_PER_ID * sum(tokens), patient=patient)
        try:
            run, texts = self._embedder.pool.run, list[str]()
            join = partial(self._embedder.tokenizer.join, skip_special=skip_special)
            sizes = [len(row) for row in ids]
            for part in slices(sizes, SLICE_CHARS):
                texts += await run(call.default_class, join, ids[part], chars=sum(sizes[part]))
            return texts
        finally:
            held.release()

    async def _hold(self, call: Call, tokens: Sequence[int], size: int, *, patient: bool) -> Hold:
        asker = Asker(call.client, call.default_class)
        cost = sum(self._embedder.costs(tokens))
        if patient:
            return await self._embedder.room.wait(asker, cost)
        return await self._embedder.room.take(asker, cost, size, call.patience)
