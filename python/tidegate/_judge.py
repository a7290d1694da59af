"""The decision that follows from what is known here: pure functions, time is a value."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Optional

from ._decision import Decision, Gate, Number, Reason


def standing(known: Optional[Decision], now: datetime) -> Optional[Decision]:
    """`known` as it stands at `now`.

    When its window has ended, or its block has expired, plan and limit still hold
    but nothing is used yet. What is not in the plan does not come back by time.
    """
    if known is None or known.reason == Reason.NOT_IN_PLAN:
        return known
    ended = known.window_end is not None and known.window_end <= now
    unblocked = not known.allowed and known.unblocks_at is not None and known.unblocks_at <= now
    if not ended and not unblocked:
        return known
    return replace(
        known,
        allowed=True,
        reason=Reason.UNLIMITED if known.limit is None else Reason.WITHIN_LIMIT,
        used=0,
        remaining=known.limit,
        window_start=None,
        window_end=None,
        unblocks_at=None,
        message="",
        would_block=False,
    )


def judge(
    gate: Gate, known: Optional[Decision], used: Number, customer: str, default_plan: str, now: datetime
) -> Decision:
    """Decide about a customer.

    `known` is what `standing` returned, None for a customer of whom Tidegate has
    said nothing: one of the default plan, within its limit. `used` is the estimate
    that includes the uses that Tidegate cannot have heard of yet.
    """
    d = known if known is not None else _unknown(gate, customer, default_plan, now)
    if gate.off:
        return replace(d, allowed=True, reason=Reason.GATE_OFF, would_block=False, message="", unblocks_at=None)
    if not d.allowed:
        return d
    if known is None and not gate.in_plan:
        return _block(gate, replace(d, limit=0, remaining=0), Reason.NOT_IN_PLAN, now)
    if d.reason == Reason.GATE_OFF:  # said before the gate went on again
        d = replace(d, reason=Reason.UNLIMITED if d.limit is None else Reason.WITHIN_LIMIT)
    if d.limit is None or d.would_block and gate.shadows(now):
        return d
    if used >= d.limit:
        return _block(gate, replace(d, used=used, remaining=0), Reason.LIMIT_REACHED, now)
    if d.used is None:
        return d
    return replace(d, used=used, remaining=d.limit - used)


def no_decision(customer: str, feature: str, allowed: bool, gate: Optional[Gate], now: datetime) -> Decision:
    """What holds before the first sync and for a feature that no gate has: the fail policy."""
    return Decision(
        customer=customer,
        feature=feature,
        allowed=allowed,
        reason=Reason.NO_DECISION,
        upgrade_url=gate.upgrade_url if gate else "",
        decided_at=now,
    )


def _unknown(gate: Gate, customer: str, default_plan: str, now: datetime) -> Decision:
    return Decision(
        customer=customer,
        feature=gate.feature,
        allowed=True,
        reason=Reason.UNLIMITED if gate.limit is None else Reason.WITHIN_LIMIT,
        plan=default_plan,
        limit=gate.limit,
        upgrade_url=gate.upgrade_url,
        decided_at=now,
    )


def _block(gate: Gate, d: Decision, why: str, now: datetime) -> Decision:
    d = replace(
        d,
        message=gate.message or d.message,
        upgrade_url=d.upgrade_url or gate.upgrade_url,
        decided_at=now,
        # A rolling window lets go earlier than it ends; only Tidegate knows when.
        unblocks_at=d.window_end if d.limit and gate.window != "rolling" else None,
    )
    if gate.shadows(now):
        return replace(d, allowed=True, reason=Reason.SHADOW, would_block=True, unblocks_at=None)
    return replace(d, allowed=False, reason=why, would_block=False)
