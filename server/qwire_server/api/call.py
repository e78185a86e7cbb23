"""What every request carries beside its texts: who asks, how urgently, how it wants its rows."""

from __future__ import annotations

import math
import re
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qwire_server.api.trail import Trail
from qwire_server.engine.queue.line import Patience
from qwire_server.engine.work import Encoding, RequestClass
from qwire_server.text.tokenizer import Truncate

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwire_server.text.prompts import InputType

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")


def _go_on() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Call:
    """One call on the wire, a stream included.

    Attributes:
        client: key, else certificate name, else address without the port.
        deadline: seconds on the monotonic clock; infinity if there is none.
        longest_wait: most seconds until there is room in the queue.
        is_strict: the caller has a better way than to wait past the deadline.
        default_class: for requests that name none.
        sees_clients: whether it may be told of other clients.
        check: raises the reason once the call must end, whatever was accepted.
        trail: what those who watch are told of it.
    """

    method: str
    request_id: str
    client: str
    deadline: float
    default_class: RequestClass
    longest_wait: float = math.inf
    is_strict: bool = False
    sees_clients: bool = True
    check: Callable[[], None] = _go_on
    trail: Trail = field(default_factory=Trail, repr=False, compare=False)

    @property
    def patience(self) -> Patience:
        """How long it may wait, for the queue."""
        return Patience(self.deadline * 1e6, self.longest_wait * 1e6, self.is_strict)


@dataclass(frozen=True, slots=True)
class Options:
    """How texts are to be embedded; the fields are those of `qwire.v1.EmbedOptions`.

    Attributes:
        input_type: None where the request does not say; see `prompt_for`.
        prompt_name: name of one of the model's prompts, instead of `input_type` and `instruction`.
    """

    model: str | None = None
    expected_fingerprint: str | None = None
    input_type: InputType | None = None
    instruction: str | None = None
    dimensions: int | None = None
    normalize: bool = True
    truncate: Truncate = Truncate.END
    encoding: Encoding = Encoding.FLOAT32
    request_class: RequestClass | None = None
    prompt_name: str | None = None


def request_id(sent: str | None) -> str:
    """The caller's id if it is safe to log and send back, else a new one."""
    if sent and _REQUEST_ID.fullmatch(sent):
        return sent
    return uuid.uuid4().hex
