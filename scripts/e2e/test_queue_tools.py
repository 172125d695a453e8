#!/usr/bin/env python3
"""Listings and exports of a deep queue while mail flows: every envelope once,
the mail arrives, and neither side's memory grows with the queue.  Nothing is
timed here: scripts/e2e/queue_tools_load.py does that.
--full: 1,000,000 envelopes; else 50,000."""
import contextlib
import sys
import threading

sys.dont_write_bytecode = True
from holdfast import (FULL, Blackhole, Server, expect,          # noqa: E402
                      expect_equal, run_tests, wait_for)
from queue_tools_load import (CONF, MEMORY_KIB, Again, Flow,    # noqa: E402
                              Memory, fill)

DEPTH = 1000000 if FULL else 50000
RECIPIENTS = 50
LIVE = 3000
SECONDS = 600


@contextlib.contextmanager
def busy_server():
    """With DEPTH envelopes queued, and mail that flows until the end."""
    probe = Server(CONF % 1)    # only for its folder
    sink = Blackhole(probe.folder)
    s = Server(CONF % sink.port).start()
    flow = Flow(s, 1)
    ended = threading.Event()

    def work():
        while not ended.is_set():
            flow.send(500, LIVE // 10)
    thread = threading.Thread(target=work)
    try:
        fill(s, DEPTH, RECIPIENTS)
        thread.start()
        yield s
        ended.set()
        thread.join()
        wait_for(lambda: sink.stats()["messages"] >= flow.sent, 60,
                 "all live mail at the sink")
        expect_equal(sink.stats()["messages"], flow.sent, "at the sink")
        s.check_clean()
    finally:
        ended.set()
        thread.join()
        s.close()
        sink.stop()


def check_memory(memory):
    print("    %d envelopes: smtpctl had %d KiB, queue %d KiB more than before"
          % (DEPTH, memory.most["tool"], memory.growth()), flush=True)
    expect(memory.most["tool"] > 0, "its memory was seen")
    expect(max(memory.most["tool"], memory.growth()) < MEMORY_KIB,
           "memory below 64 MiB", memory.most, memory.growth())


def test_a_listing_while_mail_flows():
    with busy_server() as s:
        memory = Memory(s)
        found = []
        try:
            with Again(s, ["queue", "list", "--format", "id,domain"], memory,
                       once=True, take=found.append) as again:
                again.thread.join(SECONDS)
        finally:
            memory.close()
        expect(again.runs == 1 and not again.failed, "it ends well",
               again.failed)
        rows = [line.split("\t") for line in
                b"".join(found).decode().splitlines()]
        dead = [row[0] for row in rows if row[1].endswith(".dead.example")]
        expect_equal(len(dead), DEPTH, "envelopes that stay, in the listing")
        expect_equal(len(set(dead)), DEPTH, "each of them once")
        count = s.ctl("queue", "list", "--count", "action = dead")
        expect(str(DEPTH) in count, "--count", count)
        check_memory(memory)


def test_an_export_while_mail_flows():
    with busy_server() as s:
        memory = Memory(s)
        size = []
        try:
            with Again(s, ["queue", "export", "action = dead"], memory,
                       once=True,
                       take=lambda data: size.append(len(data))) as again:
                again.thread.join(SECONDS)
        finally:
            memory.close()
        expect(again.runs == 1 and not again.failed, "it ends well",
               again.failed)
        expect(sum(size) > 0, "an archive")
        check_memory(memory)


if __name__ == "__main__":
    sys.exit(run_tests([test_a_listing_while_mail_flows,
                        test_an_export_while_mail_flows]))
