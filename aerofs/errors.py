"""The one family of errors that aerofs raises.

Each class knows the errno that tools understand and whether trying again later may help. Foreign exceptions
(httpx, sqlite3, OSError, pydantic) are turned into these where they first appear; `fuse/` turns these into replies.
"""

import errno
from typing import ClassVar


class AerofsError(Exception):
    """Something that aerofs can name. The message says what and where (a path, a document, a setting)."""

    errno: ClassVar[int] = errno.EIO
    temporary: ClassVar[bool] = False
    no_answer: ClassVar[bool] = False
    """The platform has not said anything about the thing: what was known of it may go on being shown."""


class NotFoundError(AerofsError):
    """The thing is not there, or is hidden from this user."""

    errno = errno.ENOENT


class ExistsError(AerofsError):
    """The name is taken."""

    errno = errno.EEXIST


class DeniedError(AerofsError):
    """The platform does not let this user do it."""

    errno = errno.EACCES


class RefusedError(AerofsError):
    """The drive has no such operation (making a directory, linking), or the platform's rules forbid it."""

    errno = errno.EPERM


class DoubtError(RefusedError):
    """Whether what stands on the platform is ours cannot be told: a person has to look."""


class ReadOnlyError(AerofsError):
    """The mount is read-only."""

    errno = errno.EROFS


class IsDirectoryError(AerofsError):
    """A file operation on a directory."""

    errno = errno.EISDIR


class NotDirectoryError(AerofsError):
    """A directory operation on a file."""

    errno = errno.ENOTDIR


class StaleError(AerofsError):
    """The version that was opened is gone from the platform."""

    errno = errno.ESTALE


class TooLargeError(AerofsError):
    """Larger than the field, the call or the disk admits for one file."""

    errno = errno.EFBIG


class QuotaError(AerofsError):
    """The field is full (Maximum Allowed Attachments)."""

    errno = errno.EDQUOT


class NoSpaceError(AerofsError):
    """The local disk is full."""

    errno = errno.ENOSPC


class InvalidNameError(AerofsError):
    """A name or an argument that cannot be carried to the platform."""

    errno = errno.EINVAL


class IllegalBytesError(AerofsError):
    """A name that is not UTF-8."""

    errno = errno.EILSEQ


class NameTooLongError(AerofsError):
    """More than 255 bytes."""

    errno = errno.ENAMETOOLONG


class NoAttributeError(AerofsError):
    """No such extended attribute."""

    errno = errno.ENODATA


class UnsupportedError(AerofsError):
    """The operation does not exist here."""

    errno = errno.EOPNOTSUPP


class LocalIOError(AerofsError):
    """The local disk failed under a draft or a cached file."""


class ProtocolError(AerofsError):
    """An answer that is not what the platform promises; the message quotes its beginning."""

    no_answer = True


class UnavailableError(AerofsError):
    """The platform cannot be reached or says that it cannot serve now.

    Attributes:
        retry_after: Seconds that the platform asked us to wait, if it did.
        unsent: True where the request certainly did nothing (no connection was made, or the breaker is open).
    """

    temporary = True
    no_answer = True

    def __init__(self, message: str, *, retry_after: float | None = None, unsent: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.unsent = unsent


class DeadlineError(UnavailableError):
    """No answer, or no byte, within the bound."""

    errno = errno.ETIMEDOUT


class ConfigError(AerofsError):
    """A mistake of the user in arguments, settings or surroundings: a message, no traceback, exit code 2."""

    errno = errno.EINVAL


class HeldError(ConfigError):
    """Another process has the state directory."""


def met_before(number: int, message: str) -> AerofsError:
    """The error that an earlier process met, of which the journal kept the errno and the message."""
    kinds = (kind for kind in AerofsError.__subclasses__() if kind.errno == number and not kind.temporary)
    return next(kinds, AerofsError)(message)
