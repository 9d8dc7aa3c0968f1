#!/usr/bin/env bash
# Each cargo feature of akidb-embedding alone, and none of them: the library and its tests compile.
#   scripts/check_features.sh [test]
# With `test`, the tests of each are run, too.
set -euo pipefail
cd "$(dirname "$0")/.."

command=(check --tests)
if [ "${1:-}" = test ]; then
  command=(test)
fi

for features in "" builtin rten onnxruntime hub provider; do
  echo "== features: ${features:-none}"
  cargo "${command[@]}" --quiet --locked -p akidb-embedding --no-default-features --features "$features"
done
