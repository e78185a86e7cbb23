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

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwire_server.api.call import Call
    from qwire_server.api.desk import Hold
    from qwire_server.api.embedder import Embedder
    from qwire_server.text.spelling import Token

_BYTES_PER_ID = 4


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
        self, call: Call, texts: Sequence[str], prompt: str, *, special: bool, patient: bool = False
    ) -> list[list[Token]]:
        """Tokens of each text.

        Args:
            call: whose work it is.
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
            work = partial(self._embedder.tokenizer.spell, texts, prompt, special=special)
            return await self._embedder.pool.run(call.default_class, work)
        finally:
            held.release()

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
            work = partial(self._embedder.tokenizer.join, ids, skip_special=skip_special)
            return await self._embedder.pool.run(call.default_class, work)
        finally:
            held.release()

    async def _hold(self, call: Call, tokens: Sequence[int], size: int, *, patient: bool) -> Hold:
        asker = Asker(call.client, call.default_class)
        cost = sum(self._embedder.costs(tokens))
        if patient:
            return await self._embedder.room.wait(asker, cost)
        return await self._embedder.room.take(asker, cost, size, call.patience)
