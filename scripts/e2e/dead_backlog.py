#!/usr/bin/env python3
"""How long mail for a live destination takes from the 250 to the next hop, with
an empty queue and behind a backlog for a dead destination.

    scripts/e2e/dead_backlog.py [options]

    --depth N         messages queued for the dead destination (20,000)
    --recipients N    of each of them: N envelopes (1)
    --live N          messages for the live destination in a round (1,000)
    --rounds N        rounds (5)
    --rate N          live messages a second and server; 0: as fast as they are
                      taken (100)
    --dead WHAT       refuses: nobody listens there; hangs: a connection, and
                      never a banner (refuses)
    --json FILE       the figures

Two servers of the same configuration run side by side, one with the backlog and
one without, and get their messages in turns, so that whatever else the machine
does befalls both.  The sink is this program: one clock for both ends.  Exit 1
if the ratio of the 99th percentiles of all rounds is above 1.2, or anything is
lost.  The long form is --depth 1000000.
"""
import argparse
import asyncio
import json
import os
import signal
import socket
import sys
import time

sys.dont_write_bytecode = True
from holdfast import (Server, close_all, expect,                # noqa: E402
                      expect_equal, load, wait_for)

GOAL = 1.2
DEAD, LIVE = "dead.example", "live.example"
CONF = """\
listen on 127.0.0.1 port {port} hostname mx.holdfast.example
smtp limit max-mails 10000000
queue size 64G
action "dead" relay host smtp+notls://%s:%d
action "live" relay host smtp+notls://127.0.0.1:%d
match from local for domain "dead.example" action "dead"
match from local for domain "live.example" action "live"
"""


class Dead:
    """A next hop that takes nothing."""

    ADDRESS = "127.0.0.2"

    def __init__(self, what):
        self.socket = socket.socket()
        # A route is known by its address: not the live one's.
        self.socket.bind((self.ADDRESS, 0))
        self.port = self.socket.getsockname()[1]
        if what == "hangs":    # the kernel connects, nobody accepts
            self.socket.listen(1024)

    def close(self):
        self.socket.close()


class Sink:
    """A live next hop, in this program: when each message was there."""

    def __init__(self):
        self.taken = {}    # number of the message: when
        self.repeated = 0

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0,
                                                 backlog=1024)
        self.port = self.server.sockets[0].getsockname()[1]

    def stop(self):
        self.server.close()

    async def serve(self, reader, writer):
        try:
            writer.write(b"220 sink.example ESMTP\r\n")
            while line := await reader.readline():
                await self.command(line[:4].upper(), reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError,
                asyncio.CancelledError):
            pass    # the last at our own end
        finally:
            writer.close()

    async def command(self, verb, reader, writer):
        if verb == b"EHLO":
            writer.write(b"250-sink.example\r\n250 PIPELINING\r\n")
        elif verb == b"DATA":
            writer.write(b"354 go on\r\n")
            text = await reader.readuntil(b"\r\n.\r\n")
            self.take(text, time.monotonic())
            writer.write(b"250 ok\r\n")
        elif verb == b"QUIT":
            writer.write(b"221 bye\r\n")
        else:
            writer.write(b"250 ok\r\n")

    def take(self, text, when):
        key = text[text.index(b"X-Number: ") + 10:].split(b"\r\n", 1)[0]
        self.repeated += key in self.taken
        self.taken.setdefault(key, when)


class Client:
    """One session of smtpd's."""

    async def connect(self, port):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1",
                                                                 port)
        await self.answer(b"220")
        await self.say(b"EHLO client.example", b"250")

    async def answer(self, wanted):
        while True:
            line = await self.reader.readline()
            if line[3:4] != b"-":
                expect(line.startswith(wanted), "answer %s" % wanted, line)
                return

    async def say(self, line, wanted):
        self.writer.write(line + b"\r\n")
        await self.answer(wanted)

    async def message(self, key):
        """Sends it; when the 250 had come."""
        await self.say(b"MAIL FROM:<a@client.example>", b"250")
        await self.say(b"RCPT TO:<b@%s>" % LIVE.encode(), b"250")
        await self.say(b"DATA", b"354")
        await self.say(b"Subject: live\r\nX-Number: %s\r\n\r\n%s\r\n." %
                       (key, b"words of a message\r\n" * 50), b"250")
        return time.monotonic()

    def close(self):
        self.writer.close()


class Round:
    """Sends `count` messages to each server, in turns; the times from the 250
    of each to its arrival at the sink, in seconds, by server."""

    CLIENTS = 5    # sessions with each server

    def __init__(self, servers, sink, name, count, rate):
        self.servers, self.sink = servers, sink
        self.keys = {which: [("%s-%s-%d" % (name, which, i)).encode()
                             for i in range(count)] for which in servers}
        self.rate = rate
        self.sent = {}

    async def run(self):
        self.begin = time.monotonic() + 0.1
        await asyncio.gather(*(
            self.client(which, todo, place / len(self.servers))
            for place, which in enumerate(self.servers)
            for todo in [list(enumerate(self.keys[which]))[::-1]]
            for _ in range(self.CLIENTS)))
        end = time.monotonic() + 600
        every = [key for keys in self.keys.values() for key in keys]
        while not all(key in self.sink.taken for key in every):
            expect(time.monotonic() < end, "all live messages are delivered")
            await asyncio.sleep(0.02)
        # Such a short way may end before our 250 has been read.
        return {which: [max(0, self.sink.taken[key] - self.sent[key])
                        for key in keys] for which, keys in self.keys.items()}

    async def client(self, which, todo, offset):
        client = Client()
        await client.connect(self.servers[which].port)
        while todo:
            number, key = todo.pop()
            if self.rate:
                due = self.begin + (number + offset) / self.rate
                await asyncio.sleep(max(0, due - time.monotonic()))
            self.sent[key] = await client.message(key)
        client.close()


def anonymous_memory(server):
    """KiB of the queue process."""
    with open("/proc/%d/status" % server.room_pids("smtpd-queue")[0]) as f:
        return next(int(line.split()[1]) for line in f
                    if line.startswith("RssAnon:"))


def fill(server, depth, recipients):
    """Queues `depth` messages for the dead destination; seconds."""
    begin = time.monotonic()
    load(server.port, "--messages", str(depth), "--recipients",
         str(recipients), "--connections", "20", "--per-connection", "0",
         "--domain", DEAD, "--size", "500", "--pipelining", "--seconds",
         "5400", timeout=6000)
    took = time.monotonic() - begin
    os.sync()    # what the kernel still writes is not what is measured
    return took


def rounds_in_log(server):
    """Times that the dead destination was said to have failed."""
    return server.log_text().count(
        "smtp-out: Destination %s (action \"dead\") failed" % DEAD)


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


def figures(times):
    return {"p50_ms": percentile(times, 0.5) * 1000,
            "p99_ms": percentile(times, 0.99) * 1000,
            "max_ms": max(times) * 1000}


class Comparison:
    """Both servers, their sink and the dead host."""

    def __init__(self, dead="refuses"):
        self.dead = Dead(dead)
        self.what = dead
        self.sink = Sink()
        self.rows = []
        self.all = {"empty": [], "full": []}

    async def start(self, depth, recipients):
        await self.sink.start()
        conf = CONF % (Dead.ADDRESS, self.dead.port, self.sink.port)
        self.servers = {"empty": Server(conf).start(),
                        "full": Server(conf).start()}
        full = self.servers["full"]
        loop = asyncio.get_running_loop()
        # Elsewhere, or the sink would stand.
        self.fill_seconds = await loop.run_in_executor(
            None, fill, full, depth, recipients)
        if self.what == "refuses":
            wait_for(lambda: rounds_in_log(full), 60, "a failed round")

    async def round(self, number, live, rate):
        names = ["empty", "full"] if number % 2 == 0 else ["full", "empty"]
        times = await Round({name: self.servers[name] for name in names},
                            self.sink, str(number), live, rate).run()
        self.rows.append({name: figures(times[name]) for name in names})
        for name in names:
            self.all[name] += times[name]

    def stop(self):
        self.sink.stop()
        self.dead.close()
        for server in getattr(self, "servers", {}).values():
            server.close()

    def result(self, options):
        every = {name: figures(times) for name, times in self.all.items()}
        return dict(options, fill_seconds=self.fill_seconds, rounds=self.rows,
                    all=every, ratio_p99=every["full"]["p99_ms"] /
                    every["empty"]["p99_ms"],
                    repeated=self.sink.repeated,
                    failed_rounds=rounds_in_log(self.servers["full"]),
                    queue_rss_anon_kib=anonymous_memory(self.servers["full"]),
                    store_bytes=os.path.getsize(os.path.join(
                        self.servers["full"].spool, "store/queue.mdb")))


def print_row(name, row):
    print("| %s | %s | %.2f |" % (name, " | ".join(
        "%.1f ms" % row[which][field] for which in ("empty", "full")
        for field in ("p50_ms", "p99_ms", "max_ms")),
        row["full"]["p99_ms"] / row["empty"]["p99_ms"]))


def print_table(result):
    print("%d messages for %d envelopes that are dead (%s), queued in %.0f s; "
          "%d live ones a round and server\n" % (
              result["depth"], result["depth"] * result["recipients"],
              result["dead"], result["fill_seconds"], result["live"]))
    print("| round | empty p50 | p99 | max | full p50 | p99 | max | p99 ratio "
          "|\n|---|---:|---:|---:|---:|---:|---:|---:|")
    for number, row in enumerate(result["rounds"]):
        print_row(number + 1, row)
    print_row("all", result["all"])
    print("\nqueue's memory %d KiB, its store %d MiB; %d failed rounds" % (
        result["queue_rss_anon_kib"], result["store_bytes"] >> 20,
        result["failed_rounds"]))


async def compare(options):
    comparison = Comparison(options.dead)
    try:
        await comparison.start(options.depth, options.recipients)
        for number in range(options.rounds):
            await comparison.round(number, options.live, options.rate)
        result = comparison.result(vars(options))
        expect_equal(result["repeated"], 0, "delivered twice")
        left = comparison.servers["full"].ctl("show", "ledger")
        expect(str(options.depth * options.recipients) in left,
               "the dead ones are queued", left)
        return result
    finally:
        comparison.stop()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--depth", type=int, default=20000)
    parser.add_argument("--recipients", type=int, default=1)
    parser.add_argument("--live", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--dead", choices=["refuses", "hangs"],
                        default="refuses")
    parser.add_argument("--json")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        result = asyncio.run(compare(options))
    finally:
        close_all()
    print_table(result)
    if options.json:
        with open(options.json, "w") as f:
            json.dump(result, f, indent=1)
    return 0 if result["ratio_p99"] <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
