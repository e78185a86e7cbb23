"""The keys that are good now, and who may come in by them. Knows no protocol."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from qwire_server.errors import PermissionDenied, StartError, Unauthenticated
from qwire_server.security import keys
from qwire_server.security.scopes import suffices
from qwire_server.security.watched import Watched

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from qwire_server.security.keys import Key, Keys
    from qwire_server.security.scopes import Need

_LOG = logging.getLogger("qwire.server")
_SCHEME = "bearer"
_MISSING = (
    "this server wants an API key: send it as `authorization: Bearer ...`; Qwire's own clients "
    "take it as api_key or from QWIRE_API_KEY"
)
# One sentence for an unknown id and for a wrong secret.
_UNKNOWN = "this API key is not known here: it is misspelt, of another server, or revoked"


class Keyring:
    """The keys of a file, read again when it changes.

    Args:
        path: of the file; None lets everybody in.
        told: of each reading but the first: an empty string, or what is wrong.
        seconds: between two looks at the file.

    Raises:
        StartError: the file cannot be read, or is none of keys.
    """

    def __init__(
        self, path: Path | None, told: Callable[[str], None], seconds: float = 1.0
    ) -> None:
        self._path = path
        self._told = told
        self._watched: Watched[Keys] | None = None
        if path is None:
            return
        try:
            self._watched = Watched([path], lambda read: keys.parse(read[0]), self._reread, seconds)
        except OSError as error:
            raise StartError(
                f"--api-keys-file {path}: {error.strerror}; `qwire key new NAME --file {path}` "
                "makes one"
            ) from error
        except ValueError as error:
            raise StartError(f"--api-keys-file {path}: {error}") from error
        self._look_at_mode(path)
        _LOG.info("%d keys in %s", len(self._watched.current().by_id), path)

    def __repr__(self) -> str:
        return f"<Keyring {self._watched and self._watched.current()!r}>"

    @property
    def is_on(self) -> bool:
        """Whether calls need a key."""
        return self._watched is not None

    @property
    def keys(self) -> Keys:
        """Those that are good now; none where nobody needs one."""
        return self._watched.current() if self._watched else keys.Keys()

    def reload(self) -> None:
        """Read the file now, in a thread."""
        if self._watched:
            self._watched.reload()

    def find(self, authorization: str | None) -> Key | None:
        """The key that a header of that name brings, whatever it may do; None if it is none."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != _SCHEME:
            return None
        return self.keys.find(token.strip())

    def admit(self, authorization: str | None, need: Need) -> Key | None:
        """The key by which a caller may come in; None where it needs none.

        Args:
            authorization: the header of that name, if there is one.
            need: of the call.

        Raises:
            Unauthenticated: no key, or none that is good.
            PermissionDenied: it lacks the scope.
        """
        if not self.is_on or not need:
            return None
        key = self.find(authorization)
        if key is None:
            raise Unauthenticated(_UNKNOWN if authorization else _MISSING)
        check_need(key.scopes, need)
        return key

    def check(self, key: Key, need: Need) -> None:
        """See that a key that once let a caller in still does.

        Raises:
            Unauthenticated: it was revoked, or another has its id.
            PermissionDenied: it lost the scope.
        """
        now = self.keys.by_id.get(key.id)
        if now is None or now.digest != key.digest:
            raise Unauthenticated(_UNKNOWN)
        if not suffices(now.scopes, need):
            raise PermissionDenied("this API key has lost the scope for that")

    def _reread(self, wrong: str) -> None:
        if not wrong and self._path:
            self._look_at_mode(self._path)
        self._told(wrong)

    @staticmethod
    def _look_at_mode(path: Path) -> None:
        """Warn of a file that others than its group may read, or others than its owner change."""
        with contextlib.suppress(OSError):  # gone again
            if path.stat().st_mode & 0o027:
                _LOG.warning("%s can be read or changed by others: chmod 600 %s", path, path)


def check_need(scopes: frozenset[str], need: Need) -> None:
    """See that a key with these scopes may do what is asked.

    Raises:
        PermissionDenied: it may not.
    """
    if not suffices(scopes, need):
        raise PermissionDenied(
            f"this API key may not do that: it needs the scope {' or '.join(sorted(need))}; have "
            f"one made with `qwire key new NAME --scopes {min(need)}`"
        )
