"""A server whose memory is watched, and somebody who asks it beside the attack."""

import contextlib
import os
import statistics
import subprocess
import threading
import time

from serving import Serving

from .clients import post

# Beside what the settings bound: stacks, the allocator's slack, a pass's workspace.
SLACK_MB = 64
# What may stay after an attack, in MB.
IDLE_MB = 100


class Attacked(Serving):
    """A server that is killed, and the row told so, when it takes more memory than the machine can lend."""

    def __init__(self, setup, *flags, models=("--model", "akidb-mini"), program=None, path="health/ready"):
        self.setup = setup
        self.killed = False
        self.log_file = setup.directory / f"server-{time.monotonic_ns()}.log"
        with open(self.log_file, "wb") as log:
            super().__init__(str(program or setup.program), *models, *flags, path=path, stderr=log)
        self.pid = self.process.pid
        self.before = self.rss()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        while self.alive():
            if self.rss() > self.setup.most_mb:
                self.killed = True
                self.process.kill()
                return
            time.sleep(0.03)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)

    def alive(self):
        return self.process.poll() is None

    def _status(self, field):
        with contextlib.suppress(OSError), open(f"/proc/{self.pid}/status") as status:
            for line in status:
                if line.startswith(field):
                    return int(line.split()[1]) / 1000
        return 0.0

    def rss(self):
        return self._status("VmRSS:")

    def descriptors(self):
        with contextlib.suppress(OSError):
            return len(os.listdir(f"/proc/{self.pid}/fd"))
        return 0

    def log(self):
        return self.log_file.read_text(errors="replace")

    def warm(self, texts=64, words=250):
        """Has done what it does all day: its workspace is there."""
        text = " ".join(["river small"] * (words // 2))
        post(self, "/v1/embeddings", {"input": [f"{i} {text}" for i in range(texts)]}, timeout=90)

    @contextlib.contextmanager
    def memory(self, most_mb, what="memory"):
        """What the block adds to the resident memory, at most and when all is quiet again."""
        self.before = self.rss()
        with contextlib.suppress(OSError), open(f"/proc/{self.pid}/clear_refs", "w") as file:
            # The peak is that of now on (proc(5)).
            file.write("5")
        yield
        added = self._status("VmHWM:") - self.before
        shown = f"{self.before:.0f} MB, +{added:.0f} MB at most"
        self.check(f"{what} (≤ +{most_mb:.0f} MB)", shown, added <= most_mb)

    def idle(self, what="10 s later"):
        """What has stayed ten seconds after everybody went."""
        time.sleep(10)
        added = self.rss() - self.before
        self.check(f"{what} (≤ +{IDLE_MB} MB)", f"+{added:.0f} MB", added <= IDLE_MB, idle=True)

    def check(self, what, shown, holds, idle=False):
        """As the row's own; a server that is no more holds nothing."""
        if self.killed:
            shown = f"killed by this script beyond {self.setup.most_mb} MB"
        elif not self.alive():
            shown = f"the server is gone (status {self.process.returncode})"
        self.setup.check(what, shown, holds and self.alive() and not self.killed, idle)

    def still_answers(self, what="an ordinary request afterwards"):
        answer = post(self, "/v1/embeddings", {"input": "red shoes", "model": "akidb-mini"}, timeout=10)
        self.check(what, f"{answer.status or answer.error}, {answer.seconds:.2f} s", answer.status == 200)


class Bystander:
    """Somebody with another address who asks for a short text's vector all the time."""

    def __init__(self, server, body=None, source="127.0.0.9", timeout=20):
        self.server, self.source, self.timeout = server, source, timeout
        self.body = body or {"input": "red shoes", "model": "akidb-mini"}
        self.times, self.failed = [], []
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._ask, daemon=True)

    def _ask(self):
        # However short the attack: a median needs some.
        while not self.stopped.is_set() or 0 < len(self.times) < 5:
            answer = post(self.server, "/v1/embeddings", self.body, self.timeout, self.source)
            self.times.append(answer.seconds)
            if answer.status != 200:
                self.failed.append(answer.status or answer.error)
            time.sleep(0.05)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.stopped.set()
        self.thread.join(2 * self.timeout)

    def check(self, most_seconds):
        median = statistics.median(self.times) if self.times else float("inf")
        shown = f"{len(self.times)} requests, p50 {median:.3f} s, {len(self.failed)} failed"
        holds = self.times and median <= most_seconds and not self.failed
        self.server.check(f"somebody else beside it (p50 ≤ {most_seconds:g} s)", shown, holds)
