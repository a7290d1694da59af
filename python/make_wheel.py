"""Build the wheel from what git knows of this folder: `.venv/bin/python python/make_wheel.py DIST`.

One commit gives one sequence of bytes, wherever and whenever it is built: from a copy without leftovers, with the modes
and times of no machine, and by the locked setuptools.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=HERE, check=True, capture_output=True, text=True).stdout


def main(dist):
    dist = Path(dist).resolve()
    dist.mkdir(parents=True, exist_ok=True)
    environment = dict(os.environ)
    if not environment.get("SOURCE_DATE_EPOCH"):
        environment["SOURCE_DATE_EPOCH"] = git("log", "-1", "--format=%ct").strip()
    os.umask(0o022)
    with tempfile.TemporaryDirectory() as folder:
        names = git("ls-files", "-z", "tidegate", "README.md", "pyproject.toml").split("\0")
        sources = {name: HERE / name for name in names if name}
        sources["LICENSE"] = HERE.parent / "LICENSE"
        for name, source in sources.items():
            copy = Path(folder, name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(source.read_bytes())
        build = [sys.executable, "-c", BUILD, str(dist)]
        done = subprocess.run(build, cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"make_wheel: {done.stdout}{done.stderr}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make_wheel.py DIST")
    main(sys.argv[1])
