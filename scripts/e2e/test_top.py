#!/usr/bin/env python3
"""smtpctl top in a terminal: shows the mail that moves, follows the window's
size, waits for a server that is away, and leaves the terminal as it was however
it ends.  And as one snapshot, for scripts."""
import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time

sys.dont_write_bytecode = True
from holdfast import (Blackhole, Failure, Server, Smtp,        # noqa: E402
                      as_user, expect, expect_equal, load, run_tests, tool,
                      wait_for)

CONF = """\
listen on 127.0.0.1 port {port} hostname mx.holdfast.example
action "live" relay host smtp+notls://127.0.0.1:%d
action "dead" relay host smtp+notls://127.0.0.2:1
match from local for domain "live.example" action "live"
match from local for any action "dead"
"""
BEGIN, END = b"\x1b[?1049h", b"\x1b[?1049l"


class Screen:
    """What stands on a terminal: enough of one for what top writes."""

    def __init__(self, rows, columns):
        self.resize(rows, columns)

    def resize(self, rows, columns):
        self.rows, self.columns = rows, columns
        self.lines = [""] * rows

    def draw(self, data):
        """The last whole picture in `data`, if there is one."""
        frames = [f for f in data.split(b"\x1b[H") if f.endswith(b"\x1b[J")]
        if frames:
            text = re.sub(rb"\x1b\[[?0-9;]*[A-Za-z]", b"", frames[-1])
            self.lines = text.decode("ascii").split("\r\n")
        return bool(frames)

    def text(self):
        return "\n".join(self.lines)


class Terminal:
    """smtpctl top in a pty."""

    def __init__(self, server, *words, rows=24, columns=120):
        self.master, self.slave = pty.openpty()
        self.set_size(rows, columns, tell=False)
        self.before = termios.tcgetattr(self.slave)
        self.output = b""
        self.screen = Screen(rows, columns)
        self.process = subprocess.Popen(
            as_user(server.user) + [tool("smtpctl"), "--spool", server.spool,
                                    "top"] + list(words),
            stdin=self.slave, stdout=self.slave, stderr=self.slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.set_blocking(self.master, False)

    def set_size(self, rows, columns, tell=True):
        # The kernel tells the foreground group of the terminal.
        fcntl.ioctl(self.master if tell else self.slave, termios.TIOCSWINSZ,
                    struct.pack("HHHH", rows, columns, 0, 0))
        if tell:
            self.screen.resize(rows, columns)

    def read(self):
        with contextlib.suppress(BlockingIOError, OSError):
            while data := os.read(self.master, 65536):
                self.output += data
        self.screen.draw(self.output)
        return self.screen.text()

    def wait(self, wanted, seconds=20):
        try:
            wait_for(lambda: re.search(wanted, self.read()), seconds, wanted)
        except Failure as e:
            raise Failure("%s on the screen; there is\n%s" % (
                e, self.screen.text())) from e
        return re.search(wanted, self.screen.text())

    def keys(self, data):
        os.write(self.master, data)

    def settings(self):
        return termios.tcgetattr(self.slave)

    def ended(self, seconds=10):
        """Its status, once the terminal was seen to be as before."""
        status = self.process.wait(seconds)
        self.read()
        expect_equal(self.settings(), self.before, "the terminal's settings")
        expect(self.output.count(BEGIN) == self.output.count(END) and
               self.output.rindex(END) > self.output.rindex(BEGIN),
               "the screen is given back", self.output[-200:])
        expect(b"\x1b[?25h" in self.output[self.output.rindex(BEGIN):],
               "the cursor is back")
        return status

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@contextlib.contextmanager
def running(name="sink"):
    s = Server(CONF % 1)
    sink = Blackhole(s.folder, name=name)
    with open(s.conf, "w") as f:
        f.write('spool "%s"\n' % s.spool)
        f.write((CONF % sink.port).replace("{port}", str(s.port)))
    s.start()
    try:
        yield s
    finally:
        s.close()
        sink.stop()


def send(s, recipient):
    smtp = Smtp(s.port)
    smtp.expect("EHLO client.example", "250")
    smtp.message("a@client.example", [recipient], b"Subject: x\r\n\r\nx\r\n")
    smtp.quit()


def test_shows_mail_and_keys_work():
    with running() as s:
        for i in range(12):
            send(s, "u@d%02d.example" % (i % 4))
        t = Terminal(s)
        t.wait(r"queue    12 envelopes, 12 messages, 4 destinations")
        t.wait(r"(?m)^ +3 +0 +\d+ +\S+ +\S+ +\S+ dead +d00\.example +\S")
        # It moves: mail that goes through makes rates and commits.
        load(s.port, "--messages", "300", "--rate", "100", "--domain",
             "live.example", "--connections", "3")
        t.wait(r"in       [1-9]\d*\.\d/s accepted(.|\n)*"
               r"out      [1-9]\d*\.\d/s ok")
        t.wait(r"commits  [1-9]\d*\.\d/s, \d+\.\d operations \(99%: \d+\), "
               r"\d+\.\d ms")
        # Sort by destination, and the other way round.
        t.keys(b"8")
        t.wait(r"\*DESTINATION(.|\n)*d00\.example(.|\n)*d03\.example")
        t.keys(b"r")
        t.wait(r"\^DESTINATION(.|\n)*d03\.example(.|\n)*d00\.example")
        t.keys(b"\x1b[D")
        t.wait(r"\*ACTION")
        t.keys(b"p")
        t.wait(r"\(paused\)")
        t.keys(b"p")
        wait_for(lambda: "(paused)" not in t.read(), 10, "it goes on")
        t.keys(b"q")
        expect_equal(t.ended(), 0, "exit status after q")
        t.close()


def test_follows_the_size():
    with running() as s:
        t = Terminal(s, rows=24, columns=120)
        t.wait(r"smtpd up")
        expect_equal(len(t.screen.lines), 24, "lines")
        for rows, columns in ((40, 60), (10, 200), (3, 20), (24, 80)):
            t.output = t.output[-1:]
            t.set_size(rows, columns)
            wait_for(lambda: t.read() and len(t.screen.lines) == rows and
                     max(map(len, t.screen.lines)) <= columns and
                     b"\x1b[J" in t.output, 10,
                     "%d lines of %d; %r" % (rows, columns, t.output[-300:]))
        t.output = BEGIN + t.output
        t.keys(b"q")
        expect_equal(t.ended(), 0, "exit status")
        t.close()


def test_leaves_the_terminal_as_it_was():
    with running() as s:
        for ending, status in ((signal.SIGTERM, -signal.SIGTERM),
                               (signal.SIGHUP, -signal.SIGHUP),
                               (signal.SIGQUIT, -signal.SIGQUIT),
                               (b"\x03", -signal.SIGINT),
                               (b"\x04", 0)):
            t = Terminal(s)
            t.wait(r"smtpd up")
            expect(t.settings() != t.before, "keys come at once")
            if isinstance(ending, bytes):
                t.keys(ending)
            else:
                t.process.send_signal(ending)
            expect_equal(t.ended(), status, "how it ended by %r" % ending)
            t.close()
        # Its window is closed: it goes.
        t = Terminal(s)
        t.wait(r"smtpd up")
        os.close(t.slave)
        os.close(t.master)
        expect(t.process.wait(10) != 0, "it ends with its window")


def test_suspended_and_resumed():
    with running() as s:
        t = Terminal(s)
        t.wait(r"smtpd up")
        t.keys(b"\x1a")
        state = "/proc/%d/stat" % t.process.pid

        def stopped():
            with open(state) as f:
                return f.read().rsplit(")", 1)[1].split()[0] == "T"
        wait_for(stopped, 10, "it stops")
        expect_equal(t.settings(), t.before, "settings while it is stopped")
        t.read()
        seen = len(t.output)
        t.process.send_signal(signal.SIGCONT)
        wait_for(lambda: t.read() and BEGIN in t.output[seen:] and
                 b"smtpd up" in t.output[seen:], 10, "the picture again")
        t.keys(b"q")
        expect_equal(t.ended(), 0, "exit status")
        t.close()


def test_waits_for_the_server():
    with running() as s:
        send(s, "u@d1.example")
        t = Terminal(s)
        t.wait(r"queue    1 envelopes")
        s.stop()
        t.wait(r"smtpd is not running")
        t.wait(r"queue    1 envelopes")    # what was known stays
        s.start()
        t.output = t.output[-1:]
        wait_for(lambda: "q quit  p pause" in t.read() and
                 re.search(r"smtpd up \ds ", t.screen.text()), 20,
                 "it goes on: " + t.screen.text())
        t.wait(r"d1\.example")    # found again though nothing has happened
        t.output = BEGIN + t.output
        t.keys(b"q")
        expect_equal(t.ended(), 0, "exit status")
        t.close()


def test_one_snapshot():
    with running() as s:
        for i in range(3):
            send(s, "u@d%d.example" % i)
        send(s, "u@d2.example")
        text = s.ctl("top")    # not a terminal
        expect("queue    4 envelopes" in text and "\x1b" not in text,
               "a snapshot as text", text)
        lines = text.splitlines()
        expect(lines[9].split()[0] == "2" and "d2.example" in lines[9],
               "the largest first", text)
        told = json.loads(s.ctl("top", "--json", "--limit", "2"))
        expect_equal(told["now"]["envelopes"], 4, "envelopes")
        expect_equal(told["total"]["enqueued"], 4, "enqueued")
        expect_equal(len(told["destinations"]), 2, "--limit")
        expect_equal(told["destinations"][0]["destination"], "d2.example",
                     "the largest")
        expect_equal(told["destinations"][0]["envelopes"], 2, "its envelopes")
        expect(told["seconds"] > 0.5 and "commits" in told, "rates", told)
        run = subprocess.run(
            [tool("smtpctl"), "--spool", s.spool, "top", "--fast"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        expect(run.returncode == 1 and "usage:" in run.stderr, "usage",
               run.stderr)
        s.stop()
        run = subprocess.run([tool("smtpctl"), "--spool", s.spool, "top"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True)
        expect_equal((run.returncode, run.stdout, run.stderr),
                     (1, "", "smtpctl: smtpd doesn't seem to be running\n"),
                     "without a server")


def test_monitor():
    """Line by line as the reference prints it."""
    with running() as s:
        for i in range(3):
            send(s, "u@d%d.example" % i)
        with subprocess.Popen(
                [tool("smtpctl"), "--spool", s.spool, "monitor"],
                stdout=subprocess.PIPE, text=True) as run:
            lines = [run.stdout.readline() for _ in range(4)]
            run.kill()
        expect_equal(lines[0], "--- client ---  -- envelope --   "
                     "---- relay/delivery --- ------- misc -------\n",
                     "first line")
        expect_equal(lines[1], "curr conn disc  curr  enq  deq   ok tmpfail "
                     "prmfail loop expire remove bounce\n", "second line")
        for line in lines[2:]:
            expect(re.fullmatch(r"( *\d+) ( *\d+) ( *\d+)  ( *\d+) ( *\d+) "
                                r"( *\d+) ( *\d+)    ( *\d+)    ( *\d+) "
                                r"( *\d+)   ( *\d+)   ( *\d+)   ( *\d+)\n",
                                line), "a line", line)
        first, second = (list(map(int, line.split())) for line in lines[2:])
        expect_equal(first[3:5], [3, 3], "since the start: queued, enqueued")
        expect_equal(second[3:5], [3, 0], "since the line before")


if __name__ == "__main__":
    sys.exit(run_tests([
        test_shows_mail_and_keys_work, test_follows_the_size,
        test_leaves_the_terminal_as_it_was, test_suspended_and_resumed,
        test_waits_for_the_server, test_one_snapshot, test_monitor]))
