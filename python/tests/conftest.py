import os
import subprocess
import threading

import pytest

from fake import Server
from real import CONFIG, eventually, find_binary, start_dev
from tidegate import Tidegate

for _name in ("TIDEGATE_URL", "TIDEGATE_API_KEY", "TIDEGATE_DISABLED"):
    os.environ.pop(_name, None)


@pytest.fixture
def server():
    with Server() as s:
        yield s


@pytest.fixture
def make():
    """Make a Tidegate that is closed after the test, and see that no thread is left."""
    made = []

    def factory(url, **options):
        made.append(Tidegate(url, **options))
        return made[-1]

    yield factory
    for gate in made:
        gate.close_sync(1)
    eventually(lambda: not [t for t in threading.enumerate() if t.name.startswith("tidegate-")])


@pytest.fixture
def gate(server, make):
    g = make(server.url)
    assert g.wait_synced(5)
    return g


@pytest.fixture(scope="session")
def binary():
    return find_binary()


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
