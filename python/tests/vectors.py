"""The cases of docs/vectors, and random ones from the functions of Tidegate itself."""

import json
import os
import random
import shutil
import subprocess

import pytest

from real import ROOT

RANDOM = 4000


def committed(kind):
    """The cases of a committed table."""
    return json.loads((ROOT / "docs" / "vectors" / f"{kind}.json").read_text(encoding="utf-8"))["cases"]


def drawn(kind):
    """Random cases of a kind and the seed that repeats them; VECTORS_SEED sets it."""
    go = shutil.which("go")
    if go is None:
        missing = "random vectors need go on the PATH"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    seed = os.environ.get("VECTORS_SEED") or str(random.SystemRandom().randrange(1 << 63))
    command = [go, "run", "./internal/test/vectors", "-kind", kind, "-n", str(RANDOM), "-seed", seed]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return seed, json.loads(done.stdout)["cases"]


def differences(cases, answer):
    """The cases in which `answer` differs from `want`, each as text."""
    found = []
    for case in cases:
        got, want = answer(case), case["want"]
        if got != want:
            found.append(f"{json.dumps(case, ensure_ascii=False, default=str)}\n  got {got}")
    return found
