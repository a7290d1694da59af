"""Which gate a request meets, beyond docs/vectors: targets of ASGI, letters, hostile paths."""

import random
from urllib.parse import unquote

import pytest

from tidegate import Gate, Trigger
from tidegate._middleware import targets
from tidegate._target import MAX_ODD_PATH, MAX_PATH, Unreadable, folded, readings
from tidegate._trigger import Routes


def meets(request, *triggers):
    """The index of the trigger that decides about "METHOD /target …", None if there is none."""
    gates = [Gate(str(i), "e", triggers=[t]) for i, t in enumerate(triggers)]
    method, *names = request.split(" ")
    met = Routes(gates).match(method, [tuple(names)])
    return int(met[0].feature) if met else None


@pytest.mark.parametrize(
    "request_, endpoints, decides",
    [
        ("POST /api/export", ["/api/*", "/api/export"], 1),
        ("POST /api/export/", ["/api/*", "/api/export"], 1),
        ("POST /api/exports", ["/api/*", "/api/export", "/api/exp*"], 2),
        ("POST /a/b", ["/a/{x}", "/a/b"], 1),
        ("POST /a/b", ["/*", "/a/*", "/{x}/*"], 1),
        ("POST /a/b", ["/a/b", "/a/b/"], 0),
        ("GET /slash", ["/slash/"], 0),
        ("GET /users/7/reports", ["/users/{id}/reports"], 0),
        ("GET /users//reports", ["/users/{id}/reports"], None),
        ("GET /", ["/*"], 0),
        ("OPTIONS /", ["/*"], None),
        ("GET /other /x", ["/x"], 0),  # one of several names
    ],
)
def test_the_most_specific_decides(request_, endpoints, decides):
    assert meets(request_, *[Trigger(e) for e in endpoints]) == decides


def test_methods():
    assert meets("POST /m", Trigger("/m"), Trigger("/m", "POST")) == 1
    assert meets("DELETE /m", Trigger("/m"), Trigger("/m", "POST")) == 0
    assert meets("HEAD /m", Trigger("/m"), Trigger("/m", "GET")) == 1
    assert meets("get /m", Trigger("/m", "head")) == 0
    assert meets("OPTIONS /m", Trigger("/m", "OPTIONS")) is None


@pytest.mark.parametrize(
    "endpoint", ["", "a", "/a?b", "/a b", "/a//b", "/../a", "/{x}y", "/{x:path}", "/a**", "/{}", "/*a/b"]
)
def test_a_trigger_that_cannot_be_read_is_left_out(endpoint):
    for request in ("GET /a", "GET /" + endpoint.lstrip("/").replace(" ", "%20"), "GET /"):
        assert meets(request, Trigger(endpoint), Trigger("/*")) == 1


@pytest.mark.parametrize(
    "target, ignore_case, endpoint, fits",
    [
        ("/API/x", True, "/api/*", True),
        ("/API/x", False, "/api/*", False),
        ("/%C3%89t%C3%A9", True, "/été", True),
        ("/été", True, "/ÉTÉ", True),
        ("/\u0130", True, "/i", True),  # a letter that str.lower makes two of
        ("/Σ", True, "/σ", True),
        ("/αΣ", True, "/ας", True),  # of which routers know one or two lower-case forms
        ("/ſet", True, "/Set", True),  # as Python's re.IGNORECASE
        ("/a%2Fb", False, "/a/b", True),
        ("/%2561", False, "/a", True),  # decoded twice, as by a gateway and an app
    ],
)
def test_letters_and_bytes(target, ignore_case, endpoint, fits):
    assert (meets("GET " + target, Trigger(endpoint, ignore_case=ignore_case)) == 0) == fits


def test_readings():
    assert readings([("/a/b", "/a/b")]) == [("/a/b", "/a/b")] and readings([("/.a",)]) == [("/.a",)]
    assert readings([("/a%40b", "/x")]) == [("/a%40b", "/x"), ("/a@b", "/x")]
    assert readings([("/a%20b", "/x")]) == [("/a b", "/x")]  # which nobody can write otherwise
    assert set(readings([("/x/%2e%2e/a//?q=/z",)])) == {
        ("/x/%2e%2e/a//",), ("/x/../a//",), ("/x/%2e%2e/a/",), ("/x/../a/",), ("/a//",), ("/a/",)
    }  # fmt: skip
    assert readings([("http://acme.example",)]) == [("/",)] and readings([("HTTPS://acme.example/a?b",)]) == [("/a",)]
    assert readings([("/x?u=http://a/b",)]) == [("/x",)] and readings([("",)]) == [("/",)]


@pytest.mark.parametrize(
    "target",
    [
        "/%zz",
        "/a%",
        "/a%0",
        "/a%00/../b",
        "/%ff",
        "/\udcff",
        "/\ud800",
        "/%c0%af",
        "/a\n",
        "/a b",
        "a",
        "*",
        "%2Fa",
        "/%" + "25" * 60,
        "/" + "a" * MAX_PATH,
        "/" + "é" * (MAX_PATH // 2),
        "//" + "a" * MAX_ODD_PATH,
    ],
)
def test_what_cannot_be_read(target):
    with pytest.raises(Unreadable):
        readings([(target,)])
    with pytest.raises(Unreadable):
        readings([("/a", target)])
    assert Routes([Gate("x", "e", triggers=[Trigger("/x", "POST")])]).match("GET", [(target,)]) == []


def test_the_longest_path():
    assert readings([("/" + "a" * (MAX_PATH - 1),)]) and readings([("//" + "a" * (MAX_ODD_PATH - 2),)])


def test_letters_are_one_each():
    for letter in map(chr, range(0x20000)):
        assert len(folded(letter)) == 1


def read(names):
    """The readings of a target, None if there are too many."""
    try:
        return set(readings(names))
    except Unreadable:
        return None


def test_a_path_that_the_server_decoded_has_no_more_readings_than_the_one_that_was_sent():
    # As in Go, which has the one that was sent alone: so the bound falls on the same paths.
    assert read([("/%2F/%252f/5////..",)]) is not None
    parts = ["/", "a", "5", "..", ".", "%2F", "%252f", "%2e", "%25", "%3F", "%41", ";x", "#"]
    drawn, readable = random.Random(8), 0
    for _ in range(3000):
        sent = "/" + "".join(drawn.choices(parts, k=drawn.randint(1, 9)))
        for root in ("", "/m"):
            names = (sent, root + sent) if root else (sent,)
            if root and sent.startswith(root + "/"):
                continue
            want = read([names])
            for path in {unquote(sent), unquote(root + sent)}:
                assert read(targets(scope(path, sent.encode(), root))) == want, (sent, path, root)
            readable += want is not None
    assert 1000 < readable < 6000


def scope(path, raw_path=None, root_path=""):
    return {"path": path, "raw_path": raw_path, "root_path": root_path}


@pytest.mark.parametrize(
    "asgi, want",
    [
        (scope("/a"), {"/a"}),
        (scope("/a b", b"/a%20b?q"), {"/a b"}),
        (scope("/a@b", b"/a%40b"), {"/a@b", "/a%40b"}),
        # The path of a scope is decoded: marks in it mean nothing more, if nobody decodes again.
        (scope("/a?b", b"/a%3Fb"), {"/a?b", "/a%3Fb"}),
        (scope("/a%zz", b"/a%25zz"), {"/a%zz", "/a%25zz"}),
        # With the mount: as servers and newer versions of Starlette have it, and older ones.
        (scope("/v2/a", b"/v2/a", "/v2"), {"/v2/a", "/a"}),
        (scope("/a", b"/v2/a", "/v2"), {"/v2/a", "/a"}),
        (scope("/a", b"/a", "/v2"), {"/v2/a", "/a"}),
        (scope("/v2", None, "/v2/"), {"/v2", "/"}),
        (scope("/v2x", None, "/v2"), {"/v2x", "/v2/v2x"}),
    ],
)
def test_targets_of_a_scope(asgi, want):
    assert {path for names in readings(targets(asgi)) for path in names} == want
