"""The example app under uvicorn against a real `tidegate dev` (the binary that TIDEGATE_BIN names)."""

import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from conftest import eventually

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "examples" / "fastapi"
MESSAGE = "You've reached your free tier limit. Upgrade to continue."


class Process:
    """A child process whose output is kept; `address` waits until it has printed one."""

    def __init__(self, arguments, **options):
        options.setdefault("stdout", subprocess.PIPE)
        self.child = subprocess.Popen(arguments, stderr=subprocess.STDOUT, text=True, **options)
        self.output = ""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.child.stdout:
            self.output += line

    def wait_for(self, pattern, timeout=60):
        def seen():
            assert self.child.poll() is None, f"it ended: {self.output}"
            return re.search(pattern, self.output)

        eventually(seen, timeout)
        return seen()

    def stop(self):
        self.child.terminate()
        try:
            return self.child.wait(20)
        except subprocess.TimeoutExpired:
            self.child.kill()
            raise


@pytest.fixture(scope="module")
def binary():
    path = os.environ.get("TIDEGATE_BIN")
    if not path:
        missing = "TIDEGATE_BIN names no tidegate binary: go build -o bin/tidegate ./cmd/tidegate"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    return os.path.abspath(path)


CONFIG = ["--config", str(EXAMPLE / "tidegate.yaml")]


def start_dev(binary, data, http="127.0.0.1:0", config=EXAMPLE / "tidegate.yaml"):
    """A `tidegate dev` with an example's configuration, once it is ready."""
    keep = {k: v for k, v in os.environ.items() if k not in ("MONGODB_URI", "TIDEGATE_API_KEYS", "RESEND_API_KEY")}
    environment = {**keep, "TIDEGATE_DATA": data, "NO_PROXY": "127.0.0.1"}
    arguments = [binary, "dev", "--http", http, "--nats", "127.0.0.1:-1", "--data", data, "--config", str(config)]
    dev = Process(arguments, env=environment, cwd=data)
    try:
        dev.url = dev.wait_for(r"(http://127\.0\.0\.1:\d+)").group(1)
        dev.environment = {**environment, "TIDEGATE_URL": dev.url}
        eventually(lambda: httpx.get(dev.url + "/readyz").status_code == 200, 60)
    except BaseException:
        dev.stop()
        raise
    return dev


@pytest.fixture(scope="module")
def tidegate(binary, tmp_path_factory):
    """A running `tidegate dev`; `.run(…)` runs another command beside it."""
    data = str(tmp_path_factory.mktemp("tidegate"))
    dev = start_dev(binary, data)

    def run(*command):
        done = subprocess.run(
            [binary, *command, *CONFIG], env=dev.environment, cwd=data, capture_output=True, text=True, timeout=60
        )
        assert done.returncode in (0, 3), done.stderr

    dev.run = run
    yield dev
    dev.stop()


@contextmanager
def serving(tidegate, **more):
    """The example app under uvicorn."""
    path = os.pathsep.join([str(ROOT / "python"), os.environ.get("PYTHONPATH", "")])
    arguments = [sys.executable, "-m", "uvicorn", "main:app", "--app-dir", str(EXAMPLE), "--port", "0"]
    app = Process(arguments, env={**tidegate.environment, "PYTHONPATH": path, **more})
    try:
        url = app.wait_for(r"running on (http://127\.0\.0\.1:\d+)").group(1)
        with httpx.Client(base_url=url, timeout=20) as client:
            client.process = app
            yield client
    finally:
        app.stop()


def post(client, path, customer):
    return client.post(path, headers={"x-customer": customer})


def used(tidegate, customer, feature="api"):
    answer = httpx.get(f"{tidegate.url}/v1/check", params={"customer": customer, "feature": feature})
    assert answer.status_code == 200, answer.text
    return answer.json()["used"]


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
