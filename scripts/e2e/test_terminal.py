#!/usr/bin/env python3
"""What a person sees who sits at a terminal: smtpd and smtpctl ask for the key
of a sealed queue without showing it, ^C included; exports and imports show how
far they are, and take the bar away again."""
import contextlib
import fcntl
import os
import pty
import re
import socket
import subprocess
import sys
import termios

sys.dont_write_bytecode = True
from holdfast import (Failure, Server, Smtp, expect,            # noqa: E402
                      expect_equal, load, programs, run_tests, tool, wait_for)

KEY = "Kone-0123456789abcdef0123456789a"
CONF = """\
%slisten on 127.0.0.1 port {port}
action "out" relay host "smtp://127.0.0.1:1"
match from any for any action "out"
"""


class Terminal:
    """A program whose terminal this is."""

    def __init__(self, *words, out=None):
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.output = b""
        self.process = subprocess.Popen(
            list(words), stdin=self.slave, stdout=out or self.slave,
            stderr=self.slave, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.set_blocking(self.master, False)

    def read(self):
        with contextlib.suppress(BlockingIOError, OSError):
            while data := os.read(self.master, 65536):
                self.output += data
        return self.output.decode("utf-8", "replace")

    def wait(self, wanted, seconds=20):
        try:
            wait_for(lambda: re.search(wanted, self.read()), seconds, wanted)
        except Failure as e:
            raise Failure("%s; there is\n%s" % (e, self.read())) from e

    def type(self, text):
        os.write(self.master, text.encode())

    def status(self, seconds=60):
        """Of its end; the terminal is as it was."""
        def ended():
            self.read()
            return self.process.poll() is not None
        wait_for(ended, seconds, "its end")
        self.read()
        expect_equal(termios.tcgetattr(self.slave), self.before,
                     "the terminal's settings")
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


def is_open(port):
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    return False


@contextlib.contextmanager
def terminal(*words, out=None):
    one = Terminal(*words, out=out)
    try:
        yield one
    finally:
        one.close()


def send(server, count):
    load(server.port, "--messages", str(count), "--connections", "20")


def test_the_key_is_asked_for_and_not_shown():
    server = Server(CONF % "queue encryption\n")
    smtpd = [os.path.join(programs(), "server/smtpd"), "-d", "-f", server.conf]
    for wrong, said in (("short\n", "invalid key"), ("\x03", "interrupted")):
        with terminal(*smtpd) as one:
            one.wait("queue key: ")
            one.type(wrong)
            expect(one.status() == 1 and said in one.read(), "no key",
                   one.read())
    with terminal(*smtpd) as one:
        one.wait("queue key: ")
        one.type(KEY + "\n")
        wait_for(lambda: is_open(server.port), 20, "the port")
        expect_equal(termios.tcgetattr(one.slave), one.before,
                     "the terminal while it runs")
        smtp = Smtp(server.port)
        smtp.expect("EHLO client.example", "250")
        reply = smtp.message("a@client.example", ["b@example.org"],
                             b"Subject: x\r\n\r\nx\r\n")
        expect(reply.startswith("250"), "accepted", reply)
        smtp.quit()
        one.type("\x03")
        expect_equal(one.status(), 0, "^C ends it in good order")
        expect(KEY not in one.read(), "the key is not shown", one.read())
    # smtpctl asks in the same way while smtpd is down.
    environment = dict(os.environ, SMTPD_CONFIG=server.conf)
    with terminal("env", "SMTPD_CONFIG=" + environment["SMTPD_CONFIG"],
                  tool("smtpctl"), "--spool", server.spool, "show",
                  "queue") as one:
        one.wait("queue key: ")
        one.type(KEY + "\n")
        expect_equal(one.status(), 0, "a listing: %s" % one.read())
        expect("b@example.org" in one.read() and KEY not in one.read(),
               "what is on the screen", one.read())


def test_long_commands_show_how_far_they_are():
    a, b = Server(CONF % ""), Server(CONF % "")
    for one in (a, b):
        one.start()
        one.ctl("pause", "mta")
    count = 12000
    send(a, count)
    path = os.path.join(a.folder, "archive")
    bar = r"\[#* *\] queue %s: \d+ of " + str(count) + " messages"
    for server, words, out in ((a, ("export",), path),
                               (b, ("import", path), None)):
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(open(out, "wb")) if out else None
            one = stack.enter_context(
                terminal(tool("smtpctl"), "--spool", server.spool, "queue",
                         *words, out=file))
            expect_equal(one.status(300), 0, one.read())
            text = one.read()
            expect(re.search(bar % words[0], text), "a bar", text[-2000:])
            shown, last = text.rsplit("\r\x1b[K", 1)
            expect(bar not in last and "queue %s: " % words[0] in last,
                   "then one line", last)
            expect("\n" not in shown.split("looking at it first")[-1].split(
                "queue %s: " % words[0], 1)[-1], "the bar stays in its line",
                shown[-500:])
    expect_equal(len(b.queue()), count, "what came")


if __name__ == "__main__":
    sys.exit(run_tests([test_the_key_is_asked_for_and_not_shown,
                        test_long_commands_show_how_far_they_are]))
