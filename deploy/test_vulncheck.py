"""`.ci/vulncheck`: a database that is away is no success, and no finding."""

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / ".ci" / "vulncheck"
AWAY = 'govulncheck: fetching vulnerabilities: Get "https://vuln.go.dev/index/modules.json.gz": no such host'


@pytest.mark.parametrize(
    "said, ended, code",
    [
        ("", 0, 0),
        ("", 3, 3),
        (AWAY, 1, 75),
        ("creating client: unrecognized vulndb format", 1, 75),
        ("govulncheck: loading packages: there are errors", 1, 1),
    ],
)
def test_each_outcome_has_a_code(tmp_path, said, ended, code):
    program = tmp_path / "govulncheck"
    program.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{said}\nEND\nexit {ended}\n")
    program.chmod(0o755)
    done = subprocess.run([SCRIPT, program, "./..."], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert ("NOTHING WAS CHECKED" in done.stderr) == (code == 75)
    assert said in done.stderr
