"""The whole story against a real `tidegate dev` and a server that speaks MongoDB's protocol."""

import os
import re
import socket
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from real import ROOT, Process, eventually, find_binary, start_dev

HERE = Path(__file__).parent
FEATURE = "/api/features/summarize"
TEXT = {"text": "One. Two is longer. Three."}


@pytest.fixture(scope="module")
def binary():
    return find_binary()


@pytest.fixture(scope="module")
def mongo():
    server = Process(["go", "run", "./internal/test/testmongo/serve"], cwd=ROOT)
    yield server.wait_for(r"(mongodb://\S+)", 300).group(1)
    server.stop()


@contextmanager
def workers(dev, mongo, n=2):
    """The app under uvicorn with n workers."""
    path = os.pathsep.join([str(ROOT / "python"), str(HERE)])
    environment = {
        **dev.environment,
        "PYTHONPATH": path,
        "MONGODB_URI": mongo,
        "APP_DATABASE": "app_" + uuid.uuid4().hex[:8],
    }
    with socket.create_server(("127.0.0.1", 0)) as free:  # with workers, uvicorn doesn't say which port it got
        url = "http://127.0.0.1:%d" % free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "main:app", "--app-dir", str(HERE), "--workers", str(n)]
    app = Process([*command, "--port", url.rsplit(":")[-1]], env=environment)
    try:
        eventually(lambda: app.output.count("startup complete") == n, 60)
        yield url
    finally:
        app.stop()


@pytest.fixture
def dev(binary, tmp_path):
    started = start_dev(binary, str(tmp_path), config=HERE / "tidegate.yaml")
    yield started
    started.stop()


def sign_up(url, email="ada@acme.example"):
    client = httpx.Client(base_url=url, timeout=20)
    answer = client.post("/signup", data={"email": email, "password": "correct horse"})
    assert answer.status_code == 200, answer.text
    return client, answer.json()["customer"]


def statuses(url, cookies, n):
    """The answers to n requests, each over a connection of its own: any worker takes it."""
    return [httpx.post(url + FEATURE, data=TEXT, cookies=cookies, timeout=20).status_code for _ in range(n)]


def used(dev, customer):
    answer = httpx.get(f"{dev.url}/v1/check", params={"customer": customer, "feature": "summaries"})
    return answer.json()["used"]


def test_from_sign_up_to_upgrade(dev, mongo, tmp_path, binary):
    with workers(dev, mongo) as url:
        client, customer = sign_up(url)
        assert (
            client.post("/signup", data={"email": "ada@acme.example", "password": "correct horse"}).status_code == 409
        )
        assert httpx.post(url + FEATURE, data=TEXT).status_code == 401
        assert set(statuses(url, client.cookies, 100)) == {200}
        assert client.get("/me").json()["plan"] in (None, "free")

        # The block reaches both workers; a row of refusals can't all be one worker's.
        eventually(lambda: set(statuses(url, client.cookies, 12)) == {402}, 20)

        def link():  # the customer's own comes with Tidegate's block; until then it is that of all
            return client.post(FEATURE, data=TEXT).json()["upgrade_url"]

        eventually(lambda: link().startswith("http://127.0.0.1"), 20)
        problem = client.post(FEATURE, data=TEXT).json()
        assert problem["limit"] == 100
        eventually(lambda: client.get("/me").json()["upgrade_url"] == problem["upgrade_url"], 20)
        me = client.get("/me").json()
        assert not me["allowed"] and me["used"] >= 100
        assert client.get("/upgrade", follow_redirects=False).headers["location"] == problem["upgrade_url"]
        other, _ = sign_up(url, "grace@acme.example")
        assert other.post(FEATURE, data=TEXT).json() == {"summary": "Two is longer.", "of": 3}

        def mailed():
            mails = [m.read_text() for m in Path(tmp_path, "outbox").glob("*.eml")]
            return [m for m in mails if re.search(r"^To:.*ada@acme\.example", m, re.M)]

        eventually(mailed, 20)
        assert len(mailed()) == 1

        command = [binary, "dev", "upgrade", customer, "--plan", "pro", "--config", str(HERE / "tidegate.yaml")]
        subprocess.run(command, env=dev.environment, cwd=tmp_path, check=True, timeout=60, capture_output=True)
        eventually(lambda: set(statuses(url, client.cookies, 12)) == {200}, 20)
        assert (client.get("/me").json()["plan"], client.get("/me").json()["limit"]) == ("pro", None)


def test_tidegate_killed_in_the_middle(dev, mongo, binary, tmp_path):
    with workers(dev, mongo) as url:
        client, customer = sign_up(url)
        full, _ = sign_up(url, "full@acme.example")
        eventually(lambda: set(statuses(url, full.cookies, 20)) == {402}, 60)
        passed = statuses(url, client.cookies, 20)
        dev.child.kill()
        dev.child.wait()
        passed += statuses(url, client.cookies, 20)  # no request fails
        assert set(statuses(url, full.cookies, 12)) == {402}  # decisions stay
        dev = start_dev(binary, str(tmp_path), dev.url[len("http://") :], config=HERE / "tidegate.yaml")
        try:
            passed += statuses(url, client.cookies, 20)
            assert passed == [200] * 60
            eventually(lambda: used(dev, customer) == 60, 60)  # nothing lost
            assert set(statuses(url, full.cookies, 12)) == {402}
        finally:
            dev.stop()
    assert used_at_rest(binary, tmp_path, customer) == 60  # nor doubled, by what was tried again


def used_at_rest(binary, folder, customer):
    dev = start_dev(binary, str(folder), config=HERE / "tidegate.yaml")
    try:
        return used(dev, customer)
    finally:
        dev.stop()


def test_starts_within_two_seconds_without_tidegate(dev, mongo):
    dev.environment["TIDEGATE_URL"] = "http://127.0.0.1:9"
    began = time.monotonic()
    with workers(dev, mongo, n=1) as url:
        alone = time.monotonic() - began
        client, _ = sign_up(url)
        assert client.post(FEATURE, data=TEXT).status_code == 200
    assert alone < 20  # the interpreter's own start included: two seconds of waiting and no hang
