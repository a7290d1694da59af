"""Make .venv in the repository, or bring it up to date: `python3 python/make_venv.py LOCK…`.

A lock file is installed once; it is installed again when it, or the Python, has changed.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
OLDEST = (3, 9)


def digest(lock):
    """What a lock and the Python that runs this come to."""
    return hashlib.sha256(f"{sys.executable} {sys.version}\n".encode() + lock.read_bytes()).hexdigest()


def stamp(lock):
    """The file that says which content of a lock is installed."""
    return VENV / f"{lock.name}.installed"


def installed(lock):
    return stamp(lock).exists() and stamp(lock).read_text() == digest(lock)


def has_ensurepip():
    """Report whether venv can bring pip along: Debian's python3 cannot without python3-venv."""
    try:
        import ensurepip

        return bool(ensurepip.version())
    except (ImportError, AttributeError, OSError):
        return False


def has_pip():
    """Report whether this Python's pip can install into another environment (`--python` came in 22.3)."""
    try:
        import pip

        return tuple(int(part) for part in pip.__version__.split(".")[:2]) >= (22, 3)
    except (ImportError, AttributeError, ValueError):
        return False


def run(*command):
    done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(f"make_venv: {' '.join(str(part) for part in command)} failed")


def main(locks):
    if sys.version_info < OLDEST:
        found = ".".join(map(str, sys.version_info[:2]))
        sys.exit(f"make_venv: {sys.executable} is Python {found}, 3.9 or newer is needed: make PYTHON=python3.11 …")
    if all(installed(lock) for lock in locks):
        return
    if not (has_ensurepip() or has_pip()):
        sys.exit(f"make_venv: {sys.executable} cannot make a virtual environment: apt-get install python3-venv")
    if not installed(locks[0]):
        # Anew, so that nothing stays which the lock no longer names.
        run(sys.executable, "-m", "venv", "--clear", *([] if has_ensurepip() else ["--without-pip"]), VENV)
    pip = [PYTHON, "-m", "pip"] if has_ensurepip() else [sys.executable, "-m", "pip", "--python", PYTHON]
    for lock in locks:
        if not installed(lock):
            print(f"Installing {lock.name} into {VENV}", flush=True)
            run(*pip, "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", lock)
            stamp(lock).write_text(digest(lock))


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
