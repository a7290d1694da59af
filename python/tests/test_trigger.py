"""Which gate a request meets, beyond docs/vectors: targets of ASGI, letters, hostile paths."""

import pytest

from tidegate import Gate, Trigger
from tidegate._middleware import targets
from tidegate._trigger import Routes, spellings


def meets(request, *triggers):
    """The index of the trigger that decides about "METHOD /target …", None if there is none."""
    gates = [Gate(str(i), "e", triggers=[t]) for i, t in enumerate(triggers)]
    method, *all_targets = request.split(" ")
    gate = Routes(gates).match(method, *all_targets)
    return None if gate is None else int(gate.feature)


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
        ("GET /other /x", ["/x"], 0),  # one of several targets
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
    for request in ("GET /a", "GET " + endpoint.replace(" ", "%20"), "GET /"):
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
        ("/αΣ", True, "/ας", False),  # a letter that str.lower sees differently at the end of a word
        ("/a%00/../b", False, "/b", True),
        ("/%ff", False, "/\udcff", True),
        ("/%c3%28", False, "/é", False),
        ("/a%2Fb", False, "/a/b", True),
        ("/%2561", False, "/a", False),  # decoded once, as the app does
    ],
)
def test_letters_and_bytes(target, ignore_case, endpoint, fits):
    assert (meets("GET " + target, Trigger(endpoint, ignore_case=ignore_case)) == 0) == fits


def test_spellings():
    assert spellings("/a/b", "/a/b") == ["/a/b"]
    assert spellings("/x/%2e%2e/a//?q=/z") == ["/x/%2e%2e/a//", "/x/../a//", "/x/%2e%2e/a", "/a"]
    assert spellings("/%zz") == ["/%zz"]
    assert spellings("http://acme.example") == ["/"] and spellings("HTTPS://acme.example/a?b") == ["/a"]
    assert spellings("/x?u=http://a/b") == ["/x"] and spellings("") == ["", "/"]


def scope(path, raw_path=None, root_path=""):
    return {"path": path, "raw_path": raw_path, "root_path": root_path}


@pytest.mark.parametrize(
    "asgi, want",
    [
        (scope("/a"), {"/a"}),
        (scope("/a b", b"/a%20b?q"), {"/a b", "/a%20b"}),
        # The path of a scope is decoded: marks in it mean nothing more.
        (scope("/a?b#c%41", b"/a%3Fb%23c%2541"), {"/a?b#c%41", "/a%3Fb%23c%2541"}),
        # With the mount: as servers and newer versions of Starlette have it, and older ones.
        (scope("/v2/a", b"/v2/a", "/v2"), {"/v2/a", "/a"}),
        (scope("/a", b"/v2/a", "/v2"), {"/v2/a", "/a"}),
        (scope("/a", b"/a", "/v2"), {"/v2/a", "/a"}),
        (scope("/v2", None, "/v2/"), {"/v2", "", "/"}),
        (scope("/v2x", None, "/v2"), {"/v2x", "/v2/v2x"}),
        (scope("/a\udcff", b"/a\xff", None), {"/a\udcff"}),
    ],
)
def test_targets_of_a_scope(asgi, want):
    assert set(spellings(*targets(asgi))) == want
