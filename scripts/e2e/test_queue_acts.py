#!/usr/bin/env python3
"""Acts on many envelopes by filter: `queue remove`, hold, release, schedule,
expire, bounce, reroute, set; their tokens and their log, and what becomes of
one that a crash cuts short."""
import contextlib
import glob
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading

sys.dont_write_bytecode = True
from holdfast import (OPEN, Blackhole, Server, Smtp,           # noqa: E402
                      as_user, expect, expect_equal, free_port, run_tests, tool, wait_for)

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


class SlowHop:
    """A next hop that answers the final dot when it is told what."""

    def __init__(self):
        self.port = free_port()
        self.listening = socket.create_server(("127.0.0.2", self.port))
        self.has_all = threading.Semaphore(0)
        self.answers = queue.Queue()
        self.taken = []
        OPEN.append(self)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                peer = self.listening.accept()[0]
                threading.Thread(target=self.talk, args=(peer,),
                                 daemon=True).start()

    def talk(self, peer):
        with contextlib.suppress(OSError), peer, peer.makefile("rwb", 0) as f:
            f.write(b"220 slow\r\n")
            recipients, data = [], False
            for line in f:
                word = line[:4].upper()
                if data and line == b".\r\n":
                    data = False
                    self.has_all.release()
                    answer = self.answers.get()
                    self.taken += recipients if answer[0] == "2" else []
                    f.write(answer.encode() + b" so\r\n")
                elif data:
                    continue
                elif word == b"DATA":
                    data = True
                    f.write(b"354 go on\r\n")
                else:
                    if word == b"MAIL":
                        recipients = []
                    elif word == b"RCPT":
                        recipients.append(line)
                    f.write(b"250 ok\r\n")
                    if word == b"QUIT":
                        return

    def close(self):
        self.listening.close()


def test_in_flight():
    it = Place()
    slow = SlowHop()
    to_slow = "smtp+notls://127.0.0.2:%d" % slow.port
    to_sink = "smtp+notls://127.0.0.1:%d" % it.sink_port
    waits = {"in flight: when the attempt is over": 1}
    for answer, act in (("250", ["reroute", "--to", to_sink]),
                        ("451", ["reroute", "--to", to_sink]),
                        ("451", ["remove"]), ("250", ["remove"]),
                        ("250", ["bounce"]), ("451", ["hold"])):
        before = (len(slow.taken), it.delivered())
        it.fill(1, 1, "held.example")
        it.act("reroute", "--yes", "--to", to_slow, "domain = held.example")
        it.act("schedule", "--yes", "domain = held.example")
        expect(slow.has_all.acquire(timeout=30), "a session has it",
               it.server.log_tail())
        done = counts(it.act(act[0], "--yes", *act[1:], "state = inflight"))
        expect_equal({k: n for k, n in done.items() if n}, waits,
                     "%s waits" % act[0])
        slow.answers.put(answer)
        what = "%s, %s: " % (answer, act[0])
        if answer == "451" and act[0] == "hold":
            it.wait_found(1, "state = held")
            it.act("remove", "--yes", "all")
        it.server.wait_empty()
        expect_equal(len(slow.taken) - before[0], int(answer == "250"),
                     what + "there")
        expect_equal(it.delivered() - before[1],
                     int(answer == "451" and act[0] == "reroute"),
                     what + "elsewhere")
        expect_equal(it.server.count(it.maildir), 0, what + "no report")
    it.server.check_clean()


def test_an_action_that_is_gone():
    it = Place()
    it.fill(1, 3, "held.example")
    it.wait_found(3, "domain = held.example")
    expect_equal(it.server.stop(), 0, "stopped")
    expect("smtpd doesn't seem to be running" in
           refused(it, "hold", "--yes", "all"), "not without smtpd")
    with open(it.server.conf) as f:
        conf = f.read()
    with open(it.server.conf, "w") as f:
        f.write("".join(line + "\n" for line in conf.splitlines()
                        if '"dead"' not in line))
    it.server.start()
    it.act("schedule", "--yes", "all")
    it.wait_found(3, "state = held")
    expect("not possible, left alone: 3 envelopes" in
           it.act("reroute", "--to", "mx.example.net", "all"), "no next hop")
    expect("not possible, left alone: 3 envelopes" in
           it.act("reroute", "--to", "box", "all"), "nor a local user's")
    expect("is no action" in refused(it, "reroute", "--to", "dead", "all"),
           "nor back")
    it.act("reroute", "--yes", "--to", "sink", "all")
    it.act("release", "--yes", "all")
    wait_for(lambda: it.delivered() == 3, 60, "delivered")
    it.server.wait_empty()
    it.server.check_clean()


def test_who_and_what_is_kept():
    it = Place()
    it.fill(1, 5, "held.example")
    it.wait_found(5, "domain = held.example")
    run = subprocess.run(
        as_user("nobody") + [tool("smtpctl"), "--spool", it.server.spool,
                             "queue", "remove", "--yes", "all"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, timeout=60)
    expect(run.returncode != 0 and "need root privileges" in run.stderr,
           "others are refused", run.stderr)
    expect_equal(it.log(), "", "and nothing is noted")
    shown = json.loads(it.act("hold", "--json", "all"))
    expect_equal((shown["envelopes"], shown["groups"][0]["destination"]),
                 (5, "held.example"), "as JSON")
    done = json.loads(it.act("hold", "--token", shown["token"], "--json"))
    expect_equal(done["done"] + done["waiting"], 5, "done")
    begin, end = [json.loads(line)
                  for line in it.act("log", "--json").splitlines()]
    expect_equal((begin["event"], begin["act"], begin["found"], begin["uid"]),
                 ("begin", "hold", 5, os.geteuid()), "who did what")
    expect_equal((end["event"], end["number"], end["result"]),
                 ("end", begin["number"], "complete"), "to its end")
    expect_equal(it.act("log"), it.log(), "queue log")
    path = glob.glob(it.acts_log, recursive=True)[0]
    expect_equal(os.stat(path).st_mode & 0o777, 0o600, "not for others")


def test_a_client_that_is_killed():
    it = Place()
    it.fill(100, 100, "held.example")
    it.wait_found(10000, "domain = held.example")
    token = token_in(it.act("hold", "all"))
    act = subprocess.Popen([tool("smtpctl"), "--spool", it.server.spool,
                            "queue", "hold", "--token", token],
                           stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
    wait_for(lambda: " begin " in it.log(), 60, "it has begun")
    act.kill()
    act.wait(60)
    end = wait_for(lambda: re.search(r"end \w+ done=(\d+) .*result=\"(\w+)\"",
                                     it.log()), 60, "its end is noted")
    done = int(end.group(1))
    it.wait_found(done, "state = held")
    if end.group(2) == "interrupted":
        expect(done < 10000, "the rest is left", it.log())
        rest = counts(it.act("hold", "--token", token))
        expect_equal(sum(rest.values()), 10000 - done, "by the same token")
    it.wait_found(10000, "state = held")
    it.server.check_clean()


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
        test_killed_in_the_middle, test_a_client_that_is_killed,
        test_in_flight, test_an_action_that_is_gone,
        test_who_and_what_is_kept]))
