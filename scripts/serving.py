"""A server for the scripts that ask one."""

import contextlib
import socket
import subprocess
import time
import urllib.request


class Serving:
    """`akidb-embed serve` on a free port, from when `path` answers until it is stopped."""

    def __init__(self, program, *flags, path="health", stderr=subprocess.DEVNULL):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.url = f"http://{self.address}/"
        command = [program, "serve", "--port", self.address.split(":")[1], *flags]
        self.process = subprocess.Popen(command, stderr=stderr)
        try:
            self._wait_for(path)
        except BaseException:
            self.stop()
            raise

    def _wait_for(self, path):
        for _ in range(1200):
            assert self.process.poll() is None, "the server ended"
            with contextlib.suppress(OSError):
                urllib.request.urlopen(self.url + path).close()
                return
            time.sleep(0.05)
        raise TimeoutError("the server doesn't answer")

    def stop(self):
        self.process.terminate()
        self.process.wait(60)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stop()
