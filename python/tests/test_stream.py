"""Following decisions: sync, resume, replace, reconnect, stop."""

import pytest

from fake import API, Server, blocked, decision
from real import eventually
from tidegate._stream import EventParser


def test_parser_however_the_stream_is_cut():
    text = 'retry: 1000\n\n: hi\n\nid: 7-a\nevent: gates\r\ndata: {"a":"é\u2028"}\r\n\r\ndata: 1\ndata:2\n\n'.encode()
    want = [("gates", '{"a":"é\u2028"}', "7-a"), ("message", "1\n2", "")]
    for cut in range(1, len(text)):
        parser = EventParser()
        got = [e for i in range(0, len(text), cut) for e in parser.feed(text[i : i + cut])]
        assert got == want


def test_decisions_arrive_and_go(server, gate):
    assert gate.check("acme", "api").allowed
    server.say("decision", blocked())
    eventually(lambda: not gate.check("acme", "api").allowed)
    d = gate.check("acme", "api")
    assert (d.reason, d.message, d.used) == ("limit_reached", "No more.", 100)
    assert gate.check("other", "api").allowed
    server.say("decision", decision(limit=None, used=100, remaining=None, reason="unlimited", plan="pro"))
    eventually(lambda: gate.check("acme", "api").allowed)
    assert gate.check("acme", "api").plan == "pro"
    server.say("removed", {"customer": "acme", "feature": "api"})
    eventually(lambda: gate.check("acme", "api").plan == "free")


def test_the_emergency_switch(server, gate):
    server.say("decision", blocked())
    eventually(lambda: not gate.check("acme", "api").allowed)
    server.announce(off=True)
    eventually(lambda: gate.check("acme", "api").reason == "gate_off")
    server.announce(off=False)
    eventually(lambda: not gate.check("acme", "api").allowed)


def test_resumes_where_it_was(server, gate):
    server.say("decision", blocked("a"))
    eventually(lambda: not gate.check("a", "api").allowed)
    server.kick()
    server.wait(lambda: server.streams == ["", "1-x"])
    server.say("decision", blocked("b"))
    eventually(lambda: not gate.check("b", "api").allowed)
    assert not gate.check("a", "api").allowed


def test_a_new_start_replaces_everything(server, gate):
    server.say("decision", blocked("a"))
    eventually(lambda: not gate.check("a", "api").allowed)
    server.can_resume, server.log = False, []
    server.log.append(("9-y", "decision", '{"customer":"b","feature":"api","allowed":false,"reason":"limit_reached"}'))
    server.kick()
    eventually(lambda: not gate.check("b", "api").allowed)
    assert gate.check("a", "api").allowed


def test_nothing_shows_before_synced(server, make):
    server.sync = False
    server.say("decision", blocked())
    gate = make(server.url)
    gate.start()
    server.wait(lambda: server.streams == [""])
    eventually(lambda: gate.triggered("POST", "/api/features/x"))
    assert gate.check("acme", "api").reason == "no_decision"
    assert not gate.status().synced
    server.sync = True
    server.kick()
    eventually(lambda: not gate.check("acme", "api").allowed)


def test_keeps_the_last_known_while_tidegate_is_away(make):
    with Server() as server:
        server.say("decision", blocked())
        gate = make(server.url)
        assert gate.wait_synced(5) and gate.status().live
    eventually(lambda: not gate.status().live)
    status = gate.status()
    assert status.synced and status.age is not None
    assert not gate.check("acme", "api").allowed and gate.check("other", "api").allowed
    with Server(port=int(gate.url.rsplit(":", 1)[1])) as server:
        server.can_resume = False
        eventually(lambda: gate.check("acme", "api").allowed, 15)


def test_garbage_is_left_out(server, gate, caplog):
    server.say("decision", {"customer": "acme"})
    server.say("decision", ["?"])
    server.say("decision", {**blocked(), "format": 2})
    server.say("surprise", {})
    server.say("decision", blocked())
    eventually(lambda: not gate.check("acme", "api").allowed)
    assert "was not understood" in caplog.text
    assert "the decision has format 2, and this version reads up to 1" in caplog.text


@pytest.mark.parametrize("fail, allowed", [("open", True), ("closed", False)])
def test_fail_policy_before_the_first_sync(make, fail, allowed):
    gate = make("http://127.0.0.1:1", fail=fail)
    assert not gate.wait_synced(5)
    d = gate.check("acme", "api")
    assert (d.allowed, d.reason) == (allowed, "no_decision")


def test_a_gates_own_fail_policy(make):
    with Server({**API, "fail_closed": True}) as server:
        server.sync = False
        gate = make(server.url)
        eventually(lambda: not gate.check("acme", "api").allowed)
        server.announce(fail_closed=True, off=True)
        eventually(lambda: gate.check("acme", "api").allowed)


def test_an_unknown_feature_is_for_the_fail_policy(server, gate, make):
    assert gate.check("acme", "typo").allowed
    closed = make(server.url, fail="closed")
    assert closed.wait_synced(5)
    assert not closed.check("acme", "typo").allowed and closed.check("acme", "api").allowed


def test_a_wrong_key_is_told_once(make, caplog):
    with Server(key="right") as server:
        gate = make(server.url, api_key="wrong")
        assert not gate.wait_synced(5)
        assert caplog.text.count("answered 401") == 1
        right = make(server.url, api_key="right")
        assert right.wait_synced(5)
