"""Reads the path of a request in the ways in which apps, and what stands before them, may read it."""

from __future__ import annotations

import re
from typing import Dict, List, Sequence, Tuple
from urllib.parse import unquote_to_bytes

#: A target under all its names, such as with and without the prefix under which the app is mounted.
Names = Tuple[str, ...]

MAX_PATH = 8 << 10  # bytes
MAX_ODD_PATH = 2 << 10  # of a path that more than decoding concerns
MAX_READINGS = 48


class Unreadable(ValueError):
    """A request has to be refused, because an app may read anything into its path.

    Its escapes don't give text, it has control characters, does not begin with a slash, is too long
    to be read in every way, or can be read in more ways than anybody means.
    """

    def __init__(self) -> None:
        super().__init__("the path of the request cannot be read in one way: send it plainly, in UTF-8")


def readings(targets: Sequence[Names]) -> List[Names]:
    """Return the paths of targets as they were sent, and rewritten in every order until nothing new comes out.

    A target is a path or a whole URL, with or without a query. Almost always there is one reading.
    """
    if len(targets) == 1 and all(map(_is_plain, targets[0])):
        return list(targets)
    found: Dict[Names, None] = {tuple(map(_path_of, names)): None for names in targets}
    if all(_is_plain(path) for names in found for path in names):
        return list(found)
    once = [tuple(map(_decoded_once, names)) for names in found]
    if all(_is_simple(*paths) for sent, decoded in zip(found, once) for paths in zip(sent, decoded)):
        # Of escapes that are not needed, also what they are if nobody decodes them.
        needless = [names for names in found if any(map(_NEEDLESS.search, names))]
        return list(dict.fromkeys([*needless, *once]))
    if any(_length(path) > MAX_ODD_PATH for names in found for path in names):
        raise Unreadable
    every = list(found)
    for names in every:  # which grows
        for rewrite in _REWRITES:
            rewritten = tuple(map(rewrite, names))
            if rewritten not in found:
                if len(every) == MAX_READINGS:
                    raise Unreadable
                found[rewritten] = None
                every.append(rewritten)
    return every


# Of a path that can be read in one way only: a segment's first letter, and those that follow.
_FIRST = r"!\"$&'()*+,0-9:<=>@A-Z\[\]^_`a-z{|}~\-"
_PLAIN = re.compile(rf"(?=/)(?:/[{_FIRST}][{_FIRST}.]*)*/?")
_ODD = re.compile(r"[#\\;]|//|/\.")  # what more than decoding concerns
_NEEDLESS = re.compile("%(2[1-9A-F]|[3-7][0-9A-F])", re.IGNORECASE)
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/]*")
_WRONG_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_SLASH = re.compile("%2F", re.IGNORECASE)


def _is_plain(path: str) -> bool:
    return _PLAIN.fullmatch(path) is not None and len(path) <= MAX_PATH


def _path_of(target: str) -> str:
    # What a "#" begins stays: some servers take it for a part of the path.
    path = target.split("?", 1)[0]
    host = _ABSOLUTE.match(path)
    return (path if host is None else path[host.end() :]) or "/"


def _decoded_once(path: str) -> str:
    if not path.startswith("/") or " " in path or _length(path) > MAX_PATH:
        raise Unreadable
    return _text(path)


def _length(path: str) -> int:
    return len(path.encode("utf-8", "surrogatepass"))


def _is_simple(sent: str, decoded: str) -> bool:
    """Report whether nothing but decoding concerns a path, once."""
    return (
        not _ODD.search(sent)
        and not _ODD.search(decoded)
        and "%" not in decoded
        and sent.count("/") == decoded.count("/")
    )


def _text(path: str) -> str:
    """Replace escapes. Raise Unreadable if they don't give text without control characters."""
    if _WRONG_ESCAPE.search(path):
        raise Unreadable
    try:
        text = unquote_to_bytes(path.encode("utf-8", "surrogateescape")).decode("utf-8")
    except UnicodeError:
        raise Unreadable from None
    if _CONTROL.search(text):
        raise Unreadable
    return text


def _decoded(path: str) -> str:
    try:
        return _text(path)
    except Unreadable:  # what an app decodes once more need not be escaped
        return path


def unescaped(path: str) -> str:
    """Decode all but slashes, as routers do that look for them first."""
    if _WRONG_ESCAPE.search(path):
        return path
    try:
        return "%2F".join(map(_text, _SLASH.split(path)))
    except Unreadable:
        return path


def _without_fragment(path: str) -> str:
    return path.split("#", 1)[0]


def _with_slashes(path: str) -> str:
    # As readers of URLs do.
    return path.replace("\\", "/")


def _without_host(path: str) -> str:
    # As readers of URLs do, which take the first segment behind two slashes for a host.
    return "/" + path.lstrip("/").partition("/")[2] if path.startswith("//") else path


_SLASHES = re.compile("//+")


def _merged(path: str) -> str:
    return _SLASHES.sub("/", path)


def _resolved(path: str) -> str:
    # As RFC 3986 and readers of URLs do: empty segments stay.
    if "/." not in path:
        return path
    segments = path.split("/")[1:]
    kept: List[str] = []
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def _without_parameters(path: str) -> str:
    return "/".join(segment.split(";", 1)[0] for segment in path.split("/")) if ";" in path else path


#: What apps, frameworks and gateways do with a path before they route it.
_REWRITES = (
    _decoded, unescaped, _without_fragment, _with_slashes, _without_host, _merged, _resolved, _without_parameters,
)  # fmt: skip


def folded(text: str) -> str:
    """Make letters equal that differ by case, in one of the ways in which routers see it."""
    return text.lower() if text.isascii() else "".join(map(_folded, text))


def _folded(letter: str) -> str:
    # Character by character: str.lower turns some into two, or looks at neighbours.
    upper = letter.upper()
    return (upper if len(upper) == 1 else letter).lower()[0]
