#!/usr/bin/env bash
# Makes or completes the virtual environment that has all which the wheel's tests and drop-ins need, save the wheel.
# Usage: python_tests.sh DIR
# Python 3.10 or newer is python3, or what PYTHON3 names; without it, it says so and succeeds.
set -euo pipefail

python=${PYTHON3:-python3}
if ! "$python" -c 'import sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
  echo "SKIPPED: the Python wheel's tests (no Python 3.10 or newer)"
  exit 0
fi
[ -d "$1" ] || "$python" -m venv "$1"
"$1/bin/python" -m pip install --quiet --disable-pip-version-check \
  pytest==9.2.0 mypy==2.4.1 typing_extensions pandas==3.1.1 polars==2.1.0 pyarrow==26.0.1 tqdm==4.70.1 \
  langchain-core==1.8.1 llama-index-core==0.14.25 haystack-ai==3.4.1 lancedb==0.40.0 chromadb==1.5.9 \
  qdrant-client==1.20.0 'ray[data]==2.60.0' pyspark==4.3.0
