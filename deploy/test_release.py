"""`deploy/release.sh` in a small repository of its own, with two Go modules."""

import os
import re
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("release.sh")
MODULES = Path(__file__).parent.parent / "internal" / "modules"
ROOT = "github.com/tidegate-io/tidegate"
FILES = {
    "CHANGELOG.md": "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- Gates.\n",
    "python/tidegate/__init__.py": '__version__ = "0.1.0"\n',
    "deploy/kubernetes/tidegate.yaml": "image: tidegate:v0.1.0\n---\nimage: tidegate:v0.1.0@sha256:0123\n",
    "go.mod": f"module {ROOT}\n\ngo 1.26\n\nrequire {ROOT}/client v0.1.0\n",
    "main.go": f'package main\n\nimport "{ROOT}/client"\n\nfunc main() {{ println(client.Name) }}\n',
    "client/go.mod": f"module {ROOT}/client\n\ngo 1.25\n",
    "client/client.go": 'package client\n\nconst Name = "gate"\n',
    "client/client_test.go": "package client\n",
    "go.work": f"go 1.26\n\nuse (\n\t.\n\t./client\n)\n\nreplace {ROOT}/client v0.1.0 => ./client\n",
}


class Repository:
    def __init__(self, folder):
        self.folder = folder
        who = {f"GIT_{role}_{what}": "test" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        self.environment = {**clean, **who, "GIT_CONFIG_GLOBAL": os.devnull}
        for name, text in FILES.items():
            self.write(name, text)
        for source in MODULES.glob("*.go"):
            if not source.name.endswith("_test.go"):
                self.write(f"internal/modules/{source.name}", source.read_text())
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit()

    def write(self, name, text):
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)

    def read(self, name):
        return (self.folder / name).read_text()

    def run(self, *command):
        return subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)

    def git(self, *arguments):
        done = self.run("git", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    def commit(self):
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "Work")

    def release(self, version):
        return self.run(str(SCRIPT), version)


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path)


def test_one_version_reaches_every_part(repository):
    done = repository.release("v0.3.0")
    assert done.returncode == 0, done.stderr
    assert repository.git("tag") == ["client/v0.3.0", "v0.3.0"]
    assert repository.git("tag", "--points-at", "HEAD") == ["v0.3.0"]
    assert done.stdout.endswith("git push --atomic origin HEAD client/v0.3.0 v0.3.0\n")
    assert repository.git("status", "--porcelain") == []
    assert repository.read("python/tidegate/__init__.py") == '__version__ = "0.3.0"\n'
    assert repository.read("deploy/kubernetes/tidegate.yaml") == "image: tidegate:v0.3.0\n---\nimage: tidegate:v0.3.0\n"
    assert f"{ROOT}/client v0.3.0\n" in repository.read("go.mod")
    assert re.search(
        r"## \[Unreleased\]\n\n## \[0\.3\.0\] - \d{4}-\d\d-\d\d\n\n### Added", repository.read("CHANGELOG.md")
    )
    built = repository.run("go", "run", ".")  # before the tags are published
    assert (built.returncode, built.stderr) == (0, "gate\n")


def test_a_candidate_has_pythons_spelling(repository):
    assert repository.release("v0.3.0-rc.1").returncode == 0
    assert repository.read("python/tidegate/__init__.py") == '__version__ = "0.3.0rc1"\n'


@pytest.mark.parametrize("version", ["", "0.3.0", "v0.3", "v0.03.0", "v0.3.0-dirty", "v0.3.0-2-gabcdef", "v2.0.0"])
def test_what_is_no_version_is_refused(repository, version):
    done = repository.release(version)
    assert (done.returncode, "VERSION" in done.stderr) == (1, True)


def change_file(repository):
    repository.write("main.go", "package main\n")


def go_elsewhere(repository):
    repository.git("switch", "--quiet", "--create", "work")


def tag_client(repository):
    repository.git("tag", "client/v0.3.0")


def say_nothing(repository):
    repository.write("CHANGELOG.md", "# Changelog\n\n## [Unreleased]\n\n## [0.2.0]\n\n- Gates.\n")
    repository.commit()


@pytest.mark.parametrize(
    "spoil, reason",
    [
        (change_file, "not clean"),
        (go_elsewhere, "branch main"),
        (tag_client, "tagged before: client/v0.3.0"),
        (say_nothing, "says nothing under [Unreleased]"),
    ],
)
def test_a_release_that_cannot_be_made_changes_nothing(repository, spoil, reason):
    spoil(repository)
    before = repository.git("rev-parse", "HEAD"), repository.git("tag"), repository.git("status", "--porcelain")
    done = repository.release("v0.3.0")
    assert (done.returncode, reason in done.stderr) == (1, True), done.stderr
    assert before == (
        repository.git("rev-parse", "HEAD"),
        repository.git("tag"),
        repository.git("status", "--porcelain"),
    )
