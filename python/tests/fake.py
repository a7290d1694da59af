"""A small Tidegate over real HTTP: tests tell it what to announce, and read what it received."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

API = {
    "feature": "api", "event": "api", "aggregate": "count",
    "triggers": [{"endpoint": "/api/features/*", "method": "POST"}],
    "limit": 100, "near": 80, "in_plan": True, "period": "30d", "window": "anniversary",
    "message": "You've reached your free tier limit.", "upgrade_url": "https://acme.example/pricing",
}  # fmt: skip


def decision(customer="acme", feature="api", **changes):
    d = {
        "customer": customer, "feature": feature, "allowed": True, "reason": "within_limit", "plan": "free",
        "limit": 100, "used": 0, "remaining": 100, "window_start": "2026-01-01T00:00:00Z",
        "window_end": "2099-01-31T00:00:00Z", "unblocks_at": None, "upgrade_url": "https://gate.example/u/token",
        "decided_at": "2026-01-02T00:00:00.123456789Z", "as_of": "2026-01-02T00:00:00Z", "position": 1,
    }  # fmt: skip
    d.update(changes)
    return d


def blocked(customer="acme", feature="api", **changes):
    block = {
        "allowed": False, "reason": "limit_reached", "used": 100, "remaining": 0,
        "unblocks_at": "2099-01-31T00:00:00Z", "message": "No more.",
    }  # fmt: skip
    return decision(customer, feature, **{**block, **changes})


class Server:
    """`with Server() as server:`; `events`, `customers` and `streams` have what it received at `url`."""

    def __init__(self, *gates, port=0, key=None):
        self.gates = {"partitions": 4, "default_plan": "free", "gates": list(gates or [API])}
        self.key, self.changed = key, threading.Condition()
        self.log = []  # (id, name, data): the events of the stream, in order
        self.events, self.bodies, self.customers, self.streams = [], [], {}, []
        self.refusals = []  # answers to the next POSTs: (status, headers, document)
        self.can_resume, self.sync, self.closing, self.kicks = True, True, False, 0
        self.http = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def __enter__(self):
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.kick(closing=True)
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def say(self, name, data):
        with self.changed:
            self.log.append((f"{len(self.log) + 1}-x", name, json.dumps(data)))
            self.changed.notify_all()

    def announce(self, **changes):
        """Change the first gate."""
        self.gates = {**self.gates, "gates": [{**self.gates["gates"][0], **changes}, *self.gates["gates"][1:]]}
        self.say("gates", self.gates)

    def kick(self, closing=False):
        """End all streams."""
        with self.changed:
            self.kicks, self.closing = self.kicks + 1, closing
            self.changed.notify_all()

    def wait(self, condition, timeout=5):
        with self.changed:
            assert self.changed.wait_for(condition, timeout), "it did not happen"

    def _handler(fake):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, status, document, headers=None):
                body = json.dumps(document).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def body(self):
                return self.rfile.read(int(self.headers["Content-Length"]))

            def denied(self):
                if fake.key and self.headers.get("Authorization") != f"Bearer {fake.key}":
                    self.answer(401, {"detail": "the API key is not known"})
                    return True
                return False

            def do_POST(self):
                body = json.loads(self.body())
                if self.denied():
                    return
                with fake.changed:
                    refusal = fake.refusals.pop(0) if fake.refusals else None
                    fake.bodies.append(body)
                    if refusal is None:
                        fake.events += body
                    fake.changed.notify_all()
                if refusal is not None:
                    return self.answer(refusal[0], refusal[2], refusal[1])
                self.answer(202, {"accepted": len(body), "rejected": []})

            def do_PUT(self):
                body = json.loads(self.body())
                with fake.changed:
                    refusal = fake.refusals.pop(0) if fake.refusals else None
                    if refusal is None:
                        fake.customers[unquote(self.path.rsplit("/", 1)[1])] = body
                if refusal is not None:
                    return self.answer(refusal[0], refusal[2], refusal[1])
                self.answer(200, body)

            def do_GET(self):
                if self.denied():
                    return
                if self.path == "/v1/gates":
                    return self.answer(200, fake.gates)
                try:
                    self.stream()
                except OSError:
                    pass  # the client is gone

            def stream(self):
                last = self.headers.get("Last-Event-ID", "")
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                with fake.changed:
                    fake.streams.append(last)
                    fake.changed.notify_all()
                    resumed = bool(last) and fake.can_resume
                    at, kicks = int(last.split("-")[0]) if resumed else 0, fake.kicks
                    now, gates, sync = list(fake.log), json.dumps(fake.gates), fake.sync
                self.event("", "gates", gates)
                for entry in now[at:]:
                    self.event(*entry)
                if sync:
                    self.event("", "synced", json.dumps({"resumed": resumed}))
                at = len(now)
                while True:
                    with fake.changed:
                        fake.changed.wait_for(lambda: len(fake.log) > at or fake.kicks > kicks)
                        news, ended = fake.log[at:], fake.kicks > kicks
                    for entry in news:
                        self.event(*entry)
                    at += len(news)
                    if ended:
                        self.close_connection = True
                        return

            def event(self, event_id, name, data):
                head = f"id: {event_id}\n" if event_id else ""
                self.wfile.write(f": hello\n\n{head}event: {name}\ndata: {data}\n\n".encode())
                self.wfile.flush()

        return Handler
