"""The example app under uvicorn against a real `tidegate dev`."""

import httpx

from real import MESSAGE, eventually, post, serving, start_dev, used


def test_100_pass_the_next_is_blocked_and_an_upgrade_unblocks(tidegate):
    with serving(tidegate) as client:
        assert [post(client, "/api/features/search", "acme").status_code for _ in range(100)] == [200] * 100
        answer = post(client, "/api/features/search", "acme")
        assert answer.status_code == 402, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert (problem["detail"], problem["limit"], problem["used"]) == (MESSAGE, 100, 100)
        eventually(lambda: used(tidegate, "acme") == 100, 20)
        assert post(client, "/api/features/search", "other").status_code == 200

        # Tidegate's own block comes with its end and a link of the customer's own.
        eventually(lambda: post(client, "/api/features/search", "acme").json().get("unblocks_at"), 20)
        problem = post(client, "/api/features/search", "acme").json()
        assert problem["detail"] == MESSAGE and problem["upgrade_url"].startswith("http")

        tidegate.run("dev", "upgrade", "acme", "--plan", "pro")
        eventually(lambda: post(client, "/api/features/search", "acme").status_code == 200, 20)
        decision = client.get("/usage", headers={"x-customer": "acme"}).json()["api"]
        assert (decision["plan"], decision["limit"], decision["reason"]) == ("pro", None, "unlimited")


def test_a_restarted_app_knows_the_block(tidegate):
    with serving(tidegate) as client:
        for _ in range(5):
            assert post(client, "/reports", "restart").status_code == 200
        assert post(client, "/reports", "restart").status_code == 402
    eventually(lambda: used(tidegate, "restart", "reports") == 5, 20)
    with serving(tidegate) as client:
        eventually(lambda: post(client, "/reports", "restart").status_code == 402, 20)
    assert used(tidegate, "restart", "reports") == 5


def test_values_are_summed(tidegate):
    with serving(tidegate) as client:
        for _ in range(10):
            assert post(client, "/generate?prompt=" + "word+" * 10, "sum").status_code == 200
        answer = post(client, "/generate?prompt=word", "sum")
        assert (answer.status_code, answer.json()["used"]) == (402, 10000)
    eventually(lambda: used(tidegate, "sum", "tokens") == 10000, 20)


def test_shutdown_delivers_what_was_recorded_last(tidegate):
    with serving(tidegate) as client:
        for _ in range(7):
            assert post(client, "/api/features/x", "last").status_code == 200
        assert client.process.stop() is not None
    eventually(lambda: used(tidegate, "last") == 7, 20)


def test_nothing_is_lost_or_counted_twice_when_tidegate_is_killed(binary, tmp_path, make):
    dev = start_dev(binary, str(tmp_path))
    gate = make(dev.url)
    assert gate.wait_synced(20)
    try:
        for _ in range(2):
            recorded = gate.status().delivered
            for i in range(1000):
                gate.record_nowait(f"killed-{i % 10}", "tokens", value=1)
            eventually(lambda: gate.status().delivered > recorded)
            dev.child.kill()
            dev.child.wait()
            gate.record_nowait("killed-0", "tokens", value=1)
            dev = start_dev(binary, str(tmp_path), dev.url[len("http://") :])
        assert gate.flush_sync(60)
        assert gate.status().delivered == 2002
        want = [202] + [200] * 9
        eventually(lambda: [used(dev, f"killed-{i}", "tokens") for i in range(10)] == want, 20)
    finally:
        dev.stop()


def test_identify(tidegate):
    with serving(tidegate) as client:
        answer = client.post("/signup", params={"email": "ada@acme.example"}, headers={"x-customer": "a/b@c"})
        assert answer.status_code == 200, answer.text
    seen = httpx.get(f"{tidegate.url}/v1/customers/a%2Fb%40c").json()
    assert seen["email"] == "ada@acme.example"


def test_the_emergency_switch(tidegate):
    with serving(tidegate) as client:
        for _ in range(5):
            post(client, "/reports", "switch")
        assert post(client, "/reports", "switch").status_code == 402
        tidegate.run("gate", "off", "reports")
        eventually(lambda: post(client, "/reports", "switch").status_code == 200, 20)
        tidegate.run("gate", "on", "reports")
        eventually(lambda: post(client, "/reports", "switch").status_code == 402, 20)


def test_disabled(tidegate):
    with serving(tidegate, TIDEGATE_DISABLED="1") as client:
        assert {post(client, "/reports", "disabled").status_code for _ in range(10)} == {200}
    assert used(tidegate, "disabled", "reports") in (0, None)
