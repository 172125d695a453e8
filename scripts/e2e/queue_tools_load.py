#!/usr/bin/env python3
"""What the tools for the queue cost while mail flows and much of it is queued.

    scripts/e2e/queue_tools_load.py [options]

    --depth N       envelopes queued for dead destinations (50,000)
    --recipients N  of each of their messages (50)
    --rounds N      rounds (3)
    --seconds N     of live mail in each part of a round (5)
    --no-export     without `queue export`
    --json FILE     the figures

First the time from the start of `smtpctl queue list FILTER` to its first line,
for filters on indexed fields.  Then rounds at half the server's peak rate and
rounds at its peak: each has a part with nothing else, one with a full `queue
list` running again and again, and one with `queue export`; the parts come in
another order each round, and the ratios are of the percentiles of all rounds.
The time of a reply is that from the end of a message's data to its 250.  Exit 1
if a goal does not hold.  The long form is --depth 1000000.
"""
import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
from holdfast import (Blackhole, Server, as_user, close_all,    # noqa: E402
                      expect, expect_equal, load, tool)

DEAD, LIVE = "dead.example", "live.example"
DOMAINS = 1000    # dead destinations
CONF = """\
listen on 127.0.0.1 port {port} hostname mx.holdfast.example
smtp limit max-mails 10000000
queue size 64G
action "dead" relay host smtp+notls://127.0.0.2:1
action "live" relay host smtp+notls://127.0.0.1:%d
match from local for domain "live.example" action "live"
match from local for any action "dead"
"""
FIRST_ROW_SECONDS = 0.1
REPLY_RATIO = 1.2
MEMORY_KIB = 64 * 1024
FILTERS = ("domain = d7.dead.example", "destination = d500.dead.example",
           "message = %(message)s", "id = %(id)s", "due < 1d",
           "domain = nowhere.example or domain = d999.dead.example")
SAMPLES = 20


def anonymous_kib(pid):
    """Of a process; 0: it has gone."""
    try:
        with open("/proc/%d/status" % pid) as f:
            for line in f:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def tree(pid):
    """A process and its children."""
    found = [pid]
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            for child in f.read().split():
                found += tree(int(child))
    except OSError:
        pass
    return found


class Memory:
    """The most that some processes were seen to have, KiB."""

    def __init__(self, server):
        self.queue = server.room_pids("smtpd-queue")[0]
        self.before = anonymous_kib(self.queue)
        self.most = {"queue": self.before, "tool": 0}
        self.tool = None
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def watch(self):
        while not self.stop.wait(0.02):
            self.most["queue"] = max(self.most["queue"],
                                     anonymous_kib(self.queue))
            run = self.tool
            if run is not None:
                self.most["tool"] = max(self.most["tool"], max(
                    anonymous_kib(pid) for pid in tree(run.pid)))

    def close(self):
        self.stop.set()
        self.thread.join()

    def growth(self):
        return self.most["queue"] - self.before


class Again:
    """Runs a command again and again until it is left."""

    def __init__(self, server, words, memory, once=False, take=None):
        """once: one time only; take: gets what it prints."""
        self.words = as_user(server.user) + [
            tool("smtpctl"), "--spool", server.spool] + list(words)
        self.memory = memory
        self.once, self.take = once, take
        self.ended = False
        self.runs, self.bytes, self.failed = 0, 0, []
        self.thread = threading.Thread(target=self.work)

    def __enter__(self):
        self.thread.start()
        return self

    def work(self):
        while not self.ended:
            self.run = subprocess.Popen(self.words, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
            self.memory.tool = self.run
            while data := self.run.stdout.read1(1 << 20):
                self.bytes += len(data)
                if self.take:
                    self.take(data)
            error = self.run.stderr.read()
            status = self.run.wait()
            self.memory.tool = None
            self.runs += status == 0
            if status != 0 and not self.ended:
                self.failed.append((status, error))
            if self.once or status != 0:
                return

    def __exit__(self, *_):
        self.ended = True
        self.run.kill()
        self.thread.join()
        self.run.stdout.close()
        self.run.stderr.close()


def fill(server, depth, recipients):
    """Queues `depth` envelopes that go nowhere."""
    begin = time.monotonic()
    load(server.port, "--messages", str(depth // recipients), "--recipients",
         str(recipients), "--connections", "20", "--per-connection", "0",
         "--domain", DEAD, "--domains", str(DOMAINS), "--size", "1000",
         "--pipelining", "--run", "dead", "--seconds", "5400", timeout=6000)
    os.sync()
    return time.monotonic() - begin


def first_row(server, words):
    """Seconds to its first line, and the line."""
    begin = time.monotonic()
    with subprocess.Popen(as_user(server.user) + [
            tool("smtpctl"), "--spool", server.spool] + words,
            stdout=subprocess.PIPE) as run:
        line = run.stdout.readline()
        took = time.monotonic() - begin
        run.kill()
    return took, line.decode("utf-8", "replace")


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


def first_rows(server, samples):
    """By filter: milliseconds to the first line."""
    _, line = first_row(server, ["queue", "list", "--format", "id",
                                 "domain = d3.dead.example"])
    envelope = line.strip()
    names = {"id": envelope, "message": envelope[:8]}
    found = {}
    for pattern in FILTERS:
        words = ["queue", "list", "--format", "id", pattern % names]
        times = []
        for _ in range(samples):
            took, line = first_row(server, words)
            expect(len(line.strip()) == 16, "a row of " + words[-1], line)
            times.append(took * 1000)
        found[pattern] = {"p50_ms": percentile(times, 0.5),
                          "max_ms": max(times)}
    return found


class Flow:
    """Live mail."""

    def __init__(self, server, seconds):
        self.server, self.seconds = server, seconds
        self.count = 0
        self.sent = 0

    def send(self, rate, messages):
        self.count += 1
        stats = load(self.server.port, "--messages", str(messages), "--rate",
                     str(int(rate)), "--connections", "10", "--per-connection",
                     "100", "--domain", LIVE, "--size", "2000", "--run",
                     "live%d" % self.count, "--seconds", "600")
        expect_equal(stats["acknowledged"], messages, "acknowledged")
        self.sent += messages
        return {"rate": stats["rate"],
                "p50_ms": stats["reply_us_p50"] / 1000,
                "p99_ms": stats["reply_us_p99"] / 1000}

    def at(self, rate):
        return self.send(rate, max(1, int(rate * self.seconds)))

    def peak(self, guess):
        return self.send(0, max(1, int(guess * self.seconds)))


class Measurement:
    def __init__(self, options):
        self.options = options
        probe = Server(CONF % 1)    # only for its folder
        self.sink = Blackhole(probe.folder)
        self.server = Server(CONF % self.sink.port).start()
        self.flow = Flow(self.server, options.seconds)
        self.parts = {"plain": None,
                      "list": ["queue", "list"]}
        if not options.no_export:
            self.parts["export"] = ["queue", "export"]
        self.ran = {name: 0 for name in self.parts}
        self.bytes = {name: 0 for name in self.parts}
        self.tool_kib = {name: 0 for name in self.parts}
        self.growth_kib = {name: 0 for name in self.parts}

    def part(self, name, send):
        words = self.parts[name]
        if words is None:
            return send()
        memory = Memory(self.server)
        try:
            with Again(self.server, words, memory) as again:
                figures = send()
        finally:
            memory.close()
        expect(not again.failed, "queue " + name, again.failed)
        self.ran[name] += again.runs
        self.bytes[name] += again.bytes
        self.tool_kib[name] = max(self.tool_kib[name], memory.most["tool"])
        self.growth_kib[name] = max(self.growth_kib[name], memory.growth())
        return figures

    def rounds(self, send):
        names = list(self.parts)
        rows = []
        for number in range(self.options.rounds):
            turn = number % len(names)
            row = {}
            for name in names[turn:] + names[:turn]:
                row[name] = self.part(name, send)
                time.sleep(0.5)
            rows.append(row)
        return rows

    def run(self):
        o = self.options
        result = vars(o).copy()
        result["load_average"] = os.getloadavg()
        result["fill_seconds"] = fill(self.server, o.depth, o.recipients)
        result["first_rows"] = first_rows(self.server, SAMPLES)
        guess = self.flow.send(0, 2000)["rate"]
        peaks = [self.flow.peak(guess)["rate"] for _ in range(2)]
        result["peak_rate"] = max(peaks)
        half = result["peak_rate"] / 2
        result["half"] = self.rounds(lambda: self.flow.at(half))
        result["peak"] = self.rounds(lambda: self.flow.peak(guess))
        result["first_rows_busy"] = self.busy_first_rows(half)
        result["runs"] = self.ran
        result["bytes"] = self.bytes
        result["tool_rss_anon_kib"] = self.tool_kib
        result["queue_growth_kib"] = self.growth_kib
        result["queue_rss_anon_kib"] = anonymous_kib(
            self.server.room_pids("smtpd-queue")[0])
        self.judge(result)
        return result

    def busy_first_rows(self, rate):
        """While mail flows at `rate`."""
        sender = threading.Thread(target=lambda: self.flow.at(rate))
        sender.start()
        found = first_rows(self.server, 5)
        sender.join()
        return found

    def judge(self, result):
        def median(rows, name, field):
            return percentile([row[name][field] for row in rows], 0.5)
        result["ratios"] = {}
        for name in self.parts:
            if name == "plain":
                continue
            result["ratios"][name] = {
                "p99_half": percentile(
                    [row[name]["p99_ms"] / row["plain"]["p99_ms"]
                     for row in result["half"]], 0.5),
                "p99_half_of_medians": median(result["half"], name, "p99_ms") /
                median(result["half"], "plain", "p99_ms"),
                "rate_peak": percentile(
                    [row[name]["rate"] / row["plain"]["rate"]
                     for row in result["peak"]], 0.5)}
        result["goals"] = {
            "first row": all(f["p50_ms"] <= FIRST_ROW_SECONDS * 1000
                             for f in result["first_rows"].values()),
            "reply": all(r["p99_half"] <= REPLY_RATIO
                         for r in result["ratios"].values()),
            "memory": max(list(self.tool_kib.values()) +
                          list(self.growth_kib.values())) <= MEMORY_KIB}

    def close(self):
        self.server.close()
        self.sink.stop()


def print_first_rows(title, rows):
    print("\n| first row of `queue list`, %s | p50 | max |\n|---|---:|---:|" %
          title)
    for pattern, f in rows.items():
        print("| %s | %.0f ms | %.0f ms |" % (
            pattern % {"id": "ID", "message": "ID"}, f["p50_ms"],
            f["max_ms"]))


def print_table(r):
    print("%d envelopes queued in %.0f s; load average %.1f; peak %.0f msg/s" %
          (r["depth"], r["fill_seconds"], r["load_average"][0],
           r["peak_rate"]))
    print_first_rows("no mail", r["first_rows"])
    print_first_rows("half the peak", r["first_rows_busy"])
    for title, rows in (("half", r["half"]), ("peak", r["peak"])):
        print("\n| %s | with | msg/s | p50 | p99 | p99 to plain |\n"
              "|---|---|---:|---:|---:|---:|" % title)
        for number, row in enumerate(rows):
            for name, f in row.items():
                print("| %d | %s | %.0f | %.1f ms | %.1f ms | %.2f |" % (
                    number + 1, name, f["rate"], f["p50_ms"], f["p99_ms"],
                    f["p99_ms"] / row["plain"]["p99_ms"]))
    print("\n| with | runs | MB | p99 of the reply, half the peak | rate, peak "
          "| smtpctl | queue grew |\n|---|---:|---:|---:|---:|---:|---:|")
    for name, f in r["ratios"].items():
        print("| %s | %d | %.0f | x%.2f | x%.2f | %.1f MiB | %.1f MiB |" % (
            name, r["runs"][name], r["bytes"][name] / 1e6, f["p99_half"],
            f["rate_peak"], r["tool_rss_anon_kib"][name] / 1024,
            r["queue_growth_kib"][name] / 1024))
    print("\n" + ", ".join("%s: %s" % (name, "holds" if good else "MISSED")
                           for name, good in r["goals"].items()))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--depth", type=int, default=50000)
    parser.add_argument("--recipients", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--no-export", action="store_true")
    parser.add_argument("--json")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    measurement = Measurement(options)
    try:
        result = measurement.run()
    finally:
        measurement.close()
        close_all()
    print_table(result)
    if options.json:
        with open(options.json, "w") as f:
            json.dump(result, f, indent=1)
    return 0 if all(result["goals"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
