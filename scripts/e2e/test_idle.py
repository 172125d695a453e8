#!/usr/bin/env python3
"""What connections cost that do nothing, or nearly nothing: memory of idle
sessions, with TLS and without, and how much 1,000 slow ones slow others down.
The short form has 500 idle ones and 100 slow ones; --full 5,000 and 1,000."""
import contextlib
import os
import resource
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
from certificates import Authority                               # noqa: E402
from holdfast import (FULL, Failure, Server, Smtp, expect,       # noqa: E402
                      free_port, run_tests, wait_for)

IDLE = 5000 if FULL else 500
SLOW = 1000 if FULL else 100
# Octets of RssAnon for each session.
MOST_PLAIN = 12 << 10
MOST_TLS = 40 << 10
CONF = """\
pki mx.example cert "%s" key "%s"
smtp limit max-sessions 20000
listen on 127.0.0.1 port {port} tls pki mx.example
listen on 127.0.0.1 port {smtps} smtps pki mx.example
table boxes { "@" = nobody }
action "box" maildir "{folder}/Maildir" virtual <boxes> user nobody
match from any for any action "box"
"""
TEXT = b"From: <a@b.example>\r\nSubject: x\r\n\r\nHello.\r\n"


class Place:
    def __init__(self):
        need = 2 * IDLE + 1000
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < need:
            resource.setrlimit(resource.RLIMIT_NOFILE,
                               (need, max(need, hard)))
        self.server = Server("")
        self.smtps = free_port()
        self.authority = Authority(self.server.folder)
        with open(self.server.conf, "a") as f:
            f.write((CONF % self.authority.issue("mx.example"))
                    .replace("{port}", str(self.server.port))
                    .replace("{smtps}", str(self.smtps))
                    .replace("{folder}", self.server.folder))
        self.server.maildir()
        self.server.start()

    def rss_anon(self):
        """Octets, of all receive rooms."""
        total = 0
        for pid in self.server.room_pids("smtpd-receive"):
            with open("/proc/%d/status" % pid) as f:
                for line in f:
                    if line.startswith("RssAnon:"):
                        total += int(line.split()[1]) << 10
        return total

    def sessions(self):
        for line in self.server.ctl("show", "stats").splitlines():
            if line.startswith("smtp.session="):
                return int(line.split("=")[1])
        return 0

    def connect(self, port, count):
        """`count` connections, many at a time."""
        made = []
        for begin in range(0, count, 200):
            some = [socket.create_connection(("127.0.0.1", port), 60)
                    for _ in range(min(200, count - begin))]
            made += some
        return made


def read_reply(s):
    data = b""
    while not data.endswith(b"\n") or (
            data.rsplit(b"\n", 2)[-2][3:4] == b"-"):
        more = s.recv(4096)
        if not more:
            raise Failure("closed after %r" % data)
        data += more
    return data


def measure(it, name, begin_session, most):
    """Memory of IDLE sessions, each `begin_session(socket)` once it is made."""
    # What the first ones cost stays with the process.
    warm = [begin_session(i) for i in range(50)]
    before = it.rss_anon()
    held = [begin_session(i) for i in range(IDLE)]
    wait_for(lambda: it.sessions() >= IDLE + len(warm), 60, "all sessions")
    each = (it.rss_anon() - before) / IDLE
    print("    %s: %d idle sessions, %.1f KiB of RssAnon each (at most %d)" % (
        name, IDLE, each / 1024, most >> 10))
    expect(each <= most, "%s: at most %d octets for each session" % (
        name, most), "%.0f" % each)
    for s in held + warm:
        s.close()
    wait_for(lambda: it.sessions() == 0, 60, "all sessions are gone")


def test_idle_sessions_without_tls():
    it = Place()

    def begin(_):
        s = socket.create_connection(("127.0.0.1", it.server.port), 60)
        read_reply(s)
        s.sendall(b"EHLO client.example\r\n")
        read_reply(s)
        return s
    measure(it, "clear text", begin, MOST_PLAIN)


def test_idle_sessions_with_tls():
    it = Place()
    context = ssl.create_default_context(cafile=it.authority.cert)
    context.check_hostname = False

    def begin(i):
        raw = socket.create_connection(
            ("127.0.0.1", it.smtps if i % 2 else it.server.port), 60)
        if i % 2 == 0:
            read_reply(raw)
            raw.sendall(b"EHLO client.example\r\n")
            read_reply(raw)
            raw.sendall(b"STARTTLS\r\n")
            read_reply(raw)
        s = context.wrap_socket(raw, server_hostname="mx.example")
        if i % 2:
            read_reply(s)
        s.sendall(b"EHLO client.example\r\n")
        read_reply(s)
        return s
    measure(it, "TLS", begin, MOST_TLS)


class Drip(threading.Thread):
    """Many sessions that say one octet now and then: of commands, and of
    messages that never end."""

    def __init__(self, it):
        super().__init__(daemon=True)
        self.sockets = it.connect(it.server.port, SLOW)
        for i, s in enumerate(self.sockets):
            read_reply(s)
            if i % 2:
                for line in (b"EHLO x\r\n", b"MAIL FROM:<a@b.example>\r\n",
                             b"RCPT TO:<c@d.example>\r\n", b"DATA\r\n"):
                    s.sendall(line)
                    read_reply(s)
        self.stopped = threading.Event()

    def run(self):
        while not self.stopped.wait(0.5):
            for s in self.sockets:
                with contextlib.suppress(OSError):
                    s.send(b"x")

    def stop(self):
        self.stopped.set()
        self.join()
        for s in self.sockets:
            s.close()


def seconds_of_messages(it, count):
    """Median time of a session with one message."""
    times = []
    for _ in range(count):
        begin = time.monotonic()
        session = Smtp(it.server.port)
        session.expect("EHLO client.example", "250")
        reply = session.message("a@b.example", ["c@d.example"], TEXT)
        expect(reply.startswith("250"), "a message", reply)
        session.quit()
        times.append(time.monotonic() - begin)
    return statistics.median(times)


def test_slow_clients_do_not_slow_others():
    it = Place()
    count = 200 if FULL else 40
    seconds_of_messages(it, 20)
    alone = seconds_of_messages(it, count)
    drip = Drip(it)
    drip.start()
    try:
        among = seconds_of_messages(it, count)
    finally:
        drip.stop()
    print("    a message takes %.2f ms alone, %.2f ms among %d slow sessions: "
          "%.2f times as long" % (alone * 1e3, among * 1e3, SLOW,
                                  among / alone))
    if FULL:
        expect(among <= 2 * alone, "at most twice the time",
               "%.4f and %.4f" % (alone, among))


if __name__ == "__main__":
    sys.exit(run_tests([value for name, value in list(globals().items())
                        if name.startswith("test_")]))
