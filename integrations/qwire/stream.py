"""A stream's state: what is on the wire, which answers wait, what a lost server still owes.

Both clients drive one `Flow`: they `add` what the caller gives, send each `take_chunk` (the first
one after an `end` in a new call), `receive` replies, hand out each `next_item`. It does no I/O,
knows no clock of its own and no gRPC; its `StreamCodec` knows the messages.
"""

from __future__ import annotations

import random
import uuid
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qwire.errors import (
    DeadlineExceededError,
    ModelFailedError,
    QwireError,
    ServerError,
    StreamLostError,
)
from qwire.failures import Failure, text_error, to_error
from qwire.outage import MAX_DEATHS, RECONNECT_SECONDS, SILENCE, Outage, is_death, may_reconnect
from qwire.results import StreamItem, check_fingerprint
from qwire.retry import is_refusal
from qwire.split import BYTES_PER_REQUEST, text_bytes
from qwire.unreachable import why_unreachable
from qwire.v1 import embedding_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwire.stream_codec import StreamCodec
    from qwire.target import Address

# The server says ALIVE every 10 s while work is in flight (the contract), so three are missing.
SILENCE_SECONDS = 30.0
# When every text is answered, the end itself is only a courtesy.
GOODBYE_SECONDS = 1.0

_LEAVE = frozenset({pb.NOTICE_DRAINING, pb.NOTICE_RECONNECT})


@dataclass(slots=True)
class _Sent:
    """A text that waits for its answer: the caller's id, its place in the input, its bytes."""

    id: Any
    index: int
    text: str
    size: int
    deaths: int = 0  # of servers that had it


class Flow:
    """One stream. Each text gets a running number as its wire id.

    Args:
        codec: writes and reads the messages.
        address: the server's address, for error messages.
        ordered: answers in the order of the input; None: only if the items are no pairs.
        chunk_size: most texts in a message.
        window: most texts taken from the caller and not handed out yet.
        silence_seconds: without a word of a server that owes one, after which its call is given up.
        reconnect_seconds: seconds of trying to reach a server again that was lost.
        timeout: seconds without any progress after which the stream ends, instead of
            `reconnect_seconds`; silence is no longer than that either.
        waited: seconds of `timeout` that have passed before the stream began.
        max_attempts: tries while nothing has ever answered at the target.
        ids_are_positions: errors name a text by the caller's id, not by how many came before it.
        draw: a number in [0, 1), the jitter.

    Attributes:
        codec: the codec that was given.
        request_id: that all its calls carry.
    """

    def __init__(
        self,
        codec: StreamCodec,
        address: Address,
        *,
        ordered: bool | None,
        chunk_size: int,
        window: int,
        silence_seconds: float = SILENCE_SECONDS,
        reconnect_seconds: float = RECONNECT_SECONDS,
        timeout: float | None = None,
        waited: float = 0.0,
        max_attempts: int = 4,
        ids_are_positions: bool = False,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.codec = codec
        self._ids_are_positions = ids_are_positions
        self.request_id = uuid.uuid4().hex
        self._timeout = timeout
        self._waited = waited
        self._progressed_at = 0.0  # when the server last did something, or was first owed an answer
        self._is_owed = False  # whether a text was sent that is not answered, in whichever call
        self._address = address
        self._ordered = ordered  # None until the first item shows what kind they are
        self._chunk_size = chunk_size
        self._window = window
        self._silence_seconds = min(silence_seconds, timeout or silence_seconds)
        self._waiting_since = 0.0  # the server's last word, or when it was first owed one
        self._fingerprint = codec.options.expected_fingerprint  # of every vector, in whichever call
        # Numbers below `_pulled` were taken from the caller; each is in exactly one of: `_table`
        # (waits for its answer), `_ready`, or handed out. Those of the table are in exactly one of:
        # `_flying` (sent in this call), `_unsent`, `_suspects` (to be sent alone).
        self._pulled = 0
        self._handed_out = 0
        self._table: dict[int, _Sent] = {}
        self._flying: set[int] = set()
        self._unsent: deque[int] = deque()
        self._unsent_bytes = 0
        self._suspects: deque[int] = deque()
        self._ready: dict[int, StreamItem] = {}  # keeps arrival order, for `ordered=False`
        self._input_ended = False
        # Of the call that runs.
        self._calling = False
        self._solo = False  # it is for one suspect only
        self._heard = False
        self._leaving = False  # the server asked us to half-close
        self._moving = False  # and to connect anew, because there may be other servers by now
        self._half_closed = False
        # Of the last call that ended.
        self._outage = Outage(timeout or reconnect_seconds, max_attempts, draw)
        self._end: Failure | None = None
        self._left = False  # it had said goodbye
        self._given_up = False

    def __repr__(self) -> str:
        return (
            f"<Flow pulled={self._pulled} in_flight={self.in_flight} "
            f"ready={len(self._ready)} handed_out={self._handed_out} {self._outage}>"
        )

    @property
    def in_flight(self) -> int:
        """Texts sent and not answered."""
        return len(self._flying)

    @property
    def is_to_move(self) -> bool:
        """Whether the next call belongs on a new connection; to be asked before `end`."""
        return self._moving

    @property
    def wants_input(self) -> bool:
        """Whether another item may be taken: at most `window` are taken and not handed out."""
        in_hand = self._pulled - self._handed_out
        return not self._input_ended and not self._given_up and in_hand < self._window

    @property
    def alive_seconds(self) -> float | None:
        """How often the server is to send ALIVE while it works; None: as often as it does."""
        return None if self._timeout is None else max(0.1, min(self._timeout / 10, 10.0))

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
        index = key if self._ids_are_positions else number
        self._table[number] = _Sent(key, index, text, size)
        self._unsent.append(number)
        self._unsent_bytes += size

    def end_input(self) -> None:
        """The caller has no more."""
        self._input_ended = True

    def take_chunk(self, now: float) -> Any | None:
        """The next message to send, None if it is not its time. `now` is in seconds.

        A chunk goes when it is full, when no more can join it, or when the server has nothing to
        do: so a slow producer waits for nobody, and a fast one fills its chunks. Each suspect goes
        first, in a call of its own.
        """
        if self._leaving or self._given_up or self._solo:
            return None
        if not self._calling and now < self._outage.resume_at:
            return None
        if self._suspects:
            return self._send_suspect(now)
        full = len(self._unsent) >= self._chunk_size or self._unsent_bytes >= BYTES_PER_REQUEST
        if not self._unsent or not (full or not self._flying or not self.wants_input):
            return None
        return self._send_unsent(now)

    def _send_suspect(self, now: float) -> Any:
        message = self._message(now)
        self._solo = True
        self._put(message, self._suspects.popleft())
        return message

    def _send_unsent(self, now: float) -> Any:
        message = self._message(now)
        room = BYTES_PER_REQUEST
        while self._unsent and len(message.ids) < self._chunk_size:
            size = self._table[self._unsent[0]].size
            if message.ids and size > room:
                break
            room -= size
            self._unsent_bytes -= size
            self._put(message, self._unsent.popleft())
        return message

    def _message(self, now: float) -> Any:
        """An empty message; the first of a call carries the options."""
        if not self._flying:
            self._waiting_since = now
        if not self._is_owed:
            self._progressed_at = now - self._waited
            self._is_owed, self._waited = True, 0.0
        message = self.codec.request(first=not self._calling)
        self._calling = True
        return message

    def _put(self, message: Any, number: int) -> None:
        self.codec.put(message, number, self._table[number].text)
        self._flying.add(number)

    def take_half_close(self, now: float) -> bool:
        """True once in a call, when nothing will be sent in it any more."""
        over = self._leaving or self._solo or (self._input_ended and not self._unsent)
        if self._half_closed or not over or not self._calling:
            return False
        self._half_closed = True
        self._waiting_since = now
        return True

    def receive(self, reply: Any, now: float) -> None:
        """Take a reply of the call that runs, which came at `now` seconds.

        Raises:
            ServerError: it contradicts itself, or answers what was not asked.
            FingerprintMismatchError: the vectors are not the expected ones, or not of the model
                that answered before.
        """
        self._waiting_since = now
        self._heard = True
        if reply.fingerprint:
            check_fingerprint(reply.fingerprint, self._fingerprint)
            self._fingerprint = reply.fingerprint
        unanswered = len(self._table)
        if reply.ids:
            self._receive_rows(reply)
        for failure in reply.errors:
            self._receive_error(failure)
        if reply.notice in _LEAVE:
            self._leaving = True
            self._moving = self._moving or reply.notice == pb.NOTICE_RECONNECT
        # A goodbye is no progress, or a server that drains for ever would be asked for ever.
        if len(self._table) < unanswered or reply.notice == pb.NOTICE_ALIVE:
            self._outage.is_over()
            self._progressed_at = now
            self._is_owed = bool(self._table)

    def _receive_rows(self, reply: Any) -> None:
        ids = [self._take(number).id for number in reply.ids]
        self._ready.update(zip(reply.ids, self.codec.read(reply, ids), strict=True))

    def _receive_error(self, failure: pb.TextError) -> None:
        if failure.code == pb.UNAVAILABLE:
            # The server goes away, and not because of this text: it stays unanswered.
            self._check_flying(failure.id)
            self._leaving = True
            return
        sent = self._take(failure.id)
        error = text_error(failure, self._address, sent.index, self.request_id)
        self._ready[failure.id] = StreamItem(sent.id, error=error)

    def _take(self, number: int) -> _Sent:
        self._check_flying(number)
        self._flying.discard(number)
        return self._table.pop(number)

    def _check_flying(self, number: int) -> None:
        if number not in self._flying:
            raise ServerError(f"the reply answers id {number}, which is not in flight")

    def fall_silent(self, now: float) -> None:
        """The server said nothing for too long; the call was cancelled."""
        self.end(SILENCE, now, reached=True)

    def end(self, failure: Failure | None, now: float, *, reached: bool) -> None:
        """The call ended, None is OK: decides what is sent again, and when, or gives up.

        Args:
            failure: how it ended.
            now: seconds.
            reached: whether anything of Qwire's has ever answered this client.
        """
        left_as_told = self._leaving and failure is not SILENCE
        if not left_as_told and is_death(failure, heard=self._heard):
            self._blame()
        as_due = failure is None and not self._flying
        self._end, self._left = failure, self._leaving
        self._calling = self._solo = self._heard = self._leaving = False
        self._moving = self._half_closed = False
        self._send_again()
        if self._timeout is not None and failure is not None and is_refusal(failure):
            self._outage.is_over()  # the server is alive, and says that there is no room yet
            self._progressed_at = now
        if self._table and not as_due:
            since = now if self._timeout is None else self._progressed_at
            self._given_up = not self._outage.begin_pause(failure, now, since, reached=reached)
        else:
            self._given_up = not may_reconnect(failure)

    def _blame(self) -> None:
        """A server died: each text in flight may be why, and one alone in its call must be."""
        for number in self._flying:
            self._table[number].deaths += 1
        if not self._solo or not self._flying:
            return
        (number,) = self._flying
        sent = self._take(number)
        error = ModelFailedError(
            f"text {sent.index} was in flight at {sent.deaths} deaths of the server at "
            f"{self._address.target}, the last time alone: it seems to bring the server down",
            index=sent.index,
            target=self._address.target,
            request_id=self.request_id,
        )
        self._ready[number] = StreamItem(sent.id, error=error)

    def _send_again(self) -> None:
        """What flew is to be sent, before all else; the table is in the order of the input."""
        if not self._flying:
            return
        self._flying.clear()
        self._suspects.clear()
        self._unsent.clear()
        for number, sent in self._table.items():
            (self._unsent if sent.deaths < MAX_DEATHS else self._suspects).append(number)
        self._unsent_bytes = sum(self._table[number].size for number in self._unsent)

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
        return self._given_up or (self.answered_all and not self._calling)

    def patience(self, now: float) -> float | None:
        """Seconds until the server is silent or the pause is over; None if neither is awaited."""
        if self._given_up:
            return None
        if not self._calling:
            return self._outage.resume_at - now if self._table else None
        if not (self._flying or self._half_closed):
            return None
        if not self._flying:
            return self._waiting_since + GOODBYE_SECONDS - now
        silent_at = self._waiting_since + self._silence_seconds
        if self._timeout is not None:
            silent_at = min(silent_at, self._progressed_at + self._timeout)
        return silent_at - now

    def is_silent(self, now: float) -> bool:
        """Whether the server has owed a word for too long: the call is to be cancelled."""
        patience = self.patience(now)
        return self._calling and patience is not None and patience <= 0

    def failure(self) -> QwireError | None:
        """Why the stream did not answer everything; None if it did."""
        if self.answered_all:
            return None
        end = self._end
        if end is SILENCE and self._timeout is not None:
            return DeadlineExceededError(
                f"{self._address.target} made no progress for {self._timeout:g} s: see whether it "
                "is up, or raise `timeout`",
                target=self._address.target,
                request_id=self.request_id,
            )
        if end is not None and not may_reconnect(end):
            return to_error(end, self._address, request_id=self.request_id)
        if end is not None and end.code is not None and not self._handed_out:
            return to_error(end, self._address, request_id=self.request_id)
        return self._lost(self._why(end))

    def _why(self, end: Failure | None) -> str:
        target = self._address.target
        if end is SILENCE:
            return f"nothing came from {target} for {self._silence_seconds:g} s"
        if self._left:
            return f"{target} is going away (it said so before it ended the stream)"
        if end is None:
            return f"{target} ended the stream early"
        if end.code is not None:
            return f"{end.details} ({target})"
        if end.status == "UNAVAILABLE":
            return why_unreachable(end.details, self._address)
        return f"the connection to {target} broke: {end.status} ({end.details})"

    def _lost(self, why: str) -> StreamLostError:
        """The typed error of a stream that broke, with its counts."""
        answered, unanswered = self._handed_out, self._pulled - self._handed_out
        return StreamLostError(
            f"{why}: {answered} texts were answered, {unanswered} more were taken and not, "
            f"after {self._outage.attempts} tries in vain; send the rest again",
            answered=answered,
            unanswered=unanswered,
            target=self._address.target,
            request_id=self.request_id,
        )
