"""A stream's state: what is on the wire, which answers wait, when it is over.

Both clients drive one `Flow`: they `add` what the caller gives, send each `take_chunk`, `receive`
replies, hand out each `next_item`. It does no I/O, knows no clock of its own and no gRPC.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from qwire.errors import QwireError, ServerError, StreamLostError
from qwire.failures import Failure, text_error, to_error
from qwire.results import StreamItem, check_fingerprint, decode, read_rows
from qwire.split import BYTES_PER_REQUEST, text_bytes
from qwire.unreachable import why_unreachable
from qwire.v1 import embedding_pb2 as pb

if TYPE_CHECKING:
    from qwire.target import Address

# The server says ALIVE every 10 s while work is in flight (the contract), so three are missing.
SILENCE_SECONDS = 30.0
# When every text is answered, the end itself is only a courtesy.
GOODBYE_SECONDS = 1.0

_LEAVE = frozenset({pb.NOTICE_DRAINING, pb.NOTICE_RECONNECT})


class _Sent(NamedTuple):
    """A text that waits for its answer: the caller's id, the text, its bytes."""

    id: Any
    text: str
    size: int


class Flow:
    """One `embed_stream` call. Each text gets a running number, its position, as its wire id."""

    def __init__(
        self,
        options: pb.EmbedOptions,
        address: Address,
        *,
        ordered: bool | None,
        chunk_size: int,
        window: int,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self.options = options
        self._address = address
        self._ordered = ordered  # None until the first item shows what kind they are
        self._chunk_size = chunk_size
        self._window = window
        self._silence_seconds = silence_seconds
        self._waiting_since = 0.0  # the server's last word, or when it was first owed one
        self._fingerprint = options.expected_fingerprint
        # Numbers below `_pulled` were taken from the caller; each is in exactly one of: `_table`
        # (waits for its answer, the `_unsent` among them not even sent), `_ready`, or handed out.
        self._pulled = 0
        self._handed_out = 0
        self._table: dict[int, _Sent] = {}
        self._unsent: deque[int] = deque()
        self._unsent_bytes = 0
        self._ready: dict[int, StreamItem] = {}  # keeps arrival order, for `ordered=False`
        self._chunks = 0
        self._input_ended = False
        self._leaving = False  # the server asked us to half-close
        self._half_closed = False
        self._end: Failure | None = None
        self._ended = False

    def __repr__(self) -> str:
        return (
            f"<Flow pulled={self._pulled} in_flight={self.in_flight} "
            f"ready={len(self._ready)} handed_out={self._handed_out}>"
        )

    @property
    def in_flight(self) -> int:
        """Texts sent and not answered."""
        return len(self._table) - len(self._unsent)

    @property
    def wants_input(self) -> bool:
        """Whether another item may be taken from the caller.

        At most `window` are taken and not handed out. Once the server said goodbye, one more is
        taken when all else is answered, to learn whether anything was left to send.
        """
        if self._input_ended or self._pulled - self._handed_out >= self._window:
            return False
        return not self._table if self._ended else not self._leaving

    def add(self, item: Any) -> None:
        """Take a text, or a pair of the caller's id and a text. A bad text is answered at once."""
        number, self._pulled = self._pulled, self._pulled + 1
        is_pair = isinstance(item, tuple) and len(item) == 2
        if self._ordered is None:
            self._ordered = not is_pair
        key, text = item if is_pair else (number, item)
        try:
            size = text_bytes(text, number)
        except QwireError as error:
            self._ready[number] = StreamItem(key, error=error)
            return
        self._table[number] = _Sent(key, text, size)
        self._unsent.append(number)
        self._unsent_bytes += size

    def end_input(self) -> None:
        """The caller has no more."""
        self._input_ended = True

    def take_chunk(self, now: float) -> pb.EmbedStreamRequest | None:
        """The next message to send, None if more texts should come first. `now` is in seconds.

        A chunk goes when it is full, when no more can join it, or when the server has nothing to
        do: so a slow producer waits for nobody, and a fast one fills its chunks.
        """
        if not self._unsent or self._leaving or self._ended:
            return None
        full = len(self._unsent) >= self._chunk_size or self._unsent_bytes >= BYTES_PER_REQUEST
        if not (full or self.in_flight == 0 or not self.wants_input):
            return None
        if self.in_flight == 0:
            self._waiting_since = now
        message = pb.EmbedStreamRequest(options=None if self._chunks else self.options)
        self._chunks += 1
        room = BYTES_PER_REQUEST
        while self._unsent and len(message.ids) < self._chunk_size:
            sent = self._table[self._unsent[0]]
            if message.ids and sent.size > room:
                break
            room -= sent.size
            self._unsent_bytes -= sent.size
            message.ids.append(self._unsent.popleft())
            message.texts.append(sent.text)
        return message

    def take_half_close(self, now: float) -> bool:
        """True once, when nothing will be sent any more."""
        over = self._leaving or (self._input_ended and not self._unsent)
        if self._half_closed or not over or not self._chunks:
            return False
        self._half_closed = True
        self._waiting_since = now
        return True

    def receive(self, reply: pb.EmbedStreamResponse, now: float) -> None:
        """Take a reply that came at `now` seconds.

        Raises:
            ServerError: it contradicts itself, or answers what was not asked.
            FingerprintMismatchError: the vectors are not the expected ones.
        """
        self._waiting_since = now
        if reply.fingerprint:
            check_fingerprint(reply.fingerprint, self._fingerprint)
            self._fingerprint = reply.fingerprint
        if reply.ids:
            self._receive_rows(reply)
        for failure in reply.errors:
            sent = self._take(failure.id)
            error = text_error(failure, self._address, failure.id)
            self._ready[failure.id] = StreamItem(sent.id, error=error)
        if reply.notice in _LEAVE:
            self._leaving = True

    def _receive_rows(self, reply: pb.EmbedStreamResponse) -> None:
        rows = read_rows(reply.vectors, reply.usage, len(reply.ids), self.options.encoding)
        vectors = decode(rows.raw, rows.dim, rows.scales)
        if not vectors.flags.writeable:
            vectors = vectors.copy()  # was a view of the message; the caller may write to his rows
        usage = np.stack((rows.tokens, rows.truncated, rows.unknown), axis=1).tolist()
        for number, vector, counts in zip(reply.ids, vectors, usage, strict=True):
            self._ready[number] = StreamItem(self._take(number).id, vector, *counts)

    def _take(self, number: int) -> _Sent:
        sent = self._table.pop(number, None)
        if sent is None:
            raise ServerError(f"the reply answers id {number}, which is not in flight")
        return sent

    def end(self, failure: Failure | None) -> None:
        """The server ended the stream; None is OK."""
        self._ended = True
        self._end = failure

    def next_item(self) -> StreamItem | None:
        """The next answer to hand out, None if it has not come yet."""
        if not self._ready:
            return None
        number = self._handed_out if self._ordered else next(iter(self._ready))
        item = self._ready.pop(number, None)
        if item is not None:
            self._handed_out += 1
        return item

    @property
    def answered_all(self) -> bool:
        """Whether the input has ended and every text of it is answered."""
        return self._input_ended and not self._table

    @property
    def is_over(self) -> bool:
        """Whether nothing more can come. To be asked when `next_item` is None, then `failure`."""
        if self.answered_all:
            return self._ended or not self._chunks
        if not self._ended:
            return False
        definite = self._end is not None and not self._end.may_be_lost_transport
        return definite or bool(self._table)

    def patience(self, now: float) -> float | None:
        """Seconds for which the server may still be silent, None while it owes nothing."""
        if self._ended or not (self.in_flight or self._half_closed):
            return None
        limit = GOODBYE_SECONDS if self.answered_all else self._silence_seconds
        return self._waiting_since + limit - now

    def failure(self, request_id: str) -> QwireError | None:
        """Why the stream did not answer everything; None if it did."""
        if self.answered_all:
            return None
        end = self._end
        if end is not None and not end.may_be_lost_transport:
            return to_error(end, self._address, request_id=request_id)
        if not self._ended:
            why = f"nothing came from {self._address.target} for {self._silence_seconds:g} s"
        elif self._leaving:
            why = f"{self._address.target} is going away (it said so before it ended the stream)"
        elif end is None:
            why = f"{self._address.target} ended the stream early"
        elif end.status == "UNAVAILABLE":
            why = why_unreachable(end.details, self._address)
        else:
            why = f"the connection to {self._address.target} broke: {end.status} ({end.details})"
        return self._lost(why, request_id)

    def _lost(self, why: str, request_id: str) -> StreamLostError:
        """The typed error of a stream that broke, with its counts."""
        answered, unanswered = self._handed_out, self._pulled - self._handed_out
        return StreamLostError(
            f"{why}: {answered} texts were answered, {unanswered} more were taken and not; "
            "send the rest again",
            answered=answered,
            unanswered=unanswered,
            target=self._address.target,
            request_id=request_id,
        )
