#!/usr/bin/env python3
"""Filters that die, hang, flood, talk nonsense, lie: what is asked of them is
refused for now within their time, memory stays bounded, the log names them,
they are started again, and everybody else's mail goes on all the while."""
import contextlib
import os
import re
import sys
import threading
import time

sys.dont_write_bytecode = True
from filter_places import LETTER, Place                        # noqa: E402
from filter_streams import HOST                                # noqa: E402
from holdfast import (Failure, Smtp, expect, free_port,        # noqa: E402
                      run_tests, wait_for)

TIMEOUT = 3         # seconds, of the filter
PATIENCE = 20       # seconds until a client must have its answer
MEMORY = 64 << 10   # KiB that a room may grow by
# Phases and events with what leads there.
MAIL, RCPT = "MAIL FROM:<sender@example.com>", "RCPT TO:<me@box.example>"
TEXT = LETTER.decode() + "."
WAYS = {
    "connect": [], "ehlo": ["EHLO c2"], "helo": ["HELO c2"],
    "mail-from": ["EHLO c2", MAIL], "rcpt-to": ["EHLO c2", MAIL, RCPT],
    "data": ["EHLO c2", MAIL, RCPT, "DATA"],
    "data-line": ["EHLO c2", MAIL, RCPT, "DATA", TEXT],
    "commit": ["EHLO c2", MAIL, RCPT, "DATA", TEXT],
    "rset": ["EHLO c2", "RSET"], "noop": ["EHLO c2", "NOOP"],
    "quit": ["EHLO c2", "QUIT"],
    "link-connect": [], "link-greeting": ["EHLO c2"],
    "link-identify": ["EHLO c2", MAIL], "tx-begin": ["EHLO c2", MAIL, RCPT],
    "tx-mail": ["EHLO c2", MAIL, RCPT], "tx-envelope": ["EHLO c2", MAIL, RCPT],
    "tx-rcpt": ["EHLO c2", MAIL, RCPT, "DATA"],
    "tx-data": ["EHLO c2", MAIL, RCPT, "DATA", TEXT],
    "tx-commit": ["EHLO c2", MAIL, RCPT, "DATA", TEXT],
    "tx-rollback": ["EHLO c2", MAIL, "RSET", "NOOP"],
    "tx-reset": ["EHLO c2", MAIL, "RSET", "NOOP"],
    "protocol-client": ["EHLO c2", MAIL],
    "protocol-server": ["EHLO c2"], "filter-response": ["EHLO c2"],
    "link-disconnect": ["EHLO c2", "QUIT"],
}
CARE = " timeout %ds" % TIMEOUT


class Others:
    """Mail by another listener, with a filter of its own, one message after
    the other all the while."""

    def __init__(self, port):
        self.port, self.count, self.error, self.over = port, 0, None, False
        self.longest = 0
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while not self.over:
                began = time.monotonic()
                session = Smtp(self.port, timeout=PATIENCE)
                session.expect("EHLO other", "250")
                reply = session.message("s@example.com", ["o@other.example"],
                                        LETTER)
                expect(reply.startswith("250"), "mail of others", reply)
                session.quit()
                self.count += 1
                self.longest = max(self.longest, time.monotonic() - began)
                time.sleep(0.05)
        except (Failure, OSError) as e:
            self.error = str(e)

    def stop(self):
        self.over = True
        self.thread.join()


class Bad(Place):
    """Listeners with a hostile filter f and a good one g."""

    def __init__(self, what, when, care=CARE, **words):
        self.other = free_port()
        super().__init__(
            'proc bad "{filters}/hostile.py {folder}/done %s %s"%s\n'
            'filter f proc bad\n'
            'proc good "{filters}/recorder /dev/null"\nfilter g proc good\n' % (
                what, when, care),
            listen=Place.LISTEN + "listen on 127.0.0.1 port %d hostname %s "
            "filter g\n" % (self.other, HOST), rules="""\
table boxes { "@" = nobody }
action "box" maildir "{folder}/Maildir" junk virtual <boxes>
action "drop" maildir "{folder}/Other" virtual <boxes>
match from any for domain "box.example" action "box"
match from any for domain "other.example" action "drop"
""", start=False, **words)
        self.server.maildir("Other", owner="nobody")
        self.server.start(wait=0)
        wait_for(lambda: self.banner(self.other), 30, "the other listener\n" +
                 self.server.log_tail())
        self.others = Others(self.other)
        self.memory = Memory(self.server)

    def banner(self, port):
        try:
            session = Smtp(port, timeout=PATIENCE)
        except (OSError, Failure):
            return None
        session.close()
        return session.banner

    def misbehaved(self):
        return os.path.exists(os.path.join(self.folder, "done"))

    def dialogue(self, lines):
        """The replies, banner first; None for an end without one."""
        replies = []
        with contextlib.suppress(Failure):
            session = Smtp(self.server.port, timeout=PATIENCE)
            replies.append(session.banner)
            for line in lines:
                replies.append(None)
                replies[-1] = session.command(line)
            session.close()
        return replies

    def recovers(self):
        """It was started again and lets mail pass."""
        def passes():
            try:
                return self.send("me@box.example").startswith("250")
            except (Failure, OSError):
                return False
        wait_for(passes, 60, "mail passes again\n" + self.server.log_tail())

    def finish(self):
        """Nothing else suffered."""
        self.others.stop()
        expect(self.others.error is None, "mail of others", self.others.error,
               self.server.log_tail())
        expect(self.others.count > 0, "there was some")
        expect(self.others.longest < PATIENCE, "it was not held up",
               self.others.longest)
        grown = self.memory.stop()
        for name, size in grown.items():
            expect(size < MEMORY, "%s grew by %d KiB" % (name, size))
        lost = re.findall(r"lost child: .*|smtpd-\w+ .*(?:signal|abort).*",
                          self.server.log_text())
        expect(not lost, "no room died", lost)
        self.server.check_clean()
        expect(self.server.stop() == 0, "ends in good order",
               self.server.log_tail())
        self.close_all()

    def close_all(self):
        self.server.close()


class Memory(threading.Thread):
    """How much the rooms of a server grew."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.over = server, False
        self.first, self.most = {}, {}
        self.start()

    def run(self):
        while not self.over:
            for pid, name in self.server.pids().items():
                if not name.startswith("smtpd"):
                    continue
                with contextlib.suppress(OSError, AttributeError):
                    with open("/proc/%d/status" % pid) as f:
                        size = int(re.search(r"RssAnon:\s+(\d+)",
                                             f.read()).group(1))
                    self.first.setdefault((pid, name), size)
                    self.most[(pid, name)] = max(
                        self.most.get((pid, name), 0), size)
            time.sleep(0.1)

    def stop(self):
        self.over = True
        self.join()
        return {"%s %d" % (name, pid): size - self.first[(pid, name)]
                for (pid, name), size in self.most.items()}


def refused(replies):
    """The client heard 4xx, or its connection ended."""
    return any(reply is None or reply[:1] == "4" for reply in replies)


def misbehave(what, when, log, client=refused, again=True):
    """One filter that does `what` at `when`."""
    place = Bad(what, when)
    began = time.monotonic()
    replies = place.dialogue(WAYS.get(when, ["EHLO c2", "NOOP"]))
    took = time.monotonic() - began
    label = "%s at %s" % (what, when)
    expect(took < PATIENCE, label + ": an answer in time", took, replies)
    wait_for(place.misbehaved, 20, label + " happens\n" +
             place.server.log_tail())
    if client is not None:
        expect(client(replies), label + ": the client", replies,
               place.server.log_tail())
    place.log(log, seconds=30)
    if again:
        place.recovers()
    place.finish()


LOST = r"warn: lost processor: bad (exited abnormally|terminated; signal \d+)"


def each(whats, whens, log, **words):
    for what in whats:
        for when in whens:
            misbehave(what, when, log, **words)


# --- it dies


def test_dies_at_each_phase():
    each(["exit"], ["connect", "ehlo", "mail-from", "rcpt-to", "data",
                    "data-line", "commit", "rset", "noop", "quit"], LOST)


def test_dies_at_each_event():
    """What it was not asked goes on; the next question is refused, or put to
    the one that was started again."""
    each(["exit0"], ["link-connect", "link-identify", "tx-begin",
                     "tx-rcpt", "tx-data", "tx-commit", "tx-reset",
                     "link-disconnect"], LOST, client=None)


def test_is_killed():
    each(["kill"], ["data-line", "commit"], r"lost processor: bad "
         r"terminated; signal 9")


def test_dies_at_its_start():
    each(["exit", "kill"], ["start", "ready"], LOST, client=None)


def test_closes_its_pipe():
    each(["close"], ["mail-from", "data-line"], r"warn: .*\bbad\b")


# --- it hangs


def test_never_answers():
    each(["mute"], ["connect", "mail-from", "data-line", "commit"],
         r"warn: .*\bbad\b.*")


def test_stops_reading():
    each(["deaf"], ["ehlo", "tx-mail", "data-line", "start"],
         r"warn: .*\bbad\b.*", client=None)


def test_is_never_ready():
    each(["mute"], ["ready", "start"], r"warn: .*\bbad\b.*", client=None)


def test_stops_reading_a_long_message():
    """The client is held back; nothing piles up."""
    place = Bad("deaf", "data-line")
    session = Smtp(place.server.port, timeout=PATIENCE)
    for line in ("EHLO c2", MAIL, RCPT, "DATA"):
        session.command(line)
    with contextlib.suppress(OSError):
        for _ in range(30 * 16):    # 30 MiB
            session.send((b"y" * 78 + b"\r\n") * 819)
        session.send(b".\r\n")
    with contextlib.suppress(Failure, OSError):
        reply = session.reply()
        expect(reply[:1] == "4", "refused for now", reply)
    place.log(r"warn: .*\bbad\b")
    place.recovers()
    place.finish()


def test_stops_reading_what_many_sessions_do():
    """Reports pile up to a limit, then it is killed."""
    place = Bad("deaf", "link-identify", care=" timeout 10s")
    place.dialogue(["EHLO c2"])
    end = time.monotonic() + 60
    while not re.search(r"warn: .*\bbad\b", place.server.log_text()):
        expect(time.monotonic() < end, "it is found out",
               place.server.log_tail())
        place.dialogue(["EHLO c2"] + ["NOOP %s" % ("x" * 400)] * 50)
    place.recovers()
    place.finish()


# --- it floods


def test_floods():
    each(["flood", "endless-line", "flood-reports"],
         ["mail-from", "link-identify"], r"warn: .*\bbad\b.*", client=None)


def test_floods_the_text():
    """More text than a message may have, and a line without end."""
    each(["flood-text", "flood-header", "flood-line"], ["data-line"], r"\bbad\b|\bf\b.*",
         client=lambda replies: replies[-1] is None or
         replies[-1][:1] in "45")


def test_floods_standard_error():
    place = Bad("flood-errors", "mail-from")
    place.dialogue(["EHLO c2", MAIL])
    place.log(r"warn: .*\bbad\b")
    place.recovers()
    lines = place.server.log_text().count("an error of mine")
    expect(0 < lines < 500, "lines in the log", lines)
    place.finish()


# --- it talks nonsense


NONSENSE = ["garbage", "zeros", "empty-line", "unknown-word", "unasked",
            "wrong-token", "bad-session", "no-decision", "no-such-decision",
            "text-for-result"]


def test_nonsense():
    each(NONSENSE, ["mail-from", "commit"], r"warn: .*\bbad\b.*")


def test_nonsense_in_text():
    each(["garbage", "unknown-word", "wrong-token", "result-for-text"],
         ["data-line"], r"warn: .*\bbad\b.*")


def test_nonsense_at_its_start():
    each(["garbage", "not-ready", "register-event", "register-phase",
          "register-out"], ["ready"], r"warn: .*\bbad\b.*", client=None)


def test_junk_at_commit():
    misbehave("junk", "commit", r"warn: .*\bbad\b.*")


def test_text_behind_the_end():
    misbehave("after-the-end", "data-line", r"warn: .*\bbad\b.*", client=None)


def test_answers_twice():
    """The second answers nothing."""
    misbehave("twice", "mail-from", r"warn: .*\bbad\b.*", client=None)


def test_answers_for_another_session():
    """One that is not there: ignored, as a session may just have ended; the
    question stays open until its time is over."""
    misbehave("foreign", "mail-from", r"warn: .*\bbad\b.*")


def test_replies_that_are_none():
    misbehave("no-reply", "mail-from", r"",
              client=lambda replies: replies[-1] ==
              "421 Internal server error", again=False)


def test_no_line_gets_into_the_dialogue():
    place = Bad("reply-of-lines", "mail-from")
    replies = place.dialogue(["EHLO c2", MAIL])
    expect("\r" not in replies[-1], "no carriage return", replies)
    place.finish()


if __name__ == "__main__":
    sys.exit(run_tests([value for name, value in list(globals().items())
                        if name.startswith("test_")]))
