"""Ways to write an address that some app or gateway reads as one that is gated."""

PLAIN = {
    "features": ["POST /api/features/x", "POST /api/features/x/y", "POST /api/features"],
    "export": ["POST /api/export", "GET /api/export", "PUT /api/export"],
    "reports": ["GET /users/1/reports", "HEAD /users/a/reports"],
    "all": ["POST /api/x", "POST /api/x/y", "POST /api"],
}

#: In any place of a plain address.
SEEDS = [
    "/api/features/x?next=http://a",
    "/api/features/x/..",
    "/api/features/x/../y",
    "/api/features/%2e%2e%2fz",
    "/api/features/%252e",
    "//api//features//x",
    "/./api/./features/./x",
    "/api/features/x;a",
    "/api/features;a=b/x",
    "/api/features\\x",
    "/api\\features\\x",
    "/api%5cfeatures%5cx",
    "/api/features/x%00",
    "/api/features/%c0%af",
    "/api/features/%ff",
    "/api/features/%zz",
    "/api/features/x#y",
    "/x#/../api/features/x",
    "http://app/api/features/x",
    "HTTP://u:p@app:80/api/features/x",
    "//app/api/features/x",
    "///app/api/features/x",
    "/\\app/api/features/x",
    "http:/api/features/x",
    "ftp://app/api/features/x",
    "/api%2Ffeatures%2fx",
    "/api%252ffeatures/x",
    "/%61pi/%66eatures/%78",
    "/%2561pi/features/x",
    "/api/features/x+y",
    "/api/features/x.",
    "/api/features/x%20",
    "",
    "*",
    "/",
    "/api/features/" + "x" * 7000,
    "/api/features/" + "%78" * 2500,
    "/api/features/x%09",
    "/api/features/x\t",
    "/API/Features/x",
    "/ap\u0131/features/x",
    "/api/export%0a",
    "/api/export%0A",
    "/api/export%20",
    "/api/export;a",
    "/api/export/.",
    "/api/export/..",
    "/api/export/../export",
    "/api/export/%2e",
    "/api/export//",
    "/api/export/;/",
    "/api/export%2f",
    "/api/export#",
    "/api/export?",
    "/api/exp%6frt",
    "/api/x/../export",
    "/api/x/%2e%2e/export",
    "/api/x%2f..%2fexport",
    "/api//../export",
    "/users/a%2fb/reports",
    "/%75sers/a%2Fb/reports",
    "/users//reports",
    "/users/1//reports",
    "/users/../users/1/reports",
    "/users/%2e%2e/reports",
    "/users/;/reports",
    "/x/..;/users/1/reports",
    "/users/1/reports%0a",
    "/users/%0a/reports",
    "/Users/1/Reports",
]

METHODS = ["POST", "GET", "HEAD", "PUT", "post", "Get", "OPTIONS", "options", "DELETE"]

_SLASHES = [
    "//",
    "///",
    "/./",
    "/x/../",
    "/x//../",
    "%2f",
    "%2F",
    "%252f",
    "\\",
    "%5c",
    "/;a/",
    ";a=b/",
    "/%2e/",
    "/x/%2e%2E/",
    "/x/..;/",
    "/x/..%2f",
    "/.%2e/",
    "/%2f/",
    "%2f/",
]
_ENDS = [
    "/",
    "//",
    "/.",
    "/..",
    "/../",
    "/%2e",
    "/../x",
    "?x",
    "?next=http://a",
    "#",
    "#x",
    "%23",
    "%3f",
    ";a",
    ";",
    "%3ba",
    ".",
    "%20",
    "+",
    "%",
    "%zz",
    "%00",
    "%0a",
    "%0d%0a",
    "%09",
    "%ff",
    "%c0%af",
    "%2f",
    "%2F..",
    "\\",
    "*",
    "é",
    "%c3%a9",
    "%c2%85",
    "%e2%80%a8",
]
_BEGINNINGS = [
    "http://app",
    "HTTPS://u:p@h:1",
    "//app",
    "///app",
    "/\\app",
    "\\",
    "/.",
    "/..",
    "/%2e%2e",
    "/x/..",
    "/x/..%2f..",
    "/free#/..",
    "/free%23/..",
    "/free;/..",
    "/free%3f/..",
    "/",
    "//",
    "/%2f",
    "foo://h",
    "/http://app",
    "/free/%2e%2e%2f",
]


def _encode(letter, draw):
    code = "".join(f"%{byte:02x}" for byte in letter.encode("utf-8", "surrogateescape"))
    code = code.upper() if draw.random() < 0.5 else code
    return code.replace("%", "%25") if draw.random() < 0.2 else code


def _rewrite(target, draw):
    at = draw.randrange(len(target) + 1)
    kind = draw.randrange(8)
    if kind == 0 and "/" in target[1:]:
        at = draw.choice([i for i, letter in enumerate(target) if letter == "/"])
        return target[:at] + draw.choice(_SLASHES) + target[at + 1 :]
    if kind == 1:
        return target + draw.choice(_ENDS)
    if kind == 2:
        return draw.choice(_BEGINNINGS) + target
    if kind == 3:
        return target[:at] + target[at : at + 1].swapcase() + target[at + 1 :]
    if kind == 4:
        return target[:at] + draw.choice(_ENDS) + target[at:]
    letter = target[at : at + 1]
    return target[:at] + (_encode(letter, draw) if letter else "") + target[at + 1 :]


def seeds():
    """Every seed, with the methods of its gate, as (gate, method, target)."""
    for target in SEEDS:
        gate = next((g for g in ("export", "reports", "features") if g in target.lower()), "features")
        for method in {request.split(" ")[0] for request in PLAIN[gate]}:
            yield gate, method, target


def drawn(draw):
    """A random one, without end."""
    while True:
        gate = draw.choice(list(PLAIN))
        method, target = draw.choice(PLAIN[gate]).split(" ")
        for _ in range(draw.choice([1, 1, 2, 2, 3, 4, 6])):
            target = _rewrite(target, draw)
        if draw.random() < 0.15:
            method = draw.choice(METHODS)
        yield gate, method, target
