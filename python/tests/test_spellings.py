"""Nobody passes a gate by writing the address differently: real servers, real routers, random addresses.

Behind nginx with the recipe in deploy/gateways are FastAPI, Go's net/http, Express (which ignores case) and two apps
that route what JavaScript's URL class reads. The same FastAPI app is also asked directly, with its own middleware.
A customer who may not use a feature must never reach its handler, and each use of one who may must be counted.

SPELLINGS_SEED repeats a run, and SPELLINGS says how many random addresses each app is asked for.
"""

import http.client
import itertools
import json
import os
import random
import shutil
import socket
import subprocess
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from real import ROOT, Process, eventually, find_program, leave_out, start_dev, used, uvicorn
from spellings import PLAIN, drawn, seeds
from test_nginx import nginx

HERE = ROOT / "python" / "tests" / "routers"
RANDOM = int(os.environ.get("SPELLINGS") or 150)
SEED = os.environ.get("SPELLINGS_SEED") or str(random.SystemRandom().randrange(1 << 32))
TRIGGERS = {
    "features": {"endpoint": "/api/features/*", "method": "POST"},
    "export": {"endpoint": "/api/export"},
    "reports": {"endpoint": "/users/{id}/reports", "method": "GET"},
    "all": {"endpoint": "/api/*", "method": "POST"},
}


def gate_of(feature, ignore_case):
    """Unlimited, but not in one plan."""
    limits = {f"no-{name}": "none" if name == feature else "unlimited" for name in TRIGGERS}
    trigger = {**TRIGGERS[feature], "ignore_case": ignore_case}
    return {
        "feature": feature,
        "trigger": trigger,
        "condition": {"limit": {"open": "unlimited", **limits}, "period": "30d"},
    }


@contextmanager
def dev_with(binary, folder, ignore_case):
    """A `tidegate dev` that knows the customers `no-…`, who may not use that feature."""
    folder.mkdir()
    config = folder / "tidegate.yaml"
    plans = {"open": {"default": True}, **{f"no-{name}": {} for name in TRIGGERS}}
    config.write_text(json.dumps({"plans": plans, "gates": [gate_of(name, ignore_case) for name in TRIGGERS]}))
    dev = start_dev(binary, str(folder), config=config)
    try:
        for name in TRIGGERS:
            path = f"{dev.url}/v1/customers/no-{name}"
            assert httpx.put(path, json={"plan": f"no-{name}"}).status_code == 200
            query = {"customer": f"no-{name}", "feature": name}
            eventually(lambda q=query: not httpx.get(dev.url + "/v1/check", params=q).json()["allowed"], 20)
        yield dev
    finally:
        dev.stop()


@pytest.fixture(scope="module")
def devs(binary, tmp_path_factory):
    folder = tmp_path_factory.mktemp("spellings")
    with dev_with(binary, folder / "as-written", False) as dev, dev_with(binary, folder / "any-case", True) as loose:
        yield {False: dev, True: loose}


class Visitor:
    """Writes requests byte by byte, on one connection as long as the server keeps it."""

    def __init__(self, family, address):
        self.family, self.address, self.socket = family, address, None

    def _answer(self, method, target, customer):
        if self.socket is None:
            self.socket = socket.socket(self.family)
            self.socket.settimeout(20)
            self.socket.connect(self.address)
        # What a visitor would like Tidegate to believe goes along.
        head = f"{method} {target} HTTP/1.1\r\nHost: app\r\nX-Api-Key: key-of-{customer}\r\nContent-Length: 0\r\n"
        head += (
            "X-Customer-Id: other\r\nX-Forwarded-Uri: /free\r\nX-Original-Uri: /free\r\nX_Original_Uri: /free\r\n\r\n"
        )
        self.socket.sendall(head.encode("utf-8", "surrogateescape"))
        response = http.client.HTTPResponse(self.socket, method=method.upper())
        response.begin()
        response.read()
        return response

    def ask(self, method, target, customer):
        """Status, handler and location of the answer; a server that hangs up has refused."""
        for fresh in (False, True):
            if fresh or self.socket is None:
                self.close()
            try:
                response = self._answer(method, target, customer)
                break
            except (OSError, http.client.HTTPException):
                self.close()
        else:
            return 400, None, None
        if response.will_close:
            self.close()
        return response.status, response.getheader("x-handler"), response.getheader("location")

    def follow(self, method, target, customer):
        """As `ask`, wherever the app sends its visitor; each request may be a use."""
        handlers = []
        for _ in range(5):
            status, handler, location = self.ask(method, target, customer)
            handlers += [handler] if handler else []
            if location is None:
                break
            target = location.split("://app", 1)[-1] if "://app" in location else location
            method = "GET" if status in (301, 302, 303) and method.upper() != "HEAD" else method
        return handlers

    def close(self):
        if self.socket is not None:
            self.socket.close()
            self.socket = None


@contextmanager
def app_in_python(dev, **more):
    with uvicorn(dev, HERE, "app:app", **more) as client:
        if not more:  # under load the app may be up before its first sync
            visit = {"headers": {"x-api-key": "key-of-no-features"}}
            eventually(lambda: client.post("/api/features/x", **visit).status_code == 403, 20)
        yield str(client.base_url).rstrip("/")


@contextmanager
def app_in_go(tmp_path):
    if shutil.which("go") is None:
        leave_out("the tests with Go's router: put go on the PATH")
    program = tmp_path / "routers"
    subprocess.run(["go", "build", "-o", program, "./internal/test/routers"], cwd=ROOT, check=True, timeout=300)
    app = Process([program])
    try:
        yield app.wait_for(r"mux (http://\S+)\n").group(1)
    finally:
        app.stop()


@contextmanager
def apps_in_javascript():
    node = find_program("node", "node-express")
    environment = {"NODE_PATH": "/usr/share/nodejs", **os.environ}
    if subprocess.run([node, "-e", "require('express')"], env=environment, capture_output=True).returncode:
        leave_out("the tests with Express: apt-get install node-express")
    apps = Process([node, HERE / "app.js"], env=environment)
    try:
        yield {name: apps.wait_for(rf"{name} (http://\S+)\n").group(1) for name in ("express", "url", "decoded")}
    finally:
        apps.stop()


def address_of(url):
    host, _, port = url.split("://")[1].rpartition(":")
    return host, int(port)


def check(visitor, dev, name):
    """Ask for every address as one who may not, and as one who may; both must be as Tidegate says."""
    random_ones = itertools.islice(drawn(random.Random(f"{SEED} {name}")), RANDOM)
    hits, passed = dict.fromkeys(TRIGGERS, 0), []
    before = {feature: used(dev, "open", feature) for feature in TRIGGERS}
    plain = [(gate, *request.split(" ")) for gate, requests in PLAIN.items() for request in requests]
    for gate, method, target in [*plain, *seeds(), *random_ones]:
        reached = visitor.follow(method, target, "open")
        for handler in reached:
            hits[handler] += 1
        for handler in {gate, *reached}:
            if handler in visitor.follow(method, target, f"no-{handler}"):
                passed.append(f"{handler}: {method} {target!a}")
    assert not passed, f"{name}: {len(passed)} passed with SPELLINGS_SEED={SEED}, such as\n" + "\n".join(passed[:20])
    unwritten = [feature for feature, requests in PLAIN.items() if hits[feature] <= len(requests)]
    assert not unwritten, f"{name}: only plain addresses reached the app: {hits}"
    for feature, n in hits.items():
        eventually(lambda f=feature, least=n: used(dev, "open", f) - before[f] >= least, 20)


@pytest.mark.parametrize("name", ["fastapi", "mux", "express", "url", "decoded"])
def test_behind_nginx(devs, tmp_path, name):
    dev = devs[name == "express"]
    with ExitStack() as stack:
        if name == "fastapi":
            url = stack.enter_context(app_in_python(dev, TIDEGATE_DISABLED="1"))
        elif name == "mux":
            url = stack.enter_context(app_in_go(tmp_path))
        else:
            url = stack.enter_context(apps_in_javascript())[name]
        customers = ["open", *(f"no-{feature}" for feature in TRIGGERS)]
        stack.enter_context(nginx(tmp_path, dev.url, url, customers={f"key-of-{c}": c for c in customers}))
        visitor = Visitor(socket.AF_UNIX, str(tmp_path / "nginx.sock"))
        stack.callback(visitor.close)
        check(visitor, dev, name)


def test_the_middleware_alone(devs):
    with app_in_python(devs[False]) as url, ExitStack() as stack:
        visitor = Visitor(socket.AF_INET, address_of(url))
        stack.callback(visitor.close)
        check(visitor, devs[False], "middleware")
