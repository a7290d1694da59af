"""A FastAPI app whose features are gated by Tidegate, in three ways.

    tidegate dev                        # in this folder: it has the tidegate.yaml
    pip install ../../python uvicorn fastapi
    uvicorn main:app --port 8000
    curl -X POST -H 'X-Customer: acme' http://127.0.0.1:8000/api/features/search

The 101st call is answered with 402 and a link to upgrade, until
`tidegate dev upgrade acme --plan pro`.
"""

from typing import Any, Dict, Optional

from fastapi import Depends, FastAPI, Header, HTTPException, Request

from tidegate import Decision, Tidegate

app = FastAPI(title="Gated")
gate = Tidegate(source="fastapi-example")  # TIDEGATE_URL and TIDEGATE_API_KEY say where and with which key


def customer_of(request: Request) -> Optional[str]:
    """Return the customer of a request. A real app asks its login."""
    return request.headers.get("x-customer")


def current_customer(x_customer: Optional[str] = Header(default=None)) -> str:
    """The same as a dependency, which `require` can ask, too."""
    if not x_customer:
        raise HTTPException(401, "send the header X-Customer")
    return x_customer


gate.install(app, customer=customer_of)


@app.post("/signup")
async def signup(email: str, customer: str = Depends(current_customer)) -> Dict[str, Any]:
    """Tells Tidegate where the upgrade prompt is to be mailed."""
    await gate.identify(customer, email=email)
    return {"customer": customer}


@app.post("/api/features/{name}")
async def feature(name: str) -> Dict[str, Any]:
    """Gated by its trigger in tidegate.yaml: nothing to do here."""
    return {"feature": name}


@app.post("/reports", dependencies=[Depends(gate.require("reports"))])
def report() -> Dict[str, Any]:
    """Gated by name; one use counts when this succeeds."""
    return {"report": "done"}


@app.post("/generate")
async def generate(
    prompt: str,
    customer: str = Depends(current_customer),
    decision: Decision = Depends(gate.require("tokens", customer=current_customer)),
) -> Dict[str, Any]:
    """Gated by a sum: the amount is known only afterwards."""
    tokens = len(prompt.split()) * 100
    await gate.record(customer, "tokens", value=tokens, properties={"model": "small"})
    return {"tokens": tokens, "limit": decision.limit}


@app.get("/usage")
def usage(customer: str = Depends(current_customer)) -> Dict[str, Any]:
    """For a front end that shows the remaining uses before the limit is reached."""
    return {feature: gate.check(customer, feature).to_json() for feature in ("api", "reports", "tokens")}
