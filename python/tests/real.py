"""The real things: a `tidegate dev` (the binary that TIDEGATE_BIN names) and the example app under uvicorn."""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "examples" / "fastapi"
MESSAGE = "You've reached your free tier limit. Upgrade to continue."


def eventually(condition, timeout=5.0):
    """Wait for a background thread, which gives no signal to wait on."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


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


def leave_out(tests):
    """Skip, and let `make test` say so at its end; under CI it is a failure."""
    done = subprocess.run([ROOT / ".ci" / "left-out", tests], capture_output=True, text=True)
    pytest.fail(done.stderr) if done.returncode else pytest.skip(done.stdout)


def find_binary():
    """The binary that TIDEGATE_BIN names."""
    path = os.environ.get("TIDEGATE_BIN")
    if not path:
        leave_out("the tests against a real tidegate: TIDEGATE_BIN=$PWD/bin/tidegate after make build")
    return os.path.abspath(path)


def find_program(name, package):
    """A program that only root can install, on the PATH or where Debian keeps those of root."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if not path:
        leave_out(f"the tests with {name}: apt-get install {package}")
    return path


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


@contextmanager
def uvicorn(tidegate, folder, app, **more):
    """An app of a folder under uvicorn."""
    path = os.pathsep.join([str(ROOT / "python"), os.environ.get("PYTHONPATH", "")])
    arguments = [sys.executable, "-m", "uvicorn", app, "--app-dir", str(folder), "--port", "0"]
    process = Process(arguments, env={**tidegate.environment, "PYTHONPATH": path, **more})
    try:
        url = process.wait_for(r"running on (http://127\.0\.0\.1:\d+)").group(1)
        with httpx.Client(base_url=url, timeout=20) as client:
            client.process = process
            yield client
    finally:
        process.stop()


@contextmanager
def serving(tidegate, **more):
    """The example app under uvicorn."""
    with uvicorn(tidegate, EXAMPLE, "main:app", **more) as client:
        if "TIDEGATE_DISABLED" not in more:  # under load the app may be up before its first sync
            eventually(lambda: client.get("/usage", headers={"x-customer": "-"}).json()["api"]["plan"], 20)
        yield client


def post(client, path, customer):
    return client.post(path, headers={"x-customer": customer})


def used(tidegate, customer, feature="api"):
    answer = httpx.get(f"{tidegate.url}/v1/check", params={"customer": customer, "feature": feature})
    assert answer.status_code == 200, answer.text
    return answer.json()["used"]
