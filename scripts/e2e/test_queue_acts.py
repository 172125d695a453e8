#!/usr/bin/env python3
"""Acts on many envelopes by filter: `queue remove`, hold, release, schedule,
expire, bounce, reroute, set; their tokens and their log, and what becomes of
one that a crash cuts short."""
import glob
import os
import re
import signal
import subprocess
import sys
import threading

sys.dont_write_bytecode = True
from holdfast import (Blackhole, Server, Smtp, expect,         # noqa: E402
                      expect_equal, free_port, run_tests, tool, wait_for)

CONF = """\
listen on 127.0.0.1 port {port} hostname mx.holdfast.example
smtp limit max-rcpt 1000 max-mails 1000
table boxes { "@" = nobody }
action "box" maildir "{folder}/Maildir" virtual <boxes> user nobody
action "dead" relay host smtp+notls://127.0.0.3:DEAD
action "sink" relay host smtp+notls://127.0.0.1:SINK
match from any for domain "inside.example" action "box"
match from any for domain "flow.example" action "sink"
match from local for any action "dead"
"""
SENDER = "s@inside.example"
TEXT = b"Subject: x\r\n\r\nhello\r\n"


class Place:
    def __init__(self):
        folder = None
        self.sink_port = free_port()
        self.server = Server(CONF.replace("DEAD", str(free_port()))
                             .replace("SINK", str(self.sink_port)))
        folder = self.server.folder
        self.sink = Blackhole(folder, port=self.sink_port)
        self.maildir = self.server.maildir()
        self.server.start()
        self.acts_log = glob.escape(self.server.spool) + "/**/acts.log"

    def fill(self, messages, recipients, domain):
        smtp = Smtp(self.server.port)
        smtp.expect("EHLO client.example", "250")
        for i in range(messages):
            smtp.send(b"MAIL FROM:<%s>\r\n" % SENDER.encode() + b"".join(
                b"RCPT TO:<u%d.%d@%s>\r\n" % (i, n, domain.encode())
                for n in range(recipients)) + b"DATA\r\n")
            for _ in range(recipients + 1):
                reply = smtp.reply()
                expect(reply.startswith("250"), "taken", reply)
            expect(smtp.reply().startswith("354"), "data")
            smtp.send(TEXT + b".\r\n")
            expect(smtp.reply().startswith("250"), "taken")
        smtp.quit()

    def act(self, *words):
        return self.server.ctl("queue", *words)

    def found(self, query):
        """How many match."""
        text = self.act("remove", query)
        return int(re.match(r"remove: (\d+) envelopes?, ", text).group(1))

    def wait_found(self, count, query):
        wait_for(lambda: self.found(query) == count, 60,
                 "%d that match %s; there are %d\n%s" %
                 (count, query, self.found(query), self.server.log_tail()))

    def delivered(self):
        return self.sink.stats()["recipients"]

    def log(self):
        text = ""
        for path in glob.glob(self.acts_log, recursive=True):
            with open(path) as f:
                text += f.read()
        return text


def token_in(text):
    return re.search(r"--token (\w+)", text).group(1)


def refused(place, *words):
    """What stderr says of a command that must fail."""
    run = subprocess.run([tool("smtpctl"), "--spool", place.server.spool,
                          "queue"] + list(words), stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True, timeout=60)
    expect(run.returncode != 0, "refused: " + " ".join(words), run.stdout)
    return run.stderr


def counts(text):
    """{what: how many} of the lines of an act that was done."""
    return {what: int(n) for n, what in
            re.findall(r"(?m)^\r?(\d+) (?:envelopes? )?(.+)$", text)}


def test_ten_thousand_while_mail_flows():
    it = Place()
    it.fill(100, 100, "held.example")
    flow = threading.Thread(target=it.fill, args=(50, 4, "flow.example"))
    flow.start()
    text = it.act("hold", "--yes", "domain = held.example")
    expect_equal(sum(counts(text).values()), 10000, "all were met: " + text)
    flow.join()
    it.wait_found(10000, "domain = held.example and state = held")
    wait_for(lambda: it.delivered() == 200, 60, "other mail flows")
    expect("so already" in it.act("hold", "--yes", "domain = held.example"),
           "a repetition does nothing twice")

    # A part with another priority, and a part with less time.
    shown = it.act("set", "priority", "7", "rcpt ~ \"^u1\\.\"")
    expect(shown.startswith("set priority 7: 100 envelopes, "), "shown", shown)
    expect("    held.example: 100 envelopes" in shown, "grouped", shown)
    expect_equal(it.act("set", "--token", token_in(shown)),
                 "100 envelopes changed\n", "done")
    it.wait_found(100, "priority = 7")
    it.act("set", "--yes", "expiry", "2h", "rcpt ~ \"^u2\\.\"")
    it.wait_found(100, "expiry < 3h")

    # One goes back with a text, one as expired.
    it.act("bounce", "--text", "No such project", "--yes",
           "rcpt = u3.7@held.example")
    it.act("expire", "--yes", "rcpt = u4.8@held.example")
    wait_for(lambda: it.server.count(it.maildir) == 2, 60,
             "two reports\n" + it.server.log_tail())
    reports = ""
    for name in glob.glob(it.maildir + "/new/*"):
        with open(name) as f:
            reports += f.read()
    expect("No such project" in reports and "u3.7@held.example" in reports,
           "the report says why", reports)
    expect("expired" in reports and "u4.8@held.example" in reports,
           "the report says so", reports)

    # The rest goes elsewhere.
    expect_equal(counts(it.act("release", "--yes", "state = held")),
                 {"released": 9998}, "released")
    text = it.act("reroute", "--yes", "--to",
                  "smtp+notls://127.0.0.1:%d" % it.sink_port,
                  "domain = held.example")
    expect_equal(sum(counts(text).values()), 9998, "all were met: " + text)
    it.act("reroute", "--yes", "--to", "sink", "rcpt ~ \"^u5\\.\"")
    wait_for(lambda: it.delivered() == 200 + 9998, 120,
             "all at the other next hop: %d\n%s" %
             (it.delivered(), it.server.log_tail()))
    it.server.wait_empty()
    it.server.check_clean()
    log = it.log()
    expect(re.search(r"begin \w+ uid=%d pid=\d+ found=10000 act=\"hold\" "
                     r"filter=\"domain = held.example\"" % os.geteuid(), log),
           "who did what", log)
    expect(re.search(r"end \w+ done=9998 .*result=\"complete\"", log),
           "and how many", log)


def test_tokens_and_errors():
    it = Place()
    it.fill(1, 20, "held.example")
    it.wait_found(20, "domain = held.example")
    expect("no such token" in refused(it, "remove", "--token", "0badc0de"),
           "an unknown token")
    token = token_in(it.act("hold", "domain = held.example"))
    expect("this token is for: hold" in
           refused(it, "remove", "--token", token), "another act")
    expect("another filter" in refused(it, "hold", "--token", token, "all"),
           "another filter")
    expect_equal(sum(counts(it.act("hold", "--token", token)).values()), 20,
                 "held")
    expect("no such token" in refused(it, "hold", "--token", token), "spent")
    expect("^" in refused(it, "remove", "domian = held.example"),
           "points at the character")
    expect("which envelopes" in refused(it, "remove", "--yes"), "no filter")
    expect("there are: box, dead, sink" in
           refused(it, "reroute", "--to", "nowhere", "all"), "no action")
    expect("possible fields: expiry, priority, ttl" in
           refused(it, "set", "sender", "x", "all"), "no such field")
    expect_equal(it.found("domain = held.example"), 20, "nothing was done")
    it.act("remove", "--yes", "all")
    it.server.wait_empty()
    it.server.check_clean()


def test_killed_in_the_middle():
    it = Place()
    it.fill(100, 100, "held.example")
    act = subprocess.Popen([tool("smtpctl"), "--spool", it.server.spool,
                            "queue", "hold", "--yes", "all"],
                           stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
    wait_for(lambda: " begin " in it.log(), 60, "it has begun")
    for pid in it.server.room_pids("smtpd-queue"):
        os.kill(pid, signal.SIGKILL)
    act.wait(60)
    wait_for(lambda: "envelopes" in subprocess.run(
        [tool("smtpctl"), "--spool", it.server.spool, "queue", "remove",
         "all"], stdout=subprocess.PIPE, text=True).stdout, 60,
        "the queue is back\n" + it.server.log_tail())
    it.server.check_clean()
    expect_equal(it.found("all"), 10000, "nothing is lost")
    text = it.act("hold", "--yes", "all")
    expect_equal(sum(counts(text).values()), 10000, "repeated: " + text)
    it.wait_found(10000, "state = held")
    expect_equal(counts(it.act("remove", "--yes", "all")),
                 {"removed": 10000}, "and removed")
    it.server.wait_empty()
    it.server.check_clean()


if __name__ == "__main__":
    sys.exit(run_tests([
        test_ten_thousand_while_mail_flows, test_tokens_and_errors,
        test_killed_in_the_middle]))
