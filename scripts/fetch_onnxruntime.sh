#!/bin/sh
# Puts ONNX Runtime's library, and a plugin with a provider, into a Python environment in DIR, out of
# PyPI's packages, for the tests that run on them. Without Python it says so and succeeds.
# Usage: fetch_onnxruntime.sh [DIR]      DIR defaults to target/python
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
dir=${1:-$root/target/python}
package=onnxruntime==1.32.0

if [ -n "$(find "$dir" -name 'libonnxruntime*' -path '*/capi/*' 2>/dev/null)" ]; then
    echo "onnxruntime: already in $dir"
    exit 0
fi
if ! command -v python3 >/dev/null 2>&1; then
    echo "onnxruntime: skipped, python3 is not installed"
    exit 0
fi

python3 -m venv "$dir"
# The library alone: the Python code around it, which needs further packages, is not run.
pip() { "$dir/bin/pip" install --quiet --no-deps --disable-pip-version-check "$@"; }
pip "$package"
pip onnxruntime-ggml==0.2.0 || echo "onnxruntime: there is no plugin for this system"
echo "onnxruntime: $package put into $dir"
