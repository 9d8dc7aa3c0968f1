"""Rows: API keys that were revoked, and a file of keys that isn't one."""

import os
import shutil
import signal
import socket
import subprocess
import time

from .clients import get, post, wait_until
from .harness import row

# The server looks at the file every two seconds.
SOON = 8


def status(server, key):
    headers = {"authorization": f"Bearer {key}"}
    return post(server, "/v1/embeddings", {"input": "red shoes"}, 5, headers=headers).status


def revoked(server, what, hang_up=True):
    """Whether `old-key` is refused and `new-key` taken before long."""
    if hang_up:
        server.process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    after = wait_until(lambda: status(server, "old-key") == 401, SOON, every=0.3)
    shown = f"refused after {after:.1f} s" if after is not None else f"still {status(server, 'old-key')} after {SOON} s"
    server.check(f"{what}: the revoked key", shown, after is not None)
    if after is not None:
        new = status(server, "new-key")
        server.check(f"{what}: the new key", new, new == 200)


def same_length_and_time(setup, file, hang_up):
    file.write_text("old-key\n")
    with setup.serve("--api-keys", str(file)) as server:
        before = os.stat(file)
        file.write_text("new-key\n")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        revoked(server, f"same length and mtime, {'SIGHUP' if hang_up else 'no SIGHUP'}", hang_up)


def unreadable_once(setup, file):
    """As a user whom the file's mode holds back; root isn't."""
    program = setup.directory / "as-nobody"
    if os.geteuid() != 0:
        program = setup.program
    elif not shutil.which("setpriv"):
        setup.tell("unreadable once", "skipped: root can read anything, and setpriv isn't here")
        return
    else:
        drop = "setpriv --inh-caps=-all --bounding-set=-all"
        program.write_text(f'#!/bin/sh\nexec {drop} "{setup.program}" "$@"\n')
        program.chmod(0o755)
        if subprocess.run([program, "--version"], capture_output=True, check=False).returncode != 0:
            setup.tell("unreadable once", "skipped: setpriv can't take root's rights away")
            return
    file.write_text("old-key\n")
    with setup.serve("--api-keys", str(file), program=program) as server:
        new = file.with_suffix(".new")
        new.write_text("new-key-that-is-longer\nnew-key\n")
        new.chmod(0)
        new.rename(file)
        time.sleep(5)
        file.chmod(0o600)
        revoked(server, "unreadable for 5 s, then chmod, no SIGHUP", hang_up=False)


def without_descriptors(setup, file):
    """A client without a key takes all descriptors while the file changes."""
    import resource

    file.write_text("old-key\n")
    with setup.serve("--api-keys", str(file), "--header-timeout", "20s") as server:
        most = server.descriptors() + 20
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (most, most))
        host, port = server.address.split(":")
        sockets = [socket.create_connection((host, int(port)), 5) for _ in range(60)]
        time.sleep(1)
        file.write_text("new-key-that-is-longer\nnew-key\n")
        server.process.send_signal(signal.SIGHUP)
        time.sleep(5)
        for client in sockets:
            client.close()
        time.sleep(1)
        revoked(server, "changed while descriptors were out", hang_up=False)


@row(
    "a revoked API key: same length and mtime; unreadable once, then chmod; during descriptor exhaustion",
    "SIGHUP always reads; a failed read is tried again; inode, ctime, size, mtime count",
    seconds=120,
)
def keys(setup):
    file = setup.directory / "keys"
    same_length_and_time(setup, file, hang_up=True)
    same_length_and_time(setup, file, hang_up=False)
    unreadable_once(setup, file)
    without_descriptors(setup, file)


@row(
    "the keys file becomes a FIFO",
    "connections are served, SIGTERM works; read beside the accept loop, with a time limit",
    seconds=90,
)
def keys_fifo(setup):
    file = setup.directory / "keys"
    file.write_text("old-key\n")
    with setup.serve("--api-keys", str(file)) as server:
        fifo = setup.directory / "fifo"
        os.mkfifo(fifo)
        fifo.rename(file)
        time.sleep(4)
        answered = [get(server, "/health", 3) == 200 for _ in range(3)]
        server.check("new connections are answered", f"{sum(answered)} of 3", all(answered))
        server.process.send_signal(signal.SIGTERM)
        try:
            ended = server.process.wait(10)
        except subprocess.TimeoutExpired:
            ended = None
        setup.check("SIGTERM ends it", "no end in 10 s" if ended is None else f"status {ended}", ended == 0)
    # Nobody writes into it: a server that waits for that never starts, and never says why.
    process = subprocess.Popen(
        [setup.program, "serve", "--model", "akidb-mini", "--port", "0", "--api-keys", str(file)],
        stderr=subprocess.PIPE,
    )
    try:
        said = process.communicate(timeout=8)[1].decode(errors="replace").strip().splitlines()
        shown, holds = f"status {process.returncode}: {said[-1] if said else ''}", process.returncode not in (None, 0)
    except subprocess.TimeoutExpired:
        shown, holds = "it hangs", False
        process.kill()
    setup.check("a start with it", shown, holds)
