#!/usr/bin/env bash
# Makes what is given to people, out of what is committed, and tries each: the binary as a tarball
# (licences, manual pages, completions, list of dependencies, checksums), the manylinux wheel and the
# sdist.
# Usage: release.sh [DIR]      default release
# Needs Rust, a C compiler, git, Python 3.10 or newer, and PyPI for maturin and ziglang.
set -euo pipefail
cd "$(dirname "$0")/.."

out=$(realpath -m "${1:-release}")
python=${PYTHON3:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# What a step prints may go into a file.
step() { printf '\n== %s\n' "$*" >&2; "$@"; }

# A clean clone: what isn't committed isn't given to anybody.
step git clone --quiet . "$work/clone"
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
export CARGO_TARGET_DIR=$target
mkdir -p "$out"
cd "$work/clone"
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)
host=$(rustc -vV | sed -n 's/^host: //p')

"$python" -m venv "$work/tools"
"$work/tools/bin/python" -m pip install --quiet --disable-pip-version-check maturin==1.16.0 ziglang==0.15.2
PATH="$work/tools/bin:$PATH"

# The binary.
step cargo build --profile dist -p akidb-embed --locked
name=akidb-embed-$version-$host
mkdir -p "$work/$name/man" "$work/$name/completions"
binary=$target/dist/akidb-embed
cp "$binary" README.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT "$work/$name/"
"$binary" man "$work/$name/man"
for shell in bash elvish fish powershell zsh; do
  "$binary" completions "$shell" > "$work/$name/completions/akidb-embed.$shell"
done
step "$python" scripts/dependencies.py akidb-embed "$host" > "$work/$name/dependencies.cdx.json"
"$python" -m json.tool "$work/$name/dependencies.cdx.json" /dev/null
tar -C "$work" -czf "$out/$name.tar.gz" "$name"

# The wheel, for every Linux since glibc 2.17, and the sdist.
step maturin build --manifest-path python/Cargo.toml --release --locked --zig \
  --compatibility manylinux_2_17 --interpreter "$work/tools/bin/python" --out "$out"
step maturin sdist --manifest-path python/Cargo.toml --out "$out"

# Each is tried.
wheel=$(ls -t "$out"/akidb_embedding-"$version"-*.whl | head -1)
sdist=$out/akidb_embedding-$version.tar.gz
mkdir "$work/empty"
cd "$work/empty"
tar -xzf "$out/$name.tar.gz"
step "$name/akidb-embed" similarity "resume a download" "continue a transfer"
for package in "$wheel" "$sdist"; do
  rm -rf "$work/venv"
  "$python" -m venv "$work/venv"
  step "$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$package"
  "$work/venv/bin/python" -c \
    'import akidb_embedding as a; print(a.__version__, a.Embedder().embed(["a text"]).shape)'
  "$work/venv/bin/akidb-embed" --version
done

cd "$out"
sha256sum "$name.tar.gz" "$(basename "$wheel")" "$(basename "$sdist")" > "SHA256SUMS-$host"
ls -l "$out"
