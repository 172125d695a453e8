#!/usr/bin/env python3
"""A backlog for a dead destination: mail for a live one passes it, the queue's
memory does not grow with it, it is one line in the log for each round.  Nothing
is timed here: scripts/e2e/dead_backlog.py does that.
--full: 200,000 envelopes; else 20,000."""
import asyncio
import sys

sys.dont_write_bytecode = True
from dead_backlog import (Comparison, anonymous_memory,         # noqa: E402
                          rounds_in_log)
from holdfast import (FULL, expect, expect_equal, run_tests)    # noqa: E402

DEPTH = 200000 if FULL else 20000
LIVE = 500
LIMIT_KIB = 100 * 1024
SAME_KIB = 16 * 1024    # "does not grow": of the empty server's


async def passes(dead):
    comparison = Comparison(dead)
    try:
        await comparison.start(DEPTH, 1)
        full = comparison.servers["full"]
        # Fails after ten minutes if they are not all delivered.
        await comparison.round(0, LIVE, 0)
        expect_equal(comparison.sink.repeated, 0, "delivered twice")
        expect_equal(len(comparison.sink.taken), 2 * LIVE, "at the sink")
        expect_equal(len(full.queue()), DEPTH, "still queued")
        memory = anonymous_memory(full)
        empty = anonymous_memory(comparison.servers["empty"])
        expect(memory < LIMIT_KIB and memory < empty + SAME_KIB,
               "memory of queue", memory, empty)
        rounds = rounds_in_log(full)
        expect(rounds == 0 if dead == "hangs" else rounds >= 1,
               "lines for the destination", rounds)
        # Not one for each envelope; the live ones have theirs.
        lines = full.log_text().count("mta delivery")
        expect_equal(lines, LIVE, "lines of deliveries")
        for server in comparison.servers.values():
            server.check_clean()
    finally:
        comparison.stop()


def test_a_host_that_refuses():
    asyncio.run(passes("refuses"))


def test_a_host_that_hangs():
    asyncio.run(passes("hangs"))


if __name__ == "__main__":
    sys.exit(run_tests([test_a_host_that_refuses, test_a_host_that_hangs]))
