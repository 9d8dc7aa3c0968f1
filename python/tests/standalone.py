"""Spark's own cluster: a master and two workers, each a process, by pyspark's own programs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

LOCAL = "127.0.0.1"
PATIENCE = 90
"""Seconds that a cluster has to be there."""


@contextmanager
def standalone(master: str = "org.apache.spark.deploy.master.Master") -> Iterator[str]:
    """The address of a master with two workers, of four logical cores each; they end with it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        end = time.monotonic() + PATIENCE
        daemons: list[Daemon] = []
        try:
            daemons.append(Daemon(Path(folder, "master"), master, "--port", "0"))
            address = daemons[0].says(r"Starting Spark master at (spark://\S+)", end)
            page = daemons[0].says(r"Bound MasterWebUI to \S+, and started at (http://\S+)", end)
            for number in range(2):
                work = Path(folder, f"worker-{number}")
                arguments = ["--cores", "4", "--memory", "4g", "--work-dir", str(work), address]
                worker = "org.apache.spark.deploy.worker.Worker"
                daemons.append(Daemon(work, worker, *arguments))
            while alive_workers(page) < 2:
                for daemon in daemons:
                    daemon.check(end)
                time.sleep(0.2)
            yield address
        finally:
            # Workers end their executors, when they are asked.
            for daemon in reversed(daemons):
                daemon.stop()


def alive_workers(page: str) -> int:
    with urllib.request.urlopen(f"{page}/json/", timeout=10) as answer:
        return int(json.load(answer)["aliveworkers"])


def session(address: str) -> Any:
    """A driver, with an executor of two logical cores on each worker."""
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master(address).appName("akidb")
    settings = {
        "spark.ui.enabled": "false",
        "spark.driver.host": LOCAL,
        "spark.driver.bindAddress": LOCAL,
        "spark.cores.max": "4",
        "spark.executor.cores": "2",
        "spark.executor.memory": "1g",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "50",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.log.level": "ERROR",
    }
    for key, value in settings.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def stop(spark: Any) -> None:
    """Ends a driver, and Java with it, which otherwise ends with Python."""
    from pyspark import SparkContext

    spark.stop()
    gateway: Any = SparkContext._gateway
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait(timeout=60)
    SparkContext._gateway = SparkContext._jvm = None


class Daemon:
    """A process of the cluster, and what it says."""

    def __init__(self, log: Path, program: str, *arguments: str) -> None:
        self.program = program
        self.log = log.with_suffix(".log")
        home = Path(str(files("pyspark")))
        common = ["--host", LOCAL, "--webui-port", "0"]
        with self.log.open("w") as file:
            self.process = subprocess.Popen(
                [home / "bin/spark-class", program, *common, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "SPARK_HOME": str(home), "SPARK_LOCAL_IP": LOCAL},
            )

    def says(self, pattern: str, end: float) -> str:
        """Waits for a line, and gives the part of it in parentheses."""
        while not (found := re.search(pattern, self.log.read_text())):
            self.check(end)
            time.sleep(0.1)
        return found[1]

    def check(self, end: float) -> None:
        """Fails with what it says, where it has ended, or time has."""
        status = self.process.poll()
        if status is not None or time.monotonic() > end:
            how = "is not ready" if status is None else f"ended with {status}"
            raise RuntimeError(f"{self.program} {how}:\n{self.log.read_text()[-3000:]}")

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
