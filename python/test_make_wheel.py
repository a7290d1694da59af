"""The wheel of a commit is the same bytes whoever builds it. Runs in .venv only, which has the locked setuptools."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
COMMIT = 1_700_000_000  # when the copies were committed


def checkout(root, umask, age):
    """A repository of its own with the sources of the wheel, with modes and times of its own."""
    before = os.umask(umask)
    try:
        names = subprocess.run(["git", "ls-files", "tidegate"], cwd=HERE, check=True, capture_output=True, text=True)
        for name in [*names.stdout.split(), "README.md", "pyproject.toml", "make_wheel.py"]:
            copy = root / "python" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((HERE / name).read_bytes())
            os.utime(copy, (age, age))
        shutil.copyfile(HERE.parent / "LICENSE", root / "LICENSE")
    finally:
        os.umask(before)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    who = {f"GIT_{role}_{what}": "test" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    when = {f"GIT_{role}_DATE": f"{COMMIT} +0000" for role in ("AUTHOR", "COMMITTER")}
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "Work"]):
        subprocess.run(["git", *command], cwd=root, env={**clean, **who, **when}, check=True)


def build(root, **environment):
    dist = root / "dist"
    clean = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    command = [sys.executable, str(root / "python" / "make_wheel.py"), str(dist)]
    subprocess.run(command, env={**clean, **environment}, check=True)
    (wheel,) = dist.iterdir()
    return wheel


def test_two_checkouts_give_the_same_wheel(tmp_path):
    one, other = tmp_path / "one", tmp_path / "another" / "place"
    checkout(one, umask=0o022, age=1_600_000_000)
    checkout(other, umask=0o077, age=1_650_000_000)
    # What a former build or an editor has left behind belongs to nobody's wheel.
    stale = other / "python" / "build" / "lib" / "tidegate" / "stale.py"
    stale.parent.mkdir(parents=True)
    stale.write_text("")
    (other / "python" / "tidegate" / "scratch.py").write_text("")
    wheel = build(one, TZ="UTC", HOME="/nonexistent")
    same = build(other, TZ="Asia/Tokyo", HOME=str(tmp_path), LC_ALL="C")
    assert wheel.name == same.name
    assert wheel.read_bytes() == same.read_bytes()
    names = zipfile.ZipFile(wheel).namelist()
    assert "tidegate/__init__.py" in names and "tidegate/py.typed" in names
    assert any(name.endswith("LICENSE") for name in names)
    assert not [name for name in names if "stale" in name or "scratch" in name]
