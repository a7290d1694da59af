import os
import threading
import time

import pytest
from fake import Server
from tidegate import Tidegate

for _name in ("TIDEGATE_URL", "TIDEGATE_API_KEY", "TIDEGATE_DISABLED"):
    os.environ.pop(_name, None)


def eventually(condition, timeout=5.0):
    """Wait for what a background thread does; there is nothing else to wait on."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


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
