#!/usr/bin/env python3
"""Promise P3, for Maildirs: 10,000 deliveries while kill -9 hits every process
in turn, 51 times; then there are 10,000 files, and none of them twice."""
import os
import random
import re
import signal
import sys
import time

sys.dont_write_bytecode = True
from holdfast import (NOBODY, Server, alive, expect,           # noqa: E402
                      expect_equal, load, run_tests, wait_for)

CONF = """\
listen on 127.0.0.1 port {port} hostname mx.holdfast.example
smtp limit max-mails 100000
table boxes { "@" = nobody }
action "box" maildir "{folder}/Maildir" virtual <boxes> %s
match from local for any action "box"
"""
MESSAGES = 10000
# "all": the whole tree at once.
VICTIMS = ["all", "smtpd-agent", "smtpd-queue", "smtpd-deliver", "smtpd",
           "smtpd-agent", "smtpd-receive", "smtpd-lookup", "all",
           "smtpd-deliver", "smtpd-queue", "smtpd-agent", "smtpd-relay",
           "smtpd-keys", "smtpd-agent", "smtpd-auth", "all"] * 3
PORTION = MESSAGES // len(VICTIMS) + 1
RESTART_SECONDS = 30


def add(server, count, tag):
    """Puts `count` messages into the queue; all of them are acknowledged."""
    result = load(server.port, "--messages", str(count), "--connections", "4",
                  "--per-connection", "1000", "--size", "2000", "--domain",
                  "inside.example", "--run", tag)
    expect_equal(result["acknowledged"], count, "messages acknowledged")


def kill(server, victim):
    """How many processes it hit."""
    if victim == "all":
        server.kill_all()
        server.start(RESTART_SECONDS)
        return 1
    if victim == "smtpd":
        others = server.remaining() - {server.process.pid}
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
        wait_for(lambda: not any(alive(pid) for pid in others) and
                 not server.remaining(), 35,
                 "the rooms end when their parent is killed")
        server.start(RESTART_SECONDS)
        return 1
    hit = 0
    for pid in server.room_pids(victim):
        try:
            os.kill(pid, signal.SIGKILL)
            hit += 1
        except ProcessLookupError:
            pass    # agents and smtpd-auth come and go
    server.wait_ready(RESTART_SECONDS)
    return hit


def envelopes(maildir):
    """The envelope id in the name of each file: <created>.<store>.<id>.<host>
    (and perhaps flags)."""
    found = []
    for part in ("new", "cur"):
        folder = os.path.join(maildir, part)
        if os.path.isdir(folder):
            found += [name.split(".")[2] for name in os.listdir(folder)]
    return found


def tell(server, command, state):
    """`smtpctl pause mda` or resume, until queue, who may just have been
    killed, says that it is so."""
    def told():
        server.ctl(command, "mda", check=False)
        return "MDA " + state in server.ctl("show", "status", check=False)
    wait_for(told, RESTART_SECONDS, "MDA " + state)


def test_kills():
    chance = random.Random(20)
    server = Server(CONF % ("user nobody" if os.geteuid() == 0 else ""))
    maildir = server.maildir(owner=NOBODY)
    server.start()
    hits = {}
    left = MESSAGES
    for number, victim in enumerate(VICTIMS):
        portion = min(PORTION, left)
        left -= portion
        tell(server, "pause", "paused")
        add(server, portion, "round%d" % number)
        before = len(envelopes(maildir))
        tell(server, "resume", "running")
        # In the middle of the deliveries, at a random point of one.
        wait_for(lambda: len(envelopes(maildir)) > before, RESTART_SECONDS,
                 "deliveries begin\n" + server.log_tail())
        time.sleep(chance.uniform(0, 0.02))
        hits[victim] = hits.get(victim, 0) + kill(server, victim)
    expect_equal(left, 0, "messages still to be sent")
    tell(server, "resume", "running")
    wait_for(lambda: server.ctl("schedule", "all", check=False) is not None and
             not server.ctl("show", "queue").strip(), 120, "an empty queue")
    ids = envelopes(maildir)
    print("    hit: %s" % ", ".join("%s %d" % item
                                    for item in sorted(hits.items())))
    for name in ("all", "smtpd", "smtpd-queue", "smtpd-deliver", "smtpd-agent",
                 "smtpd-receive", "smtpd-lookup", "smtpd-relay",
                 "smtpd-keys"):
        expect(hits.get(name), "%s was killed" % name, hits)
    expect_equal(len(ids), MESSAGES, "files in the Maildir")
    expect_equal(len(set(ids)), MESSAGES, "different envelopes among them")
    expect(all(re.fullmatch("[0-9a-f]{16}", i) for i in ids), "names")
    expect_equal(os.listdir(os.path.join(maildir, "tmp")), [],
                 "files left in tmp/")
    server.check_clean()
    expect_equal(server.stop(), 0, "exit status")


if __name__ == "__main__":
    sys.exit(run_tests([test_kills]))
