"""Tidegate for Python apps: gates, decisions in memory, usage in the background.

::

    from fastapi import Depends, FastAPI
    from tidegate import Tidegate

    app = FastAPI()
    gate = Tidegate("http://127.0.0.1:8080")
    gate.install(app, customer=lambda request: request.headers.get("x-customer"))

    @app.post("/reports", dependencies=[Depends(gate.require("reports"))])
    async def report() -> dict: ...

Importing this package imports neither FastAPI nor Starlette; `Tidegate.install`
and `Tidegate.require` do.
"""

from ._client import Tidegate
from ._decision import Decision, Reason
from ._errors import TidegateError
from ._gate import Gate
from ._middleware import TidegateMiddleware
from ._runtime import Status
from ._trigger import Trigger

__all__ = ["Decision", "Gate", "Reason", "Status", "Tidegate", "TidegateError", "TidegateMiddleware", "Trigger"]
__version__ = "0.1.0"
