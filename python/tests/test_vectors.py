"""Python decides as Tidegate itself: the tables in docs/vectors, and thousands of random cases."""

import pytest

from tidegate import Decision
from tidegate._answer import blocked, no_customer, unreadable
from tidegate._decision import parse_number, parse_time
from tidegate._gate import Gate, Gates
from tidegate._later import later
from tidegate._target import Unreadable
from tidegate._usage import customer_id
from vectors import committed, differences, drawn

NUMBERS = ("limit", "used", "remaining")
TIMES = ("window_start", "window_end", "unblocks_at", "decided_at", "as_of")


def parsed(document):
    """A decision or an answer with its numbers and moments as values, to be compared."""
    document = dict(document)
    for name in NUMBERS:
        if name in document:
            document[name] = parse_number(document[name])
    for name in TIMES:
        if name in document:
            document[name] = parse_time(document[name])
    return document


def of_later(case):
    """Only the members of `want` are compared."""
    known = Decision.from_json(case["decision"]) if case["decision"] else None
    d = later(
        Gate.from_json(case["gate"]), case["default_plan"], case["customer"], known,
        parse_number(case["used"]), parse_time(case["now"]), case.get("exact", False),
    )  # fmt: skip
    got = d.to_json()
    assert not [name for name in ("message", "upgrade_url", "would_block") if got[name] and name not in case["want"]]
    return parsed({name: got[name] for name in case["want"]})


def of_trigger(case):
    gates = Gates.from_json({"gates": case["gates"]})
    try:
        met = [gate.feature for gate in gates.routes.match(case["method"], [(case["target"],)])]
    except Unreadable:
        return None, [], True
    return met[0] if met else None, met[1:], False


def of_answer(case):
    if case["decision"]:
        answer = blocked(Decision.from_json(case["decision"]))
    else:
        answer = no_customer(case["feature"]) if "feature" in case else unreadable()
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers.get("Retry-After", "0") == str(case["retry_after"])
    return parsed(answer.document)


def of_customer(case):
    try:
        return customer_id(case["id"]) == case["id"]
    except ValueError:
        return False


KINDS = {"later": of_later, "trigger": of_trigger, "answer": of_answer, "customer": of_customer}


def comparable(kind, cases):
    if kind == "trigger":
        return [{**case, "want": (case["want"], case.get("also", []), case.get("refused", False))} for case in cases]
    return cases if kind == "customer" else [{**case, "want": parsed(case["want"])} for case in cases]


@pytest.mark.parametrize("kind", KINDS)
def test_the_committed_tables(kind):
    cases = committed(kind)
    assert len(cases) > 60
    found = differences(comparable(kind, cases), KINDS[kind])
    assert not found, f"{len(found)} of {len(cases)} cases differ, such as\n" + "\n".join(found[:3])


@pytest.mark.parametrize("kind", KINDS)
def test_random_cases(kind):
    seed, cases = drawn(kind)
    found = differences(comparable(kind, cases), KINDS[kind])
    assert not found, f"{len(found)} of {len(cases)} cases differ with VECTORS_SEED={seed}, such as\n" + "\n".join(
        found[:3]
    )
