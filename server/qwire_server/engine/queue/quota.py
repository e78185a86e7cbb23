"""What one client may use over time: tokens a minute, and streams at once.

Pure, for one thread. A client that has used up its tokens is refused until some are earned again;
its streams are slowed instead. The balance may go below zero once, by one request, so that no
request is too large to ever be let in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwire_server.errors import QuotaExceeded

if TYPE_CHECKING:
    from collections.abc import Callable

_MINUTE = 60_000_000  # microseconds
# A stalled stream holds one reply, up to some MiB, until its client reads or its connection ends.
_MOST_STALLED = 8
_STREAM_WAIT = 1.0  # seconds until a refused stream is worth another try
_MANY = 1024  # clients remembered before those with nothing to remember are forgotten


@dataclass(frozen=True, slots=True)
class Quota:
    """Limits of one client; None is no limit.

    Attributes:
        tokens_per_minute: earned evenly, at most a minute's worth saved up.
        streams: open at once.
    """

    tokens_per_minute: int | None = None
    streams: int | None = None


@dataclass(slots=True)
class _Account:
    quota: Quota
    balance: float  # tokens
    since: int  # microseconds: when the balance was that
    streams: int = 0
    stalled: int = 0  # given up, and still held by the transport


class Quotas:
    """What each client has left.

    Args:
        quota_of: the limits of a client; asked each time, as they may change.
    """

    def __init__(self, quota_of: Callable[[str], Quota]) -> None:
        self._quota_of = quota_of
        self._accounts: dict[str, _Account] = {}

    def __repr__(self) -> str:
        return f"<Quotas {len(self._accounts)} clients>"

    def wait(self, client: str, now: int) -> int:
        """Microseconds until this client may send again; 0 if it may now."""
        account = self._account(client, now)
        per_minute = account.quota.tokens_per_minute
        if per_minute is None or account.balance > 0:
            return 0
        return int((1 - account.balance) * _MINUTE / per_minute) + 1

    def check(self, client: str, now: int) -> None:
        """Refuse a client whose tokens are used up.

        Raises:
            QuotaExceeded: `retry_after` is when it may send again.
        """
        if wait := self.wait(client, now):
            limit = self._accounts[client].quota.tokens_per_minute
            raise QuotaExceeded(
                f"this client has used its {limit} tokens a minute: wait {wait / 1e6:.1f} s, or "
                "have the quota raised",
                retry_after=wait / 1e6,
            )

    def charge(self, client: str, tokens: int, now: int) -> None:
        """Take tokens off a client's balance; negative gives back."""
        account = self._account(client, now)
        if account.quota.tokens_per_minute is not None:
            account.balance -= tokens

    def open_stream(self, client: str, now: int) -> None:
        """Count a stream.

        Raises:
            QuotaExceeded: the client has as many open as it may, or leaves too many unread.
        """
        account = self._account(client, now)
        if account.stalled >= _MOST_STALLED:
            raise QuotaExceeded(
                f"{account.stalled} streams of this client were given up because it reads none of "
                "their replies: read them, or close their connection",
                retry_after=_STREAM_WAIT,
            )
        most = account.quota.streams
        if most is not None and account.streams >= most:
            raise QuotaExceeded(
                f"this client has {account.streams} streams open, at most {most} may be: send more "
                "texts through each, or have the quota raised",
                retry_after=_STREAM_WAIT,
            )
        account.streams += 1

    def close_stream(self, client: str) -> None:
        """A counted stream ended."""
        self._accounts[client].streams -= 1

    def stall(self, client: str) -> None:
        """A counted stream was given up because its client does not read."""
        self._accounts[client].stalled += 1

    def unstall(self, client: str) -> None:
        """The transport let go of it at last."""
        self._accounts[client].stalled -= 1

    def streams(self) -> dict[str, int]:
        """Open streams of each client that has any."""
        return {name: a.streams for name, a in self._accounts.items() if a.streams}

    def _account(self, client: str, now: int) -> _Account:
        quota = self._quota_of(client)
        account = self._accounts.get(client)
        if account is None:
            if len(self._accounts) >= _MANY:
                self._forget(now)
            account = _Account(quota, float(quota.tokens_per_minute or 0), now)
            self._accounts[client] = account
        _earn(account, now)
        if quota != account.quota:
            _change(account, quota)
        return account

    def _forget(self, now: int) -> None:
        """Drop accounts that are as good as new."""
        for name, account in list(self._accounts.items()):
            _earn(account, now)
            saved_up = account.balance >= (account.quota.tokens_per_minute or 0)
            if saved_up and not account.streams and not account.stalled:
                del self._accounts[name]


def _change(account: _Account, quota: Quota) -> None:
    """Other limits from now on; what was used, and what is open, stays."""
    per_minute = float(quota.tokens_per_minute or 0)
    if account.quota.tokens_per_minute is None:  # nothing was counted
        account.balance = per_minute
    account.balance = min(account.balance, per_minute)
    account.quota = quota


def _earn(account: _Account, now: int) -> None:
    """Add what was earned since; a minute's worth is the most that is saved."""
    per_minute = account.quota.tokens_per_minute
    if per_minute is not None:
        earned = per_minute * max(0, now - account.since) / _MINUTE
        account.balance = min(account.balance + earned, float(per_minute))
    account.since = now
