#!/usr/bin/env python3
"""Asking the queue: `queue list` and `show queue FILTER` by filter, sorted,
counted, in groups and in every format; errors, other users, and without the
daemon."""
import csv
import io
import json
import subprocess
import sys

sys.dont_write_bytecode = True
from holdfast import (Failure, Server, Smtp, as_user, expect,  # noqa: E402
                      expect_equal, run_tests, tool)

CONF = """\
listen on 127.0.0.1 port {port} hostname mx.holdfast.example
action "out" relay host smtp+notls://127.0.0.3:9
match from any for any action "out"
"""
# sender, recipients, octets of the body
MAIL = [("ann@one.example", ["a@a.example", "b@a.example"], 100),
        ("bob@two.example", ["c@b.example"], 30000),
        ("ann@one.example", ["d@b.example", "e@c.example"], 2000)]


class Place:
    def __init__(self, pause=True):
        self.server = Server(CONF)
        self.server.start()
        if pause:
            self.server.ctl("pause", "mta")
            self.fill()

    def fill(self):
        smtp = Smtp(self.server.port)
        smtp.expect("EHLO client.example", "250")
        for sender, recipients, size in MAIL:
            text = b"Subject: x\r\n\r\n" + b"%78d\r\n" % 1 * (size // 80 + 1)
            expect(smtp.message(sender, recipients, text).startswith("250"),
                   "taken")
        smtp.quit()

    def list(self, *words):
        return self.server.ctl("queue", "list", *words)

    def lines(self, *words):
        return self.list(*words).splitlines()

    def refused(self, *words, user=None):
        """(exit code, stderr) of a command that must fail."""
        run = subprocess.run(
            as_user(user) + [tool("smtpctl"), "--spool", self.server.spool] +
            list(words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, timeout=60)
        expect(run.returncode != 0, "refused: " + " ".join(words), run.stdout)
        expect_equal(run.stdout, "", "nothing but an error")
        return run.returncode, run.stderr


def recipients(it, *words):
    return it.lines("--format", "recipient", *words)


def test_filters():
    it = Place()
    everything = ["a@a.example", "b@a.example", "c@b.example", "d@b.example",
                  "e@c.example"]
    expect_equal(sorted(recipients(it)), everything, "without a filter: all")
    ids = it.lines("--format", "id,message", "domain = c.example")
    expect_equal(len(ids), 1, "one")
    evpid, msgid = ids[0].split("\t")
    for query, wanted in [
            ("domain = b.example", everything[2:4]),
            ("domain in (a.example, c.example)", everything[:2] +
             everything[4:]),
            ("sender = ann@one.example and not domain = a.example",
             everything[3:]),
            ("sender-domain = two.example", everything[2:3]),
            ("size > 20K", everything[2:3]),
            ("size < 1K or recipient ~ \"^e@\"", everything[:2] +
             everything[4:]),
            ("(size > 20K or size < 1K) and recipient !~ \"b@\"",
             [everything[0], everything[2]]),
            ("id = " + evpid, everything[4:]),
            ("message = " + msgid, everything[3:]),
            ("kind = mta and action = out and attempts = 0", everything),
            ("state = queued", everything),
            ("state = held", []),
            ("age > 1h", []),
            ("expiry > 1h and expiry < 5d", everything)]:
        expect_equal(sorted(recipients(it, query)), wanted, query)
        # As the shell takes it apart.
        if '"' not in query:
            expect_equal(sorted(recipients(it, *query.split())), wanted,
                         "in words: " + query)
        expect_equal(len(it.server.ctl("show", "queue", query).splitlines()),
                     len(wanted), "show queue " + query)
    it.server.ctl("queue", "hold", "--yes", "domain = b.example")
    it.server.ctl("pause", "envelope", evpid)
    expect_equal(sorted(recipients(it, "state = held")), everything[2:4],
                 "held")
    expect_equal(recipients(it, "state = suspended"), everything[4:],
                 "suspended")
    lines = it.server.ctl("show", "queue", "state = held").splitlines()
    expect(all(line.split("|")[3] == "hold" and line.count("|") == 13
               for line in lines), "the reference's lines", lines)
    expect_equal(len(it.server.ctl("show", "queue", msgid).splitlines()), 2,
                 "of a message")
    it.server.check_clean()


def test_sorted_counted_grouped():
    it = Place()
    expect_equal(recipients(it, "--sort", "recipient,desc")[0], "e@c.example",
                 "sorted")
    sizes = [int(s) for s in it.lines("--format", "size", "--sort", "size")]
    expect(sizes == sorted(sizes) and len(sizes) == 5, "by size", sizes)
    expect_equal(recipients(it, "--sort", "recipient", "--limit", "2"),
                 ["a@a.example", "b@a.example"], "the first two")
    expect_equal(len(it.lines("--limit", "3", "--format", "id")), 3, "limited")
    expect_equal(it.list("--count"), "5\n", "counted")
    expect_equal(it.list("--count", "domain = b.example"), "2\n", "counted")
    expect_equal(json.loads(it.list("--count", "--json"))["count"], 5, "counted")
    groups = [json.loads(line) for line in
              it.lines("--group-by", "domain", "--format", "json")]
    expect_equal({g["value"]: g["count"] for g in groups},
                 {"a.example": 2, "b.example": 2, "c.example": 1}, "grouped")
    text = it.list("--group-by", "domain", "--limit", "1")
    expect("a.example" in text and len(text.splitlines()) == 2,
           "a header and the largest", text)


def test_formats():
    it = Place()
    rows = [json.loads(line) for line in it.lines("--format", "json")]
    expect_equal(len(rows), 5, "an object a line")
    expect_equal({r["sender"] for r in rows},
                 {"ann@one.example", "bob@two.example"}, "senders")
    expect_equal([json.loads(line) for line in it.lines("--json")], rows,
                 "--json is the same")
    rows = list(csv.DictReader(io.StringIO(
        it.list("--format", "csv:recipient,size,state"))))
    expect_equal(len(rows), 5, "a row each")
    expect_equal(set(rows[0]), {"recipient", "size", "state"}, "its header")
    for line in it.lines("--format", "id,sender,size"):
        evpid, sender, size = line.split("\t")
        expect(len(evpid) == 16 and "@" in sender and size.isdigit(),
               "fields with tabs", line)
    text = it.list()
    expect(all(name in text for name in ("a@a.example", "e@c.example")),
           "for people", text)


def test_errors():
    it = Place()
    code, error = it.refused("queue", "list", "domian = a.example")
    lines = error.splitlines()
    expect("did you mean" in error and lines[-1].strip() == "^",
           "points at the character", error)
    column = lines[-1].index("^")
    expect_equal(lines[-2][column:column + 6], "domian", "the right one")
    for words, says in [
            (["domain = "], "^"), (["age > 2x"], "^"), (["size ~ 3"], "^"),
            (["domain = a.example and"], "^"), (["(domain = a.example"], "^"),
            (["recipient ~ \"[\""], "^"),
            (["--sort", "colour"], "no field"),
            (["--group-by", "colour"], "no field"),
            (["--format", "id,colour"], "no field"),
            (["--limit", "many"], "--limit"), (["--nonsense"], "--nonsense")]:
        error = it.refused("queue", "list", *words)[1]
        expect(says in error, "says what is wrong: %r" % words, error)
    expect("^" in it.refused("show", "queue", "domian = a.example")[1],
           "show queue, too")
    code, error = it.refused("queue", "list", user="nobody")
    expect("need root privileges" in error, "others are refused", error)


def test_daemon_down():
    it = Place()
    expect_equal(it.server.stop(), 0, "stopped")
    expect_equal(len(it.server.ctl("show", "queue").splitlines()), 5,
                 "show queue reads the files")
    for words in (["queue", "list"], ["queue", "list", "domain = a.example"]):
        try:
            out = it.server.ctl(*words)
            expect("example" in out, "reads the files", out)
        except Failure as failure:
            expect("smtpd doesn't seem to be running" in str(failure),
                   "says why", failure)


if __name__ == "__main__":
    sys.exit(run_tests([test_filters, test_sorted_counted_grouped,
                        test_formats, test_errors, test_daemon_down]))
