"""The meaning of a decision at a later moment: pure functions, time is an argument.

The server follows the same rule (internal/gate/later.go); the tests compare the two by
docs/vectors/later.json.
"""

from __future__ import annotations

from datetime import datetime
from typing import Optional

from ._decision import Decision, Number, Reason, as_number, changed, message_of
from ._gate import Gate

#: The reasons that this version knows. A decision with another one is passed on as it is.
_KNOWN = frozenset(
    (
        Reason.WITHIN_LIMIT,
        Reason.NEAR_LIMIT,
        Reason.LIMIT_REACHED,
        Reason.UNLIMITED,
        Reason.OVERRIDE,
        Reason.SHADOW,
        Reason.NOT_IN_PLAN,
        Reason.GATE_OFF,
    )
)


def later(
    gate: Gate,
    default_plan: str,
    customer: str,
    decision: Optional[Decision],
    used: Optional[Number],
    now: datetime,
    exact: bool = False,
) -> Decision:
    """Return the decision about a customer at `now`, from the newest one and the present gate.

    A customer without a decision (None) is on the default plan. `used` is the usage in
    the window that contains `now`, as far as this process knows it: a lower bound, or all
    of it if `exact`. It can block, and never unblocks.

    A block ends at its `unblocks_at`. The usage of a window does not carry over to the
    next one. The gate's switches come last: off allows; shadow, and an `enforce_from`
    that is still to come, allow and say `would_block`.
    """
    if decision is None:
        decision = _unknown(gate, default_plan, customer)
    elif decision.reason == Reason.NO_DECISION:
        return decision  # the fail policy decided, as nothing is known
    else:
        decision = renewed(gate, default_plan, decision, now)
    return _switched(gate, _counted(gate, decision, used, exact), now)


def no_decision(customer: str, feature: str, allowed: bool) -> Decision:
    """Return the decision of the fail policy: before the first sync, and for a feature without a gate."""
    return Decision(customer, feature, allowed, Reason.NO_DECISION)


def renewed(gate: Gate, default_plan: str, d: Decision, now: datetime) -> Decision:
    """Return a decision as the time that has passed changes it, before usage and the gate's switches do."""
    if d.reason == Reason.GATE_OFF and not gate.off:  # the gate has been switched on since
        d = changed(d, reason=_allowed_reason(d))
    if d.would_block and not gate.shadow and _enforced_since(gate, d, now):
        outside = d.limit == 0 and (d.plan != default_plan or not gate.in_plan)
        reason = Reason.NOT_IN_PLAN if outside else Reason.LIMIT_REACHED
        d = changed(d, allowed=False, would_block=False, reason=reason)
    if (not d.allowed or d.would_block) and d.unblocks_at is not None and d.unblocks_at <= now:
        d = changed(
            d, allowed=True, would_block=False, reason=_allowed_reason(d), used=None, remaining=None,
            unblocks_at=None, message="",
        )  # fmt: skip
    if d.window_end is not None and d.window_end <= now and d.allowed and not d.would_block:
        reason = Reason.WITHIN_LIMIT if d.reason == Reason.NEAR_LIMIT else d.reason
        d = changed(d, window_start=None, window_end=None, used=None, remaining=None, reason=reason)
    return d


def _unknown(gate: Gate, default_plan: str, customer: str) -> Decision:
    reason = Reason.UNLIMITED if gate.limit is None else Reason.WITHIN_LIMIT
    d = Decision(customer, gate.feature, True, reason, default_plan, gate.limit, upgrade_url=gate.upgrade_url)
    return d if gate.in_plan else changed(d, allowed=False, reason=Reason.NOT_IN_PLAN, limit=0, remaining=0)


def _enforced_since(gate: Gate, d: Decision, now: datetime) -> bool:
    """Report whether `enforce_from` has come since the decision was made."""
    start = gate.enforce_from
    return start is not None and start <= now and (d.decided_at is None or d.decided_at < start)


def _allowed_reason(d: Decision) -> str:
    return Reason.UNLIMITED if d.limit is None else Reason.WITHIN_LIMIT


def _counted(gate: Gate, d: Decision, used: Optional[Number], exact: bool) -> Decision:
    """Put the known usage into a decision, and block at the limit."""
    if d.reason not in _KNOWN:
        return d
    shown = d.used
    if used is not None and (exact or shown is None or used > shown):
        shown = used
    if d.limit is None:
        return d if shown is d.used else changed(d, used=shown)
    reason = d.reason
    if d.allowed and not d.would_block and not gate.off:
        if d.limit <= 0 or used is not None and shown is not None and shown >= d.limit:
            # Usage falls out of a rolling window before it ends: only Tidegate knows when.
            ends = d.limit > 0 and gate.window != "rolling"
            return changed(
                d, allowed=False, reason=Reason.LIMIT_REACHED, used=shown, remaining=0,
                unblocks_at=d.window_end if ends else d.unblocks_at,
            )  # fmt: skip
        if used is not None and shown is not None and gate.near and reason != Reason.OVERRIDE:
            near = shown > 0 and _nanos(shown) >= _nanos(d.limit) * gate.near // 100
            reason = Reason.NEAR_LIMIT if near else Reason.WITHIN_LIMIT
    remaining = d.remaining if shown is None else as_number(max(d.limit - shown, 0))
    if reason == d.reason and shown == d.used and remaining == d.remaining:
        return d
    return changed(d, reason=reason, used=shown, remaining=remaining)


def _nanos(n: Number) -> int:
    return n * 10**9 if isinstance(n, int) else int(n.scaleb(9))


def _switched(gate: Gate, d: Decision, now: datetime) -> Decision:
    """Put the gate's switches over a decision, and the message under a block."""
    if gate.off:
        return changed(d, allowed=True, would_block=False, reason=Reason.GATE_OFF, unblocks_at=None, message="")
    if d.allowed and not d.would_block:
        return d
    message = d.message or message_of(d.reason, gate.message)
    if gate.shadow or gate.enforce_from is not None and now < gate.enforce_from:
        d = changed(d, allowed=True, would_block=True, reason=Reason.SHADOW)
    return changed(d, message=message, upgrade_url=d.upgrade_url or gate.upgrade_url)
