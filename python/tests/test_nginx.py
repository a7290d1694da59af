"""nginx with the recipe in deploy/gateways, in front of the example app with its own gates disabled."""

import re
from contextlib import contextmanager

import httpx
import pytest

from real import MESSAGE, ROOT, Process, eventually, find_program, serving, start_dev, used

RECIPE = ROOT / "deploy" / "gateways" / "nginx.conf"
CUSTOMERS = {"key-of-acme": "acme-nginx", "key-of-other": "other-nginx"}


def host(url):
    return str(url).split("//")[1].rstrip("/")


@contextmanager
def nginx(folder, tidegate_url, app_url, customers=CUSTOMERS):
    """The real nginx, as any user; only the recipe's addresses are replaced."""
    program = find_program("nginx", "nginx")
    socket = folder / "nginx.sock"
    recipe = RECIPE.read_text()
    for pattern, there in (
        (r"127\.0\.0\.1:8080", host(tidegate_url)),
        (r"127\.0\.0\.1:8000", host(app_url)),
        (r"listen 80;", f"listen unix:{socket};"),
    ):
        recipe, n = re.subn(pattern, there, recipe)
        assert n == 1, pattern
    (folder / "recipe.conf").write_text(recipe)
    (folder / "customers.map").write_text("".join(f'"{key}" "{who}";\n' for key, who in customers.items()))
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; error_log stderr; pid {folder}/pid; events {{}}\n"
        f"http {{ access_log off; {temporary} include {folder}/recipe.conf; }}\n"
    )
    server = Process([program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"])
    try:
        eventually(lambda: socket.exists() or server.child.poll() is not None, 20)
        assert server.child.poll() is None, server.output
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://app", timeout=20) as client:
            yield client
    finally:
        server.stop()


def post(client, key, path="/api/features/search", **headers):
    return client.post(path, headers={"x-api-key": key, **headers}, content=b"body")


@pytest.fixture
def gateway(tidegate, tmp_path):
    with serving(tidegate, TIDEGATE_DISABLED="1") as app, nginx(tmp_path, tidegate.url, app.base_url) as client:
        yield client


def test_nginx_blocks_at_the_limit_with_the_whole_answer(gateway, tidegate):
    assert [post(gateway, "key-of-acme").status_code for _ in range(100)] == [200] * 100
    eventually(lambda: post(gateway, "key-of-acme").status_code != 200, 20)
    answer = post(gateway, "key-of-acme")
    assert answer.status_code == 402, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    problem = answer.json()
    assert (problem["detail"], problem["status"], problem["limit"]) == (MESSAGE, 402, 100)
    assert problem["upgrade_url"].startswith("http") and problem["unblocks_at"]
    assert used(tidegate, "acme-nginx") >= 100

    assert post(gateway, "key-of-other").status_code == 200  # somebody else
    assert gateway.get("/usage", headers={"x-customer": "any"}).status_code == 200  # no gate
    tidegate.run("dev", "upgrade", "acme-nginx", "--plan", "pro")
    eventually(lambda: post(gateway, "key-of-acme").status_code == 200, 20)


def test_nginx_believes_nothing_that_a_visitor_sends(gateway):
    assert post(gateway, "forged").status_code == 401
    forged = {
        "x-customer-id": "somebody",
        "x-forwarded-uri": "/free",
        "x-original-uri": "/free",
        "x-forwarded-method": "GET",
        "x-original-url": "http://app/free",
        "x_original_uri": "/free",
        "x-tidegate-key": "forged",
    }
    assert post(gateway, "forged", **forged).status_code == 401
    assert post(gateway, "forged", "/api//./features/%78").status_code == 401


def test_nginx_says_why_it_refuses_an_address(gateway):
    answer = post(gateway, "key-of-other", "/free/%ff")
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:tidegate:unreadable" and answer.json()["status"] == 400


def test_nginx_lets_pass_while_tidegate_is_away(binary, tidegate, tmp_path):
    dev = start_dev(binary, str(tmp_path))
    with serving(tidegate, TIDEGATE_DISABLED="1") as app, nginx(tmp_path, dev.url, app.base_url) as client:
        assert post(client, "forged").status_code == 401
        dev.stop()
        assert post(client, "key-of-other").status_code == 200
