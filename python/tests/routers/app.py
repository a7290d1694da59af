"""The routes that test_spellings asks for, in FastAPI; with its own gates unless TIDEGATE_DISABLED is set."""

from fastapi import FastAPI, Request, Response

from tidegate import Tidegate

ANY = ["GET", "HEAD", "POST", "PUT", "DELETE"]
ROUTES = [
    ("features", ["/api/features", "/api/features/{rest:path}"], ["POST"]),
    ("export", ["/api/export", "/api/export/"], ANY),
    ("reports", ["/users/{id}/reports", "/users/{id}/reports/"], ["GET", "HEAD"]),
    ("all", ["/api", "/api/{rest:path}"], ["POST"]),
]


def customer_of(request: Request):
    return request.headers.get("x-api-key", "")[len("key-of-") :]


app = FastAPI()
Tidegate().install(app, customer=customer_of)


def add(name, paths, methods):
    async def handler():
        return Response(headers={"x-handler": name})

    for path in paths:
        app.api_route(path, methods=methods)(handler)


for route in ROUTES:
    add(*route)
