"""A small SaaS: it summarizes texts, 100 of them a month for nothing.

Two commands, in this folder:

    tidegate dev
    uvicorn main:app

then http://127.0.0.1:8000 in a browser. Everything about limits, mails and payments
is in tidegate.yaml and in Tidegate; below, the lines that know of it are marked.
"""

import logging
import re
from pathlib import Path
from typing import Any, Dict, Optional

from fastapi import BackgroundTasks, Depends, FastAPI, Form, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool
from users import Taken, Users

from tidegate import Tidegate, TidegateError  # Tidegate

app = FastAPI(title="Gist")
users = Users()
gate = Tidegate(source="gist")  # Tidegate: TIDEGATE_URL and TIDEGATE_API_KEY say where
log = logging.getLogger("uvicorn.error")
PAGE = Path(__file__).with_name("page.html")


async def customer_of(request: Request) -> Optional[str]:
    """Whose request it is; asked once."""
    if not hasattr(request.state, "customer"):
        session = request.cookies.get("session")
        request.state.customer = await run_in_threadpool(users.customer_of, session)
    customer: Optional[str] = request.state.customer
    return customer


async def signed_in(request: Request) -> str:
    """For routes that somebody must be signed in for."""
    customer = await customer_of(request)
    if customer is None:
        raise HTTPException(401, "sign in first")
    return customer


gate.install(app, customer=customer_of)  # Tidegate: gates what the triggers in tidegate.yaml name


def _session(response: Response, customer: str) -> Dict[str, str]:
    session = users.open_session(customer)
    response.set_cookie("session", session, httponly=True, samesite="lax", max_age=30 * 24 * 3600)
    return {"customer": customer}


async def _identify(customer: str, email: str) -> None:
    try:
        await gate.identify(customer, email=email)  # Tidegate: where the upgrade prompt goes
    except TidegateError as error:  # a prompt without an address waits for one
        log.warning("Tidegate does not know an address yet: %s", error)


@app.post("/signup")
async def sign_up(
    response: Response, later: BackgroundTasks, email: str = Form(), password: str = Form()
) -> Dict[str, str]:
    """Create an account and sign in."""
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", email) or len(password) < 8:
        raise HTTPException(422, "an address, and a password of 8 characters or more")
    try:
        customer = await run_in_threadpool(users.sign_up, email, password)
    except Taken:
        raise HTTPException(409, "this address has an account: sign in") from None
    later.add_task(_identify, customer, email)
    return await run_in_threadpool(_session, response, customer)


@app.post("/signin")
def sign_in(response: Response, email: str = Form(), password: str = Form()) -> Dict[str, str]:
    """Sign in."""
    customer = users.sign_in(email, password)
    if customer is None:
        raise HTTPException(401, "no account with this address and password")
    return _session(response, customer)


@app.post("/api/features/summarize")
def summarize(text: str = Form(), customer: str = Depends(signed_in)) -> Dict[str, Any]:
    """The feature that is worth paying for; the middleware has checked and will count it."""
    sentences = re.split(r"(?<=[.!?])\s+", text.strip())
    return {"summary": max(sentences, key=len), "of": len(sentences)}


@app.get("/me")
def me(customer: str = Depends(signed_in)) -> Dict[str, Any]:
    """What the page shows: plan and what is left."""
    d = gate.check(customer, "summaries")  # Tidegate: a read of memory
    return {
        "customer": customer, "plan": d.plan, "allowed": d.allowed, "limit": d.limit, "used": d.used,
        "message": d.message, "upgrade_url": d.upgrade_url,
    }  # fmt: skip


@app.get("/upgrade")
def upgrade(customer: str = Depends(signed_in)) -> Response:
    """To where one pays: Tidegate's link knows the customer and leads on to Stripe."""
    url = gate.check(customer, "summaries").upgrade_url
    return RedirectResponse(url or "/", status_code=303)


@app.get("/", response_class=HTMLResponse)
def page() -> str:
    """The page."""
    return PAGE.read_text()
