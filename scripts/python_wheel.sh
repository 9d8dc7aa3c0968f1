#!/usr/bin/env bash
# Builds the Python wheel, installs it into an empty virtual environment and runs its tests there.
# Usage: python_wheel.sh [PROFILE [clusters]]      default dev; `release` is what people get
# With `clusters`, Ray and Spark are tested, too, on clusters of processes of this machine.
# Python 3.10 or newer is python3, or what PYTHON3 names; without it, it says so and succeeds.
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${1:-dev}
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
python=${PYTHON3:-python3}

if ! "$python" -c 'import sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
  echo "SKIPPED: the Python wheel (no Python 3.10 or newer)"
  exit 0
fi

step() { printf '\n-- %s\n' "$*"; "$@"; }
pip() { "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"; }

# What builds and checks it.
venv=$target/python-tools
[ -d "$venv" ] || "$python" -m venv "$venv"
pip maturin==1.16.0 ruff==0.17.5
tools=$venv/bin
step "$tools/ruff" check python
step "$tools/ruff" format --check python
step cargo fmt --manifest-path python/Cargo.toml --check
# The interpreter that the build asks is no part of what it makes: one stable ABI for all.
export PYO3_PYTHON=$tools/python CARGO_TARGET_DIR=$target
# Clippy as the compiler of this crate alone: its lints without a second pass over all others.
if [ "$profile" = dev ]; then
  export RUSTC_WORKSPACE_WRAPPER=clippy-driver
fi
rm -rf "$target/wheels"
step "$tools/maturin" build --manifest-path python/Cargo.toml --profile "$profile" --locked \
  --interpreter "$tools/python" --compatibility linux --out "$target/wheels" -- -D warnings
wheel=$(echo "$target"/wheels/akidb_embedding-*.whl)
ls -l "$wheel"
# The sdist has all that is compiled: the model is no file of a crate.
step "$tools/maturin" sdist --manifest-path python/Cargo.toml --out "$target/wheels"
tar -tzf "$target"/wheels/akidb_embedding-*.tar.gz | grep '/models/akidb-mini/onnx/model_fp16.onnx$'

# Nothing but the wheel and what it asks for.
venv=$target/python-wheel
rm -rf "$venv"
"$python" -m venv "$venv"
pip "$wheel"
step "$venv/bin/python" -c 'import akidb_embedding; print(akidb_embedding.Embedder().embed(["a"]).shape)'
step "$venv/bin/akidb-embed" --version

# The wheel beside what its tests and its drop-ins need.
venv=$target/python-tests
step scripts/python_tests.sh "$venv"
pip --force-reinstall --no-deps "$wheel"
root=$PWD
cd python
step "$venv/bin/mypy" --python-executable "$venv/bin/python" akidb_embedding
if command -v npm >/dev/null; then
  step npm install --silent --no-audit --no-fund --prefix "$target/pyright" pyright@1.1.414
  step "$target/pyright/node_modules/.bin/pyright" --pythonpath "$venv/bin/python"
else
  echo "SKIPPED: pyright (no npm)"
fi
# Not where the sources are: the wheel is what is tested.
cd "$target"
tests=("$root/python/tests")
if [ "${2:-}" != clusters ]; then
  echo "SKIPPED: Ray and Spark on clusters (scripts/python_wheel.sh $profile clusters)"
  tests+=(--ignore "$root/python/tests/test_ray.py" --ignore "$root/python/tests/test_spark.py")
fi
step "$venv/bin/python" -m pytest -p no:cacheprovider -c "$root/python/pyproject.toml" "${tests[@]}"
