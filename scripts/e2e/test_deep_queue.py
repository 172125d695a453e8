#!/usr/bin/env python3
"""A deep queue: from start to 220 and to the first line of `show queue` within
0.5 s, and memory of `queue` below 100 MiB, the same as with 1,000 envelopes.
--full: 1,000,000 envelopes; else 50,000."""
import os
import subprocess
import sys
import time

sys.dont_write_bytecode = True
from holdfast import (FULL, Server, as_user, expect,           # noqa: E402
                      expect_equal, load, run_tests, tool)

DEPTH = 1000000 if FULL else 50000
RECIPIENTS = 50
LIMIT_SECONDS = 0.5
LIMIT_KIB = 100 * 1024
SAME_KIB = 16 * 1024     # "the same as with 1,000"
CONF = """\
listen on 127.0.0.1 port {port} hostname mx.holdfast.example
smtp limit max-mails 1000000
action "out" relay host smtp+notls://127.0.0.1:1
match from local for any action "out"
"""


def anonymous_memory(s):
    pids = s.room_pids("smtpd-queue")
    expect_equal(len(pids), 1, "one queue process")
    with open("/proc/%d/status" % pids[0]) as f:
        for line in f:
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
    raise ValueError("no RssAnon")


def first_line_of_queue(s):
    begin = time.monotonic()
    with subprocess.Popen(as_user(s.user) + [tool("smtpctl"), "--spool",
                                             s.spool, "show", "queue"],
                          stdout=subprocess.PIPE) as run:
        line = run.stdout.readline()
        took = time.monotonic() - begin
        run.kill()
    expect(line.count(b"|") == 13, "a line of show queue", line)
    return took


def fill(s, envelopes, run):
    load(s.port, "--messages", str(envelopes // RECIPIENTS), "--recipients",
         str(RECIPIENTS), "--connections", "20", "--per-connection", "0",
         "--domains", "1000", "--size", "1000", "--pipelining", "--run", run,
         "--seconds", "1500", timeout=1800)


def start_and_look(s):
    """(seconds to 220, seconds to the first line, KiB afterwards)"""
    begin = time.monotonic()
    s.start(wait=0)
    while not s.ready():
        expect(time.monotonic() - begin < 30, "a banner", s.log_tail())
        time.sleep(0.002)
    banner = time.monotonic() - begin
    return banner, first_line_of_queue(s), anonymous_memory(s)


def test_deep_queue():
    s = Server(CONF, options=["-P", "mta"])
    try:
        s.start()
        fill(s, 1000, "small")
        s.stop()
        _, _, small = start_and_look(s)
        fill(s, DEPTH - 1000, "deep")
        filled = anonymous_memory(s)
        s.stop()
        banner, line, deep = start_and_look(s)
        print("    %d envelopes: 220 after %.3f s, first line after %.3f s more;"
              " RssAnon %d KiB with 1,000, %d KiB while filling, %d KiB with "
              "all" % (DEPTH, banner, line, small, filled, deep), flush=True)
        expect(banner <= LIMIT_SECONDS, "220 within 0.5 s", banner)
        expect(banner + line <= LIMIT_SECONDS, "show queue within 0.5 s",
               banner + line)
        expect(deep < LIMIT_KIB and filled < LIMIT_KIB,
               "RssAnon below 100 MiB", deep, filled)
        expect(deep < small + SAME_KIB, "memory does not grow with the queue",
               small, deep)
        # Still all there, and a killed server starts as fast.
        s.kill_all()
        banner, line, _ = start_and_look(s)
        expect(banner + line <= LIMIT_SECONDS, "0.5 s after kill -9",
               banner + line)
        count = s.ctl("show", "queue").count("\n")
        expect_equal(count, DEPTH, "envelopes in the queue")
    finally:
        s.close()


if __name__ == "__main__":
    sys.exit(run_tests([test_deep_queue]))
