#!/bin/sh
# Compiles the kernels for 64-bit ARM and runs their tests under qemu: on a CPU with the dot-product,
# int8 matrix and bf16 instructions, and on one without. Without a cross compiler, a standard library
# or qemu it says so and succeeds.
# Usage: test_aarch64.sh      RUSTC may name a compiler that has the standard library
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
target=aarch64-unknown-linux-gnu
packages="rustc-web libstd-rust-web-dev:arm64 gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"

has_std() {
    sysroot=$("$1" --print sysroot 2>/dev/null) || return 1
    ls "$sysroot/lib/rustlib/$target/lib/"libstd-*.rlib >/dev/null 2>&1
}

# The first compiler with a standard library for the target; empty when there is none.
compiler() {
    for rustc in ${RUSTC:-} rustc /usr/bin/rustc; do
        if has_std "$rustc"; then
            echo "$rustc"
            return
        fi
    done
}

missing() {
    command -v aarch64-linux-gnu-gcc >/dev/null 2>&1 || echo "no aarch64-linux-gnu-gcc"
    command -v qemu-aarch64 >/dev/null 2>&1 || echo "no qemu-aarch64"
    [ -n "$(compiler)" ] || echo "no Rust standard library for $target"
}

# Installs the packages of Debian where that needs no password.
install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || return 0
    echo "installing $packages"
    # shellcheck disable=SC2086 # a word each
    timeout 300 sh -euc '
        dpkg --add-architecture arm64
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "$@" >/dev/null
    ' install $packages || echo "installing failed"
}

[ -z "$(missing)" ] || install
if [ -n "$(missing)" ]; then
    echo "SKIPPED: tests of the ARM kernels: $(missing | paste -sd, - | sed 's/,/, /g')"
    exit 0
fi

cd "$root"
RUSTC=$(compiler)
# Programs that start threads hang under qemu when they are linked dynamically.
RUSTFLAGS="-C target-feature=+crt-static"
CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
# Of its own, so that it can be built beside others.
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/aarch64
export RUSTC RUSTFLAGS CARGO_TARGET_DIR CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER

# The Cortex-A72 of the Raspberry Pi 4 has Advanced SIMD alone.
for cpu in max cortex-a72; do
    echo "on qemu's $cpu"
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -cpu $cpu" \
        cargo test -p akidb-kernels --lib --locked --target "$target"
done
