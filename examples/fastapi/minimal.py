from fastapi import Depends, FastAPI, Request
from tidegate import Tidegate

app = FastAPI()
gate = Tidegate("http://127.0.0.1:8080")


def customer(request: Request):
    return request.headers.get("x-customer")  # your login's


gate.install(app, customer=customer)  # gates what the triggers in tidegate.yaml name


@app.post("/api/features/search")
async def search():
    return "found"


@app.post("/reports", dependencies=[Depends(gate.require("reports"))])  # or by name
async def report():
    return "written"
