#!/usr/bin/env bash
# Makes a release from a clean main: `make release VERSION=v0.3.0`. It gives that
# version to the Python package, the Kubernetes manifests and what our Go modules
# require of each other, dates the changelog, commits and tags. It pushes nothing.
# docs/releasing.md says what comes before and after.
set -euo pipefail
cd "$(git rev-parse --show-toplevel)"

version=${1:-}
python=python/tidegate/__init__.py # the only place that says the Python package's version
manifest=deploy/kubernetes/tidegate.yaml

fail() { echo "release: $*" >&2; exit 1; }

[[ $version =~ ^v[01]\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-rc\.[1-9][0-9]*)?$ ]] ||
  fail "VERSION is \"$version\", give one like v0.3.0 or v0.3.0-rc.1; v2 would need other paths of the Go modules"
number=${version#v}
[ "$(git branch --show-current)" = main ] || fail "releases are made on the branch main"
[ -z "$(git status --porcelain)" ] || fail "the tree is not clean: commit or stash what git status shows"
taken=$(git tag --list "$version" "*/$version")
[ -z "$taken" ] || fail "tagged before:" $taken
awk '/^## \[/ {inside = /^## \[Unreleased\]/; next} inside && NF {found = 1} END {exit !found}' CHANGELOG.md ||
  fail "CHANGELOG.md says nothing under [Unreleased]"

replace() { # replace SED-EXPRESSION FILE; sed -i differs between systems
  sed "$1" "$2" > "$2.new"
  cat "$2.new" > "$2"
  rm "$2.new"
}

replace "s/^__version__ = .*/__version__ = \"${number/-rc./rc}\"/" "$python"
grep -q "^__version__ = \"${number/-rc./rc}\"" "$python" || fail "$python has no line __version__ = …"
replace "s/image: tidegate:v.*/image: tidegate:$version/" "$manifest"
grep -q "image: tidegate:$version\$" "$manifest" || fail "$manifest has no line image: tidegate:v…"
replace "s/^## \[Unreleased\]\$/&\\
\\
## [$number] - $(date -u +%F)/" CHANGELOG.md
go run ./internal/modules version "$version"
git commit --quiet --all --message "Release $version"
push=$(go run ./internal/modules tag)
echo "Release $version is committed and tagged. To publish it: $push"
