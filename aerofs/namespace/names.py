"""Platform titles and file names: the one becomes the other and back; siblings are told apart.

Here live the escaping (a bijection), the checks of a name that a user wants to create, and the ` (id6)` tags.
The names with a meaning of their own come from `familiar.py`. Nothing here knows a cache, a request or an
inode.

Invariants:

- `decode(encode(title)) == title` for every title whose file name fits into 255 bytes, and
  `encode(decode(name)) == name` for every name that `check_new` admits: what a user types is what stands
  there.
- A file name is never empty, `.` or `..`, holds no `/` and no control character, and fits into 255 bytes.
- Titles that do not fit are shortened and carry a hash of the whole title before the extension. They cannot
  be decoded: whoever shows them keeps the title beside the name (the catalog does).

What a file name cannot hold is shown by a look-alike that nobody types: the division slash (U+2215) for a
slash, the pictures from U+2400 on for control characters, the dot leader (U+2024) for a title that is `.` or
`..`, the empty set (U+2205) for no title at all. A title that really holds such a look-alike gets the quote
U+201B before it; quotes that already stand before one are doubled; a quote anywhere else is just itself.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from types import MappingProxyType
from typing import Final, TypeVar

from aerofs.errors import IllegalBytesError, InvalidNameError, NameTooLongError
from aerofs.namespace.familiar import is_local, is_trash, looks_temporary, probed

__all__ = [
    "MAXIMUM_BYTES",
    "apart",
    "check_new",
    "composed",
    "decode",
    "encode",
    "is_local",
    "is_trash",
    "look_alike",
    "looks_temporary",
    "probed",
    "tell_apart",
    "told_apart",
]

Id = TypeVar("Id", bound=str)

MAXIMUM_BYTES: Final = 255
"""Of one file name in UTF-8, see pathconf(3), NAME_MAX."""

_QUOTE: Final = "\N{SINGLE HIGH-REVERSED-9 QUOTATION MARK}"
_STAND_INS: Final[Mapping[str, str]] = {
    "/": "\N{DIVISION SLASH}",
    "\x7f": "\N{SYMBOL FOR DELETE}",
    **{chr(code): chr(0x2400 + code) for code in range(0x20)},
}
_STOOD_FOR: Final[Mapping[str, str]] = {shown: meant for meant, shown in _STAND_INS.items()}
_WHOLE_STAND_INS: Final[Mapping[str, str]] = {
    "": "\N{EMPTY SET}",
    ".": "\N{ONE DOT LEADER}",
    "..": "\N{ONE DOT LEADER}" * 2,
}
_WHOLE_STOOD_FOR: Final[Mapping[str, str]] = {shown: meant for meant, shown in _WHOLE_STAND_INS.items()}

_ANY_MEANT = "".join(map(re.escape, _STAND_INS))
_ANY_SHOWN = "".join(_STOOD_FOR)
_IN_TITLE: Final = re.compile(f"({_QUOTE}*)([{_ANY_MEANT}{_ANY_SHOWN}])")
_IN_NAME: Final = re.compile(f"({_QUOTE}*)([{_ANY_SHOWN}])")
_UNSENDABLE: Final = re.compile('["\r\n\0]')
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_EXTENSION: Final = re.compile(r"(?<=.)((?:\.tar)?\.[^.\s()]{1,15})\Z", re.DOTALL)
_TAG: Final = re.compile(r"\A(.*) \(([^()]{6,})\)\Z", re.DOTALL)


def encode(title: str) -> str:
    """Return the file name of a platform title; the same title always has the same name.

    Ordinary titles are their own names. A title that is not Unicode text (lone surrogates from JSON escapes)
    or does not fit into 255 bytes has a name, too, but one that cannot be decoded.
    """
    if title.isascii() and title.isprintable() and len(title) <= MAXIMUM_BYTES:
        # Nearly every title, and every listing names a thousand of them.
        if "/" not in title and title not in _WHOLE_STAND_INS:
            return title
    elif _SURROGATE.search(title):
        title = _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", title)
    name = _IN_TITLE.sub(_show, title)
    if name in _WHOLE_STAND_INS:
        name = _WHOLE_STAND_INS[name]
    elif name.lstrip(_QUOTE) in _WHOLE_STOOD_FOR:
        name = _QUOTE + name
    if _size(name) <= MAXIMUM_BYTES:
        return name
    digest = blake2b(title.encode(), digest_size=5).hexdigest()
    return _tagged(name, f"\N{HORIZONTAL ELLIPSIS}{digest}", extension=True)


def decode(file_name: str) -> str:
    """Return the title whose file name this is: the inverse of `encode`."""
    name = file_name
    if name in _WHOLE_STOOD_FOR:
        name = _WHOLE_STOOD_FOR[name]
    elif name.startswith(_QUOTE) and name.lstrip(_QUOTE) in _WHOLE_STOOD_FOR:
        name = name.removeprefix(_QUOTE)
    return _IN_NAME.sub(_mean, name)


def check_new(name: bytes | str) -> str:
    """Return the title under which a name that a user wants to create would be sent.

    Args:
        name: The file name; undecodable bytes as such or as lone surrogates (surrogateescape).

    Raises:
        IllegalBytesError: It is not UTF-8.
        NameTooLongError: It has more than 255 bytes.
        InvalidNameError: Its title cannot be carried to the platform: multipart headers hold no `"`, CR, LF
            or NUL, and a file without a title is none. Or it holds a control character or is a name that no
            file has (empty, `.`, `..`, `a/b`).
    """
    try:
        text = name.decode() if isinstance(name, bytes) else name
        size = _size(text)
    except UnicodeError:
        raise IllegalBytesError(f"{name!r} is not UTF-8") from None
    if size > MAXIMUM_BYTES:
        raise NameTooLongError(f"{text[:20]}…: {size} bytes where {MAXIMUM_BYTES} are admitted")
    title = decode(text)
    if _UNSENDABLE.search(title):
        raise InvalidNameError(f'{text!r}: a name on the platform holds no ", CR, LF or NUL')
    if not title:
        raise InvalidNameError(f"{text!r} stands for no name at all")
    if encode(title) != text:
        raise InvalidNameError(f"{text!r} is not a name that a file can have here")
    return title


def tell_apart(
    entries: Sequence[tuple[Id, str]],
    previous: Mapping[Id, str] = MappingProxyType({}),
    *,
    extensions: bool = True,
) -> dict[Id, str]:
    """Name siblings so that no two share a file name.

    An id keeps the name that it had in `previous`. Of the others, the first of a title gets the bare name,
    the rest a tag: ` (`, the last six digits of the id, `)`; more digits where six are not enough. A title
    that really looks like that comes before a tag.

    Args:
        entries: Ids and titles in platform order.
        previous: The names that ids had so far; ids that are gone are ignored.
        extensions: Put the tag before a file's extension, not behind the name.

    Returns:
        The file name of each id, in the order of `entries`.
    """
    holders: dict[str, Id] = {}
    for identity, _ in entries:
        if identity in previous:
            holders.setdefault(previous[identity], identity)
    chosen = {identity: name for name, identity in holders.items()}
    for identity, title in entries:
        if identity not in chosen:
            name = encode(title)
            if holders.setdefault(name, identity) == identity:
                chosen[identity] = name
    names: dict[Id, str] = {}
    for identity, title in entries:
        if identity not in chosen:
            chosen[identity] = apart(identity, title, holders, extension=extensions)
            holders[chosen[identity]] = identity
        names[identity] = chosen[identity]
    return names


def apart(identity: str, title: str, taken: Mapping[str, object], *, extension: bool = True) -> str:
    """Return a name with a tag of the id's last digits, as many as it takes to differ from those taken."""
    name = encode(title)
    for digits in (6, 8, 12, len(identity)):
        tagged = _tagged(name, f" ({encode(identity[-digits:])})", extension=extension)
        if tagged not in taken:
            return tagged
    count = 2
    while (tagged := _tagged(name, f" ({encode(identity)} {count})", extension=extension)) in taken:
        count += 1
    return tagged


def told_apart(name: str) -> tuple[str, str] | None:
    """Return the bare name and the id's last digits where a directory's name may carry a tag, else None."""
    match = _TAG.match(name)
    return (match[1], match[2]) if match else None


def composed(name: str) -> str:
    """Return the name in NFC: names with equal results look the same, and a lookup falls back to that."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def look_alike(name: str, names: Iterable[str]) -> str | None:
    """Return the first name that looks the same as this one: equal in NFC."""
    if name.isascii():
        return None
    wanted = composed(name)
    return next((own for own in names if composed(own) == wanted), None)


def _show(match: re.Match[str]) -> str:
    quotes, character = match.groups()
    if character in _STAND_INS:
        return quotes * 2 + _STAND_INS[character]
    return f"{quotes}{quotes}{_QUOTE}{character}"


def _mean(match: re.Match[str]) -> str:
    quotes, character = match.groups()
    pairs, genuine = divmod(len(quotes), 2)
    return _QUOTE * pairs + (character if genuine else _STOOD_FOR[character])


def _tagged(name: str, tag: str, *, extension: bool) -> str:
    match = _EXTENSION.search(name) if extension else None
    ending = match[1] if match and _size(match[1]) + _size(tag) < MAXIMUM_BYTES else ""
    stem = name.removesuffix(ending)
    room = MAXIMUM_BYTES - _size(tag) - _size(ending)
    if _size(stem) > room:
        # A character cut in two is left out; so are the marks that would have stood on it.
        stem = stem.encode()[: max(room, 0)].decode(errors="ignore").rstrip()
    return (stem + tag + ending).encode()[:MAXIMUM_BYTES].decode(errors="ignore")


def _size(name: str) -> int:
    return len(name.encode())
