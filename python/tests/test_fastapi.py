"""The middleware, the dependency and the app's life, over real HTTP where it matters."""

import asyncio
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, RedirectResponse, StreamingResponse

from fake import API, Server, blocked, decision
from real import eventually
from tidegate import Tidegate, TidegateMiddleware
from tidegate.fastapi import Blocked

REPORTS = {"feature": "reports", "event": "reports", "aggregate": "count", "limit": 5, "in_plan": True, "period": "30d"}
TOKENS = {**REPORTS, "feature": "tokens", "event": "tokens", "aggregate": "sum", "value": "tokens", "limit": 1000}
EXPORT = {**REPORTS, "feature": "export", "event": "export", "limit": 0, "in_plan": False}
EXPORT["triggers"] = [{"endpoint": "/export"}]


def customer_of(request):
    return request.headers.get("x-customer")


def build(gate, customer=customer_of, **options):
    app = FastAPI(**options)
    gate.install(app, customer=customer)

    @app.post("/api/features/{name}")
    async def feature(name: str):
        if name == "broken":
            raise HTTPException(500)
        if name == "raises":
            raise RuntimeError("on purpose")
        if name == "moved":
            return RedirectResponse("/elsewhere")
        if name == "stream":
            return StreamingResponse(iter(["a", "b"]))
        return {"name": name}

    @app.get("/api/features/{name}")
    @app.get("/free")
    async def free():
        return {}

    @app.get("/export")
    async def export():
        return {}

    @app.post("/reports", dependencies=[Depends(gate.require("reports"))])
    def report(fail: bool = False):
        if fail:
            raise HTTPException(422)
        return {}

    @app.post("/generate")
    async def generate(request: Request, d=Depends(gate.require("tokens"))):
        await gate.record(customer_of(request), "tokens", value=812)
        return {"remaining": d.remaining}

    return app


def run(app, *requests, customer="acme", **options):
    """Answers to requests ("POST /path"), one after the other, inside the app's life."""

    async def go():
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False, **options)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(
                transport=transport, base_url="http://app", headers={"x-customer": customer} if customer else {}
            ) as client,
        ):
            return [await client.request(*r.split(" ", 1)) for r in requests]

    return asyncio.run(go())


def statuses(*args, **options):
    return [r.status_code for r in run(*args, **options)]


@pytest.fixture
def server():
    with Server(API, REPORTS, TOKENS, EXPORT) as s:
        yield s


@pytest.fixture
def gate(server, make):
    return make(server.url)  # the app waits for it by itself


def test_100_pass_and_the_next_is_blocked(server, gate):
    answers = run(build(gate), *["POST /api/features/x"] * 101)
    assert [r.status_code for r in answers] == [200] * 100 + [402]
    last = answers[-1]
    assert last.headers["content-type"] == "application/problem+json"
    assert last.headers["cache-control"] == "no-store"
    assert last.json() == {
        "type": "urn:tidegate:limit-reached", "title": "Limit reached", "status": 402,
        "detail": API["message"], "feature": "api", "limit": 100, "used": 100, "unblocks_at": None,
        "upgrade_url": API["upgrade_url"],
    }  # fmt: skip
    assert len(server.events) == 100 and {e["subject"] for e in server.events} == {"acme"}


def test_tidegates_own_block(server, gate):
    server.say("decision", blocked())
    (answer,) = run(build(gate), "POST /api/features/x")
    assert answer.status_code == 402
    assert answer.json()["unblocks_at"] == "2099-01-31T00:00:00Z"
    assert answer.json()["upgrade_url"] == "https://gate.example/u/token"
    assert server.events == []


def test_not_in_the_plan(gate):
    (answer,) = run(build(gate), "GET /export")
    assert (answer.status_code, answer.json()["title"]) == (403, "Not in your plan")


def test_only_success_counts(server, gate):
    paths = ("ok", "stream", "moved", "broken", "raises")
    app = build(gate)
    assert statuses(app, *[f"POST /api/features/{p}" for p in paths]) == [200, 200, 307, 500, 500]
    assert statuses(app, "GET /api/features/x", "GET /free", "POST /nowhere") == [200, 200, 404]
    assert [e["type"] for e in server.events] == ["api"] * 3


def test_a_visitor_without_customer(server, gate):
    app = build(gate)
    assert statuses(app, "POST /api/features/x", "POST /reports", "GET /free", customer=None) == [401, 401, 200]
    assert statuses(app, "POST /api/features/x", "POST /reports", customer="x" * 300) == [400, 400]
    assert server.events == []


def test_anonymous_visitors_where_the_app_wants_them(server, gate):
    app = FastAPI()
    gate.install(app, customer=customer_of, allow_anonymous=True)
    app.post("/api/features/x")(lambda: {})
    assert statuses(app, "POST /api/features/x", customer=None) == [200]
    assert server.events == []


def test_customer_may_be_async_and_see_what_other_middleware_found_out(server, gate):
    async def customer(request):
        return request.state.user_id

    app = build(gate, customer)

    @app.middleware("http")
    async def login(request, call_next):
        request.state.user_id = 42
        return await call_next(request)

    assert statuses(app, "POST /api/features/x", "POST /reports") == [200, 200]
    assert {e["subject"] for e in server.events} == {"42"}


def test_cors_headers_stand_on_the_block(server, gate):
    server.say("decision", blocked())
    app = build(gate)
    app.add_middleware(CORSMiddleware, allow_origins=["*"])

    async def customer_page():
        transport = httpx.ASGITransport(app=app)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://a") as c:
            return await c.post("/api/features/x", headers={"origin": "http://page", "x-customer": "acme"})

    answer = asyncio.run(customer_page())
    assert answer.status_code == 402 and answer.headers["access-control-allow-origin"] == "*"


def test_paths_behind_a_mount_of_the_server(server, gate):
    server.say("decision", blocked())
    assert statuses(build(gate), "POST /api/features/x", root_path="/v2") == [402]

    async def call(path):
        sent = []
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "root_path": "/v2",
            "headers": [(b"x-customer", b"acme")],
        }

        async def send(message):
            sent.append(message)

        await TidegateMiddleware(None, gate, customer_of)(scope, None, send)
        return sent[0]["status"]

    assert gate.wait_synced(5)
    assert asyncio.run(call("/v2/api/features/x")) == 402


class TestRequire:
    def test_checks_and_records(self, server, gate):
        answers = run(build(gate), *["POST /reports"] * 6)
        assert [r.status_code for r in answers] == [200] * 5 + [402]
        assert answers[-1].headers["content-type"] == "application/problem+json"
        assert answers[-1].headers["cache-control"] == "no-store"
        assert answers[-1].json()["feature"] == "reports" and answers[-1].json()["used"] == 5
        assert [e["type"] for e in server.events] == ["reports"] * 5

    def test_failure_does_not_count(self, server, gate):
        assert statuses(build(gate), "POST /reports?fail=1") == [422]
        assert server.events == []

    def test_gives_the_decision_and_leaves_values_to_the_app(self, server, gate):
        assert statuses(build(gate), "POST /generate", "POST /generate", "POST /generate") == [200, 200, 402]
        assert [e["data"] for e in server.events] == [{"tokens": 812}] * 2

    def test_with_a_dependency_that_knows_the_customer(self, server, gate):
        app = FastAPI()
        gate.install(app)

        def current_user(request: Request):
            return request.headers["x-customer"].upper()

        @app.post("/reports")
        def report(user: str = Depends(current_user), d=Depends(gate.require("reports", customer=current_user))):
            return {"user": user, "plan": d.plan}

        assert run(app, "POST /reports")[0].json() == {"user": "ACME", "plan": "free"}
        assert [e["subject"] for e in server.events] == ["ACME"]

    def test_twice_and_by_trigger_is_one_use(self, server, gate):
        app = build(gate)

        @app.post("/api/features/both/more", dependencies=[Depends(gate.require("api"))] * 2)
        def both():
            return {}

        assert statuses(app, "POST /api/features/both/more") == [200]
        assert len(server.events) == 1

    def test_in_a_mounted_app(self, server, gate):
        server.say("decision", blocked(feature="reports"))
        app, inner = build(gate), FastAPI()
        app.mount("/inner", inner)

        @inner.post("/reports", dependencies=[Depends(gate.require("reports"))])
        def report():
            return {}

        answers = run(app, "POST /inner/reports") + run(app, "POST /inner/reports", customer="other")
        assert [r.status_code for r in answers] == [402, 200]
        assert answers[0].headers["cache-control"] == "no-store"
        assert [e["subject"] for e in server.events] == ["other"]

    def test_an_answer_of_the_apps_own(self, server, gate):
        server.say("decision", blocked(feature="reports"))
        app = build(gate)

        @app.exception_handler(Blocked)
        async def own(request, error):
            return JSONResponse({"mine": error.decision.feature}, status_code=error.status_code)

        answer = run(app, "POST /reports")[0]
        assert (answer.status_code, answer.json()) == (402, {"mine": "reports"})

    def test_without_install(self, gate):
        app = FastAPI()

        @app.post("/reports", dependencies=[Depends(gate.require("reports"))])
        def report():
            return {}

        assert statuses(app, "POST /reports") == [500]

    def test_options_passes_uncounted(self, server, gate):
        app = build(gate)
        app.options("/reports", dependencies=[Depends(gate.require("reports"))])(lambda: {})
        app.options("/own", dependencies=[Depends(gate.require("reports", customer=lambda: None))])(lambda: {})
        assert statuses(app, "OPTIONS /reports", "OPTIONS /own", customer=None) == [200, 200]
        assert server.events == []

    def test_does_not_show_in_the_documentation(self, gate):
        operation = build(gate).openapi()["paths"]["/reports"]["post"]
        assert [p["name"] for p in operation["parameters"]] == ["fail"]


class TestLife:
    @pytest.mark.parametrize("style", ["events", "lifespan", "router"])
    def test_the_apps_own_start_and_end_still_happen(self, server, gate, style):
        seen = []

        @asynccontextmanager
        async def own(app):
            seen.append("up")
            yield
            await gate.record("acme", "api")
            seen.append("down")

        app = FastAPI()
        if style == "events":
            app.on_event("startup")(lambda: seen.append("up"))
            app.on_event("shutdown")(lambda: (gate.record_nowait("acme", "api"), seen.append("down")))
        else:
            app.router.lifespan_context = own
        gate.install(app)
        run(app)
        assert seen == ["up", "down"]
        assert len(server.events) == 1  # recorded while going down, delivered all the same

    def test_starts_without_tidegate(self, make):
        gate = make("http://127.0.0.1:1")
        assert statuses(build(gate), "POST /api/features/x", "POST /reports", "GET /free") == [200] * 3

    def test_closed_before_the_first_sync(self, make):
        gate = make("http://127.0.0.1:1", fail="closed")
        app = build(gate)
        answers = run(app, "POST /api/features/x", "POST /reports", "GET /free")
        assert [r.status_code for r in answers] == [503] * 3
        assert answers[0].headers["retry-after"] == "1" and answers[0].json()["type"].endswith(":no-decision")
        assert statuses(app, "GET /free", customer=None) == [200]
        assert statuses(app, "OPTIONS /free") == [405]  # the app's own answer

    def test_without_a_lifespan_it_begins_with_the_first_request(self, server, gate):
        async def go():
            transport = httpx.ASGITransport(app=build(gate))
            async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
                return (await client.post("/api/features/x", headers={"x-customer": "acme"})).status_code

        assert asyncio.run(go()) == 200
        eventually(lambda: gate.status().synced)

    def test_disabled(self, server, monkeypatch):
        monkeypatch.setenv("TIDEGATE_DISABLED", "1")
        server.say("decision", blocked())
        gate = Tidegate(server.url, fail="closed")
        assert statuses(build(gate), "POST /api/features/x", "POST /reports", "GET /export") == [200] * 3
        assert server.events == [] and server.streams == []

    def test_install_comes_first(self, gate):
        app = FastAPI()
        statuses(app, "GET /")
        with pytest.raises(RuntimeError):
            gate.install(app)

    def test_triggers_without_customer_are_told(self, gate, caplog):
        assert statuses(build(gate, None), "POST /api/features/x", "POST /api/features/x") == [200, 200]
        assert caplog.text.count("the triggers limit nobody") == 1


def test_the_event_loop_is_never_blocked(server, gate):
    """While Tidegate takes nothing, requests are answered all the same."""
    server.refusals += [(503, {"Retry-After": "1"}, {})] * 100
    server.say("decision", decision(limit=None, reason="unlimited"))

    async def go():
        app = build(gate)
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
                calls = [client.post("/api/features/x", headers={"x-customer": "acme"}) for _ in range(100)]
                answers = await asyncio.wait_for(asyncio.gather(*calls), 10)
                server.refusals.clear()
        return answers

    assert {r.status_code for r in asyncio.run(go())} == {200}
    assert len({e["id"] for e in server.events}) == 100


def test_hostile_ids_messages_and_links(server, gate):
    hostile = 'Stop\r\nSet-Cookie: a=b "<script>" \u2028é'
    server.say("decision", blocked("evil", message=hostile, upgrade_url="https://x.example/\r\nX: y"))
    (answer,) = run(build(gate), "POST /api/features/x", customer="evil")
    assert (answer.status_code, answer.json()["detail"]) == (402, hostile)
    assert "set-cookie" not in answer.headers and "x" not in answer.headers
    assert statuses(build(gate), "POST /api/features/x", customer="a" * (1 << 20)) == [400]
    assert not server.events
