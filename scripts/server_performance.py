#!/usr/bin/env python3
"""How the server does: latency of one client, throughput of many, overload, bulk beside interactive, memory.

Needs:  cargo build --release -p akidb-embed -p akidb-server --bin akidb-embed --example load --example padded
Usage:  server_performance.py MODEL [--variant V] [--only PART]... [--target target/release]

Prints the tables of docs/server-performance.md; what they mean is said there. Server, engine and load generator share
the machine: nothing else should run. Parts: idle, clients, mixed, bulk, overload, soak.
"""

import argparse
import datetime
import json
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import threading
import time
import urllib.request

from machine import cpu_name
from serving import Serving

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What `load` sends when nothing else is asked for: a number and two words.
SHORT = "123.0 river small"
PARTS = ["idle", "clients", "mixed", "bulk", "overload", "soak"]


class Machine:
    def __init__(self, arguments):
        target = pathlib.Path(arguments.target)
        self.embed, examples = target / "akidb-embed", target / "examples"
        self.load_program, self.padded_program = examples / "load", examples / "padded"
        self.model = ["--model", arguments.model]
        if arguments.variant:
            self.model += ["--variant", arguments.variant]

    def run(self, program, *flags):
        command = [str(program), *map(str, flags)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}:\n{done.stderr}")
        return done.stdout

    def bench(self, batch, runs):
        """Tokens a second of the engine alone, and milliseconds of a batch."""
        flags = ["--text", SHORT, "--batch", batch, "--runs", runs, "--warm-up", 3, "--json"]
        done = json.loads(self.run(self.embed, "bench", *self.model, *flags))
        return done["tokens_per_s"], done["median_ms"]

    def server(self, *flags):
        return Server(self, *flags)


class Server(Serving):
    def __init__(self, machine, *flags):
        self.machine = machine
        super().__init__(str(machine.embed), *machine.model, *flags, path="health/ready")

    def load(self, **flags):
        flags = [part for name, value in flags.items() for part in (f"--{name.replace('_', '-')}", value)]
        to = ["--address", self.address, "--pid", self.process.pid]
        return Load(self.machine.run(self.machine.load_program, *to, *flags))

    def passes(self):
        """Number and seconds of the model's passes so far."""
        with urllib.request.urlopen(self.url + "metrics") as answer:
            text = answer.read().decode()
        value = lambda kind: sum(
            float(number)
            for number in re.findall(rf"^akidb_batch_duration_seconds_{kind}\S* (\S+)$", text, re.M)
        )
        return value("count"), value("sum")


class Load:
    """What `load` has printed."""

    def __init__(self, text):
        head = re.search(r"([\d.]+) s: ([\d.]+) answers/s, ([\d.]+) texts/s, ([\d.]+) tokens/s", text)
        self.seconds, self.answers, self.texts, self.tokens = map(float, head.groups())
        line = r"^(?:status )?(no answer|\d+): (\d+), ms: p50 (\S+), p95 (\S+), p99 (\S+), max (\S+)$"
        self.times = {m[0]: [float(x) for x in m[1:]] for m in re.findall(line, text, re.M)}
        memory = re.search(r"RSS MB: (\S+) before, (\S+) at most, (\S+) after", text)
        self.before, self.most, self.after = map(float, memory.groups())

    def count(self, status="200"):
        return int(self.times.get(status, [0])[0])

    def at(self, quantile, status="200"):
        return self.times[status][["p50", "p95", "p99", "max"].index(quantile) + 1]

    def errors(self):
        return sum(int(times[0]) for status, times in self.times.items() if status != "200")


def ms(x):
    return f"{x:.2f} ms" if x < 10 else f"{x:.1f} ms" if x < 100 else f"{x:.0f} ms"


def row(*cells):
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def head(*cells):
    print()
    row(*cells)
    row(*["---"] * len(cells))


def idle(machine):
    head("engine alone", "over HTTP", "difference")
    for _ in range(3):
        engine = machine.bench(1, 60)[1]
        with machine.server() as server:
            http = server.load(seconds=5).at("p50")
        row(ms(engine), ms(http), f"{http - engine:+.2f} ms")


def clients(machine):
    engine = [machine.bench(64, 15)[0]]
    with machine.server() as server:
        loads = {n: server.load(clients=n, seconds=10 + n / 32, warm_up=2 + n / 64) for n in (1, 8, 64, 512)}
    engine.append(machine.bench(64, 15)[0])
    print(f"\nThe engine alone, 64 texts a call: {engine[0]:.0f} tokens/s before, {engine[1]:.0f} after.")
    head("clients", "texts/s", "tokens/s", "of the engine", "p50", "p95", "p99", "other answers")
    for n, load in loads.items():
        share = f"{100 * load.tokens / statistics.mean(engine):.0f} %"
        times = [ms(load.at(q)) for q in ("p50", "p95", "p99")]
        row(n, f"{load.texts:.0f}", f"{load.tokens:.0f}", share, *times, load.errors())


def mixed(machine):
    lengths = {"words": 30, "sigma": 1, "max_words": 300}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in lengths.items()]
    head("first in, first out, padded", "server", "times as many", "p50", "p95", "p99")
    for _ in range(3):
        text = machine.run(machine.padded_program, *machine.model, "--seconds", 10, *flags)
        padded = float(re.search(r"([\d.]+) texts/s", text)[1])
        with machine.server() as server:
            load = server.load(clients=64, seconds=25, warm_up=5, **lengths)
        times = [ms(load.at(q)) for q in ("p50", "p95", "p99")]
        row(f"{padded:.1f} texts/s", f"{load.texts:.1f} texts/s", f"{load.texts / padded:.2f}", *times)


def bulk(machine):
    head("interactive alone, p95", "beside bulk, p95", "mean pass", "3 x alone + a pass", "bulk")
    for _ in range(3):
        with machine.server() as server:
            rate = {"clients": 1, "rate": 5, "seconds": 12}
            alone = server.load(**rate).at("p95")
            before, bulks = server.passes(), []
            ask = lambda: bulks.append(
                server.load(clients=4, texts=64, words=20, seconds=16, header="x-akidb-class: bulk")
            )
            thread = threading.Thread(target=ask)
            thread.start()
            time.sleep(2)
            beside = server.load(**rate).at("p95")
            thread.join()
            after = server.passes()
        a_pass = 1e3 * (after[1] - before[1]) / (after[0] - before[0])
        bound = 3 * alone + a_pass
        row(ms(alone), ms(beside), ms(a_pass), ms(bound), f"{bulks[0].texts:.0f} texts/s")


def overload(machine):
    with machine.server("--max-wait", "1s") as server:
        capacity = server.load(clients=64, seconds=8, warm_up=2).texts
        seconds, rate = 60, 10 * capacity
        load = server.load(clients=1500, rate=rate, seconds=seconds, warm_up=3)
        time.sleep(1)
        recovered = server.load(clients=1, requests=5, warm_up=0)
        later = server.load(clients=1, seconds=3)
    offered = (load.count() + load.errors()) / load.seconds
    print(f"\nCapacity {capacity:.0f} texts/s, `--max-wait 1s`, {seconds} s.")
    head("", "")
    row("asked for, and sent", f"{rate:.0f} and {offered:.0f} requests/s")
    row("answered", f"{load.answers:.0f} a second; p50 {ms(load.at('p50'))}, p99 {ms(load.at('p99'))}, longest {ms(load.at('max'))}")
    if load.count("429"):
        times = ", ".join(f"{q} {ms(load.at(q, '429'))}" for q in ("p50", "p99", "max"))
        row("429", f"{load.count('429') / load.seconds:.0f} a second; {times}")
    row("any other end", load.errors() - load.count("429"))
    row("resident", f"{load.before:.0f} MB before, {load.most:.0f} at most, {load.after:.0f} after")
    row("a second later", f"longest of 5 requests {ms(recovered.at('max'))}; then p50 {ms(later.at('p50'))}")


def soak(machine):
    with machine.server() as server:
        first = server.load(clients=16, requests=5000, warm_up=0)
        # Ten minutes.
        load = server.load(clients=16, requests=100_000, rate=100_000 / 600, warm_up=0)
    head("requests", "seconds", "answered", "other ends", "resident before", "at most", "after")
    memory = [f"{x:.1f} MB" for x in (load.before, load.most, load.after)]
    row(100_000, f"{load.seconds:.0f}", load.count(), load.errors() + first.errors(), *memory)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--variant")
    parser.add_argument("--only", action="append", choices=PARTS)
    parser.add_argument("--target", default=str(ROOT / "target/release"))
    arguments = parser.parse_args()
    machine = Machine(arguments)
    name = f"{pathlib.Path(arguments.model).name} {arguments.variant or ''}".strip()
    print(f"{name} on {cpu_name()}, {platform.system()} {platform.machine()}, {datetime.date.today()}.")
    for part in arguments.only or PARTS:
        print(f"\n**{part}**", flush=True)
        globals()[part](machine)


if __name__ == "__main__":
    main()
