#!/usr/bin/env python3
"""Hostile and bad input against the running server: replies, the same
processes alive afterwards, memory of the receiving room flat, the queue
clean.  The numbers (F1, E3, R5) are those of the threat catalogue: F framing,
E envelope, R resources."""
import contextlib
import os
import re
import resource
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
from certificates import Authority                             # noqa: E402
from holdfast import (FULL, NOBODY, Failure, Server, Smtp,     # noqa: E402
                      expect, expect_equal, free_port, run_tests, tool,
                      wait_for)

CONF = """\
smtp limit max-errors 1000 max-bad-rcpt 30000
listen on 127.0.0.1 port {port} hostname mx.holdfast.example
table boxes { "@" = nobody }
table names { "loop1" = "loop2", "loop2" = "loop1" }
action "box" maildir "{folder}/Maildir" virtual <boxes> user nobody
action "list" maildir "{folder}/Maildir" virtual <names> user nobody
match from local for domain "inside.example" action "box"
match from local for domain "list.example" action "list"
"""
HELLO = b"EHLO client.example\r\n"
OPEN = (b"MAIL FROM:<a@outside.example>\r\n"
        b"RCPT TO:<b@inside.example>\r\nDATA\r\n")
TEXT = b"Subject: x\r\n\r\nhello\r\n"


def anonymous_kib(pid):
    with open("/proc/%d/status" % pid) as f:
        return int(re.search(r"RssAnon:\s+(\d+)", f.read()).group(1))


class Hostile:
    """A server; at the end it must be as it was."""

    def __init__(self, growth_kib=16 << 10, descriptors=None, killed=()):
        self.growth_kib = growth_kib
        self.killed = killed
        self.server = Server(CONF)
        self.maildir = self.server.maildir()
        if descriptors:
            self.server.wrapper = ["prlimit", "--nofile=%d:%d" %
                                   (descriptors, descriptors)]
        self.server.start()
        self.port = self.server.port

    def __enter__(self):
        # Warm: buffers that stay are there before the memory is measured.
        session = self.session()
        for _ in range(3):
            session.message("a@outside.example", ["b@inside.example"],
                            TEXT * 1000)
        session.quit()
        self.accepted = 3
        self.pids = self.rooms()
        self.memory = self.receive_memory()
        return self

    def __exit__(self, kind, *unused):
        if kind is None:
            self.check()
            expect_equal(self.server.stop(8), 0, "an orderly end")
        self.server.close()

    def rooms(self):
        return {pid: name for pid, name in self.server.pids().items()
                if pid == self.server.process.pid or
                name.startswith("smtpd-") and name not in
                ("smtpd-auth", "smtpd-agent") + tuple(self.killed)}

    def receive_memory(self):
        return sum(anonymous_kib(pid)
                   for pid in self.server.room_pids("smtpd-receive"))

    def sessions(self):
        got = re.search(r"^smtp\.session=(\d+)$", self.server.ctl(
            "show", "stats"), re.M)
        return int(got.group(1)) if got else 0    # zeros are not shown

    def session(self, hello=True, timeout=30):
        session = Smtp(self.port, timeout=timeout)
        if hello:
            session.expect("EHLO client.example", "250")
        return session

    def check(self):
        s = self.server
        session = self.session()
        reply = session.message("a@outside.example", ["b@inside.example"],
                                TEXT)
        expect(reply.startswith("250"), "mail is accepted afterwards", reply)
        self.accepted += 1
        session.quit()
        expect_equal(self.rooms(), self.pids, "processes")
        s.wait_empty(60)
        wait_for(lambda: self.sessions() == 0, 8, "no session is left")
        expect_equal(s.count(self.maildir), self.accepted,
                     "messages in the Maildir")
        s.check_clean()
        if "smtpd-receive" not in self.killed:
            wait_for(lambda: self.receive_memory() <
                     self.memory + self.growth_kib, 10,
                     "memory of smtpd-receive: %d KiB before, %d KiB after" %
                     (self.memory, self.receive_memory()))
        text = s.log_text()
        expect(all(c == "\n" or c == "\t" or " " <= c <= "~" for c in text),
               "the log is plain text")


def raw(port, data, timeout=10):
    """Everything said to a client that writes `data` and reads to the end."""
    with contextlib.closing(socket.create_connection(
            ("127.0.0.1", port), timeout)) as s:
        with contextlib.suppress(ConnectionError):
            s.sendall(data)
        return drain(s)


def drain(s):
    got = b""
    with contextlib.suppress(ConnectionError):
        while True:
            piece = s.recv(1 << 16)
            if not piece:
                return got
            got += piece
    return got


def codes(text):
    return [int(line[:3]) for line in text.splitlines()
            if re.match(rb"\d{3} ", line)]


# --- framing

# The cases of testdata/hostile: protocol/smtp_hostile_test.cc runs them at
# every split, this once over sockets.  Those of the local socket are left to
# it.  The PROXY header makes the client one from outside.

TABLE_CONF = """\
pki mx.holdfast.example cert "{cert}" key "{key}"
table users file:{folder}/users
table boxes { "@" = nobody }
smtp max-message-size 100000
smtp limit max-mails 3 max-errors 20 max-auth-failures 3
listen on 127.0.0.1 port {plain} proxy-v1 hostname mx.holdfast.example
listen on 127.0.0.1 port {tls} proxy-v1 tls pki mx.holdfast.example \\
    auth-optional <users> hostname mx.holdfast.example
listen on 127.0.0.1 port {auth} proxy-v1 smtps pki mx.holdfast.example \\
    auth-optional <users> hostname mx.holdfast.example
listen on 127.0.0.1 port {xclient} proxy-v1 xclient { 192.0.2.1 } \\
    hostname mx.holdfast.example
listen on 127.0.0.1 port {port} hostname mx.holdfast.example
action "box" maildir "{folder}/Maildir" virtual <boxes> user nobody
match from any for domain "inside.example" action "box"
"""
TABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                     "../../testdata/hostile")
PROXY = b"PROXY TCP4 192.0.2.1 192.0.2.2 1025 25\r\n"


class Case:
    def __init__(self, name):
        self.name = name
        self.options = set()
        self.turns = [b""]    # a handshake between two
        self.replies = []
        self.messages = []
        self.closed = False


def unescape(text):
    letters = {"r": b"\r", "n": b"\n", "t": b"\t", "v": b"\v", "0": b"\0"}

    def one(match):
        if match.group(1) is not None:    # {TEXT*N}
            return unescape(match.group(1)) * int(match.group(2))
        if match.group(3) is not None:    # \\xHH
            return bytes([int(match.group(3), 16)])
        if match.group(4) is not None:
            return letters.get(match.group(4), match.group(4).encode())
        return match.group(0).encode()
    pieces = re.finditer(r"\{([^}]*)\*(\d+)\}|\\x([0-9a-f]{2})|\\(.)|.", text)
    return b"".join(one(match) for match in pieces)


def hostile_cases():
    cases = []
    for name in sorted(os.listdir(TABLE)):
        if not name.endswith(".txt"):
            continue
        with open(os.path.join(TABLE, name), encoding="ascii") as f:
            lines = f.read().split("\n")
        for line in lines:
            what, _, rest = line.partition(" ")
            if what in ("", "#") or line.startswith("#"):
                continue
            if what == "case":
                cases.append(Case(rest))
            elif what == "options":
                cases[-1].options = set(rest.split())
            elif what == "open":
                cases[-1].turns[-1] += HELLO + OPEN[:-len(b"DATA\r\n")]
                cases[-1].replies += ["250"] * 3
            elif what == "send":
                cases[-1].turns[-1] += unescape(rest)
            elif what == "handshake":
                cases[-1].turns.append(b"")
            elif what == "reply":
                cases[-1].replies.append(rest)
            elif what == "repeat":
                times, _, wanted = rest.partition(" reply ")
                cases[-1].replies += [wanted] * int(times)
            elif what == "message":
                cases[-1].messages.append(unescape(rest))
            elif what == "closed":
                cases[-1].closed = True
            else:
                raise Failure("%s: %s" % (name, line))
    return cases


class Table:
    """A server with a listener for each kind of case."""

    def __init__(self):
        self.ports = {name: free_port()
                      for name in ("plain", "tls", "auth", "xclient")}
        self.server = Server("")
        folder = self.server.folder
        self.authority = Authority(folder)
        cert, key = self.authority.issue("mx.holdfast.example")
        text = TABLE_CONF
        for name, value in dict(cert=cert, key=key, folder=folder,
                                port=self.server.port, **self.ports).items():
            text = text.replace("{%s}" % name, str(value))
        with open(self.server.conf, "a") as f:
            f.write(text)
        encrypted = subprocess.run([tool("smtpctl"), "encrypt", "secret"],
                                   stdout=subprocess.PIPE, check=True)
        with open(os.path.join(folder, "users"), "wb") as f:
            f.write(b"joe: " + encrypted.stdout)
        self.maildir = self.server.maildir()
        self.server.start()

    def connect(self, options):
        kind = ("tls" if "tls" in options else "auth" if "auth" in options
                else "xclient" if "xclient" in options else "plain")
        s = socket.create_connection(("127.0.0.1", self.ports[kind]), 60)
        s.sendall(PROXY)
        return self.secure(s) if kind == "auth" else s

    def secure(self, s):
        context = ssl.create_default_context(cafile=self.authority.cert)
        return context.wrap_socket(s, server_hostname="mx.holdfast.example")

    def run(self, case):
        """What the server answers: last lines of replies, and if it closed."""
        lines = []

        def read(s, wanted):
            got = b""
            while len(lines) < wanted:
                # One octet: what is behind a reply may be TLS.
                octet = s.recv(1)
                if not octet:
                    return True
                got += octet
                if got.endswith(b"\r\n"):
                    if got[3:4] == b" ":
                        lines.append(got.decode().rstrip("\r\n"))
                    got = b""
            return False
        s = self.connect(case.options)
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: s.close())
            for i, turn in enumerate(case.turns):
                if i > 0:
                    # The go-ahead is the reply before the first that comes
                    # from inside.
                    wanted = 1 + next(n for n, r in enumerate(case.replies, 1)
                                      if r.startswith("220"))
                    expect(not read(s, wanted), case.name, lines)
                    s = self.secure(s)
                with contextlib.suppress(ConnectionError):
                    s.sendall(turn)
            with contextlib.suppress(ConnectionError):
                closed = read(s, 1 + len(case.replies))
                if case.closed and not closed:
                    closed = read(s, sys.maxsize)
        return lines, closed


def test_f1_f4_table():
    table = Table()
    server = table.server
    accepted = 0
    ran = 0
    for case in hostile_cases():
        # Without TLS no password is taken.
        if "local" in case.options or {"tls", "auth"} <= case.options:
            continue
        ran += 1
        lines, closed = table.run(case)
        expect_equal(len(lines), 1 + len(case.replies),
                     "replies of case %s: %s" % (case.name, lines))
        for got, wanted in zip(lines[1:], case.replies):
            expect(got.startswith(wanted), "case %s: %s" % (case.name, wanted),
                   lines)
        expect_equal(closed, case.closed, "closed: " + case.name)
        accepted += len(case.messages)
    expect(ran > 80, "cases: %d" % ran)
    expect("admin@" not in server.log_text().replace("login=admin", ""),
           "nothing smuggled")
    for secret in ("AGpvZQ", "c2VjcmV0", "d3Jvbmc"):
        expect(secret not in server.log_text(), "no password in the log")
    server.wait_empty(60)
    expect_equal(server.count(table.maildir), accepted, "messages")
    expect_equal(server.stop(8), 0, "an orderly end")
    server.close()


def test_f6_everything_in_one_packet():
    with Hostile() as it:
        message = OPEN + TEXT + b".\r\n"
        got = codes(raw(it.port, HELLO + message + message + b"QUIT\r\n"))
        expect_equal(got, [220, 250] + [250, 250, 354, 250] * 2 + [221],
                     "two messages and QUIT in one packet")
        it.accepted += 2
        got = codes(raw(it.port, HELLO + OPEN + b".\r\nRCPT TO:<x@y>\r\n"
                        b"DATA\r\nNOOP\r\nQUIT\r\n"))
        expect_equal(got, [220, 250, 250, 250, 354, 250, 503, 503, 250, 221],
                     "an empty message, then commands out of order")
        it.accepted += 1
        # DATA is refused: what follows are commands, not a message.
        got = codes(raw(it.port, HELLO + b"MAIL FROM:<a@b>\r\n"
                        b"RCPT TO:<x@nowhere.example>\r\nDATA\r\n"
                        b"Subject: x\r\n.\r\nQUIT\r\n"))
        expect_equal(got, [220, 250, 250, 550, 503, 500, 500, 221],
                     "a group whose recipient is refused")
        # Cut at every byte: the same.
        stream = HELLO + message + b"RSET\r\nQUIT\r\n"
        for cut in range(1, len(stream)):
            with contextlib.closing(socket.create_connection(
                    ("127.0.0.1", it.port), 10)) as s:
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                s.sendall(stream[:cut])
                time.sleep(0.0005)
                s.sendall(stream[cut:])
                expect_equal(codes(drain(s)), [220, 250, 250, 250, 354, 250,
                                               250, 221], "cut at %d" % cut)
            it.accepted += 1


def test_f8_long_commands():
    with Hostile() as it:
        for size, start in ((2047, "500 5.5.1"), (2048, "500 5.0.0"),
                            (4096, "500 5.0.0"), (65536, "500 5.0.0")):
            got = raw(it.port, b"X" * size + b"\r\nQUIT\r\n").decode()
            expect(("\r\n" + start) in got, "a command of %d" % size, got)
            expect_equal("221" in got, size == 2047, "QUIT after %d" % size)
        # No line end, ever.
        for _ in range(50):
            s = socket.create_connection(("127.0.0.1", it.port), 10)
            with contextlib.suppress(ConnectionError), contextlib.closing(s):
                for _ in range(64):
                    s.sendall(b"X" * 65536)


def test_f9_long_data_lines():
    with Hostile(growth_kib=24 << 10) as it:
        session = it.session()
        for size, start in ((998, "250"), (65534, "250"), (65535, "500 5.0.0"),
                            (10 << 20, "500 5.0.0")):
            reply = session.message("a@outside.example", ["b@inside.example"],
                                    b"Subject: x\r\n\r\n" + b"y" * size)
            expect(reply.startswith(start), "a line of %d" % size, reply)
            it.accepted += start == "250"
        # The same in the header.
        for size, start in ((60000, "250"), (70000, "500 5.0.0"),
                            (10 << 20, "500 5.0.0")):
            reply = session.message("a@outside.example", ["b@inside.example"],
                                    b"Subject: " + b"y" * size + b"\r\n\r\nx")
            expect(reply.startswith(start), "a field of %d" % size, reply)
            it.accepted += start == "250"
        session.quit()


def test_f10_f11_header_mass_and_syntax():
    fields = b"".join(b"X-%d: y\r\n" % i for i in range(100000))
    addresses = b"To: " + b",\r\n ".join(
        b"u%d" % i for i in range(5000)) + b"\r\n"
    cases = [
        (fields + b"\r\nx\r\n", "250"),
        (b"Subject: x\r\n" + b" y\r\n" * 300000 + b"\r\nx\r\n", "250"),
        (b"Bcc: x\r\n" + b" y\r\n" * 300000 + b"\r\nx\r\n", "250"),
        (b"To: x\r\n" + b" y\r\n" * 300000 + b"\r\nx\r\n", "550 5.7.1"),
        (b"To: " + b"(" * 60000 + b"\r\n\r\nx\r\n", "250"),
        (b"To: " + b"a," * 30000 + b"\r\n\r\nx\r\n", "250"),
        (addresses * 200 + b"\r\nx\r\n", "250"),
        (b"Received: x\r\n" * 99 + b"\r\nx\r\n", "250"),
        (b"Received: x\r\n" * 100 + b"\r\nx\r\n", "500 5.4.6"),
        (b" leading\r\n\r\nx\r\n", "550 5.7.1"),
        (b"no colon\r\n\r\nx\r\n", "550 5.7.1"),
        (b"From x Mon\r\nSubject: x\r\n\r\nx\r\n", "550 5.7.1"),
        (b"A\0B: x\r\n\r\nx\r\n", "550 5.6.0"),
        # What completing makes of it is larger than the queue takes.
        ((b"To: " + b"a," * 30000 + b"a\r\n") * 80 + b"\r\nx\r\n",
         "554 5.3.4"),
        (b"Subject: only a header\r\n", "250"), (b"", "250"),
        (b"\r\n", "250"), (b"\r\n\r\n\r\n", "250"), (b":\r\n\r\n", "250"),
    ]
    with Hostile(growth_kib=32 << 10) as it:
        session = it.session()
        for text, start in cases:
            begin = time.monotonic()
            reply = session.message("a@outside.example", ["b@inside.example"],
                                    text)
            expect(reply.startswith(start), "reply to %r" % text[:40], reply)
            expect(time.monotonic() - begin < 20, "time for %r" % text[:40])
            it.accepted += start == "250"
        session.quit()


def test_f12_nul_and_8bit_in_commands():
    with Hostile() as it:
        session = it.session(hello=False)

        def answer(line, start):
            session.send(line + b"\r\n")
            reply = session.reply()
            expect(reply.startswith(start), "reply to %r" % line, reply)
        for garbage in (b"a\0b", b"a\rb"):
            answer(b"EHLO " + garbage, "500 5.5.2")
        for garbage in (b"\xff\xfe", b"a b", b"a..b", b"foo.", b"-a", b"[foo]",
                        b"[999.1.1.1]", b"[IPv6:fe80::1%eth0]", b"<a>", b"\"x\"",
                        b"$(id)", b"a" * 256, b"\x1b[2J", b"\xe2\x80\xae"):
            answer(b"EHLO " + garbage, "501 5.5.4")
        answer(b"EHLO", "501 5.5.1")
        answer(b"EHLO ", "501 5.5.4")
        answer(b"MAIL FROM:<a@b>", "503")
        answer(b"EHLO [IPv6:::1]", "250")
        answer(b"\0QUIT", "500")
        answer(b"QUIT\0", "500")
        answer(b"MAIL FROM:<a\0b@c>", "500 5.5.2")
        answer(b"MAIL FROM:<\xfca@c>", "553")
        answer(b"MAIL FROM:<\xc3\xbc@c>", "550 5.6.7")
        answer(b"", "500 5.5.1")
        answer(b" QUIT", "500 5.5.1")
        answer(b"QUIT ", "500 5.5.4")
        answer(b"NOOP " + bytes(range(32, 256)), "250")
        answer(b"XYZ " + bytes(set(range(1, 256)) - {10, 13}), "500")
        session.quit()


def test_f13_other_protocols():
    with Hostile() as it:
        for data in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                     b"POST / HTTP/1.1\r\n\r\nMAIL FROM:<a@b>\r\n",
                     b"CONNECT x:25 HTTP/1.0\r\n\r\n"):
            got = raw(it.port, data)
            expect_equal(codes(got), [220, 500], "one refusal, then the end")
            expect(b"HTTP" not in got, "no reflection", got)
        hello = bytes.fromhex("16030100ca010000c60303") + os.urandom(190)
        raw(it.port, hello + b"\r\nQUIT\r\n")
        raw(it.port, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\nQUIT\r\n")
        for seed in range(200):
            raw(it.port, os.urandom(300).replace(b"\n", b"\r\n") +
                b"\r\nQUIT\r\n")


def test_f14_bdat():
    begin = HELLO + b"MAIL FROM:<a@outside.example>\r\n"
    rcpt = b"RCPT TO:<b@inside.example>\r\n"
    with Hostile() as it:
        def dialogue(data, wanted, accepted=0):
            expect_equal(codes(raw(it.port, data + b"QUIT\r\n")), wanted,
                         "replies to %r" % data[-60:])
            it.accepted += accepted
        for bad in (b"-1", b"x", b"", b"1 LAST x", b"0x10", b"+5", b"1x",
                    b"99999999999999999999999", b"1\0", b"1 FIRST"):
            got = codes(raw(it.port, begin + rcpt + b"BDAT " + bad +
                            b"\r\nNOOP\r\n"))
            expect_equal(got, [220, 250, 250, 250, 501],
                         "BDAT %r, and the end" % bad)
        # Refused: its octets are read, and are no commands.
        dialogue(b"BDAT 6\r\nQUIT\r\n", [220, 503, 221])
        dialogue(begin + b"BDAT 6 LAST\r\nQUIT\r\n", [220, 250, 250, 503, 221])
        dialogue(begin + b"BDAT 0 LAST\r\n", [220, 250, 250, 503, 221])
        # Then nothing is left of the transaction.
        dialogue(begin + rcpt + b"BDAT 3\r\nA:bDATA\r\nRCPT TO:<c@d>\r\n",
                 [220, 250, 250, 250, 250, 503, 503, 221])
        dialogue(begin + rcpt + b"BDAT 0 LAST\r\nDATA\r\n",
                 [220, 250, 250, 250, 250, 503, 221], 1)
        dialogue(begin + rcpt + b"BDAT 7\r\nA: b\r\n\rBDAT 4 LAST\r\n\nx\r\n",
                 [220, 250, 250, 250, 250, 250, 221], 1)
        dialogue(begin + rcpt + b"BDAT 7 LAST\r\na: b\n\r\n",
                 [220, 250, 250, 250, 550, 221])
        # Dots mean nothing here.
        dialogue(begin + rcpt + b"BDAT 12\r\nA: b\r\n\r\n.\r\n\rBDAT 1 LAST\r\n"
                 b"\n", [220, 250, 250, 250, 250, 250, 221], 1)
        dialogue(begin + rcpt + b"BDAT 12\r\nA: b\r\n\r\nx\r\nyRSET\r\n"
                 b"BDAT 2 LAST\r\nxx" + begin[len(HELLO):],
                 [220, 250, 250, 250, 250, 250, 503, 250, 221])
        # Chunks of one octet; of none.
        dialogue(begin + rcpt + b"BDAT 6\r\nA: b\r\n" +
                 b"BDAT 1\r\nx" * 0 + b"BDAT 2\r\n\r\n" +
                 b"BDAT 1\r\nx" * 20000 + b"BDAT 0 LAST\r\n",
                 [220, 250, 250, 250] + [250] * 20003 + [221], 1)
        dialogue(begin + rcpt + b"BDAT 0\r\n" * 20000 + b"RSET\r\n",
                 [220, 250, 250, 250] + [250] * 20001 + [221])
        # Larger than allowed, without end.
        for _ in range(5):
            with contextlib.closing(socket.create_connection(
                    ("127.0.0.1", it.port), 10)) as s:
                s.sendall(begin + rcpt + b"BDAT 900000000000000000\r\n")
                with contextlib.suppress(ConnectionError):
                    for _ in range(40):
                        s.sendall(b"x" * (1 << 20))


# --- envelope

def test_e1_e10_arguments():
    long_domain = ".".join(["a" * 60] * 5)
    refused = [
        "<;id@b>x", "a@b", "<a@b", "<a b@c>", "<\"a b@c>", "<\"\"\"@c>",
        "<a..b@c>", "<.a@c>", "<a.@c>", "<" + "a" * 256 + "@b>", "<a@-b>",
        "<a@b..c>", "<a@" + long_domain + ">", "<a@[999.0.0.1]>",
        "<a@[fe80::1%lo]>", "<a@>b", "<`id`@$(id)>", "<a@b|c>", "<a@b/../c>",
        "<a@b;c>", "<a:b:c@>", "<\\@b>", "<(x)a@b>", "<a,b@c>",
        "<../x@b>", "<a@" + "b" * 64 + ".c>",
    ]
    with Hostile() as it:
        session = it.session()
        for argument in refused:
            reply = session.command("MAIL FROM:" + argument)
            expect(reply[0] == "5", "MAIL FROM:%s" % argument, reply)
        for parameters, start in (
                ("SIZE=-1", "501"), ("SIZE=", "501"), ("SIZE=1e3", "501"),
                ("SIZE=" + "9" * 21, "501"), ("SIZE=" + "9" * 20, "552"),
                ("SIZE=1 SIZE=1", "501"), ("BODY=BINARY", "503"),
                ("BODY=", "503"), ("FOO", "503"), ("FOO=BAR", "503"),
                ("ENVID=+0D+0A", "501"), ("ENVID=+00", "501"),
                ("ENVID=+ZZ", "501"), ("ENVID=" + "x" * 101, "503"),
                ("RET=ALL", "501"), ("AUTH=+0A", "501"),
                ("SMTPUTF8=1", "501"), ("REQUIRETLS", "503"),
                ("MT-PRIORITY=10", "501"), ("BY=0;R", "501"),
                ("HOLDFOR=9999999", "501"), ("HOLDUNTIL=never", "501")):
            session.expect("MAIL FROM:<a@b.example> " + parameters, start)
        session.expect("mail from:   <a@b.example>   SIZE=1 BODY=8bitmime "
                       "RET=HDRS ENVID=a+2Bb", "250")
        for argument in refused + ["<>", "<@>", "<@x>"]:
            reply = session.command("RCPT TO:" + argument)
            expect(reply[0] == "5", "RCPT TO:%s" % argument, reply)
        for parameters, start in (
                ("NOTIFY=NEVER,DELAY", "553"), ("NOTIFY=x", "501"),
                ("NOTIFY=", "501"), ("ORCPT=rfc822", "553"),
                ("ORCPT=rfc822;a+0Ab", "553"), ("ORCPT=rfc822;a+00b", "553"),
                ("ORCPT=;x", "553"), ("ORCPT=rfc822;" + "x" * 500, "553"),
                ("FOO=BAR", "503")):
            session.expect("RCPT TO:<b@inside.example> " + parameters, start)
        for address in ("/etc/passwd@inside.example",
                        "|id@inside.example", "`id`@inside.example",
                        "@a,@b:joe@inside.example", "x%o@inside.example",
                        "a!b@inside.example", "${IFS}@inside.example"):
            session.expect("RCPT TO:<%s>" % address, "250 2.1.5")
        for address in ("x@nowhere.example", "x%inside.example@nowhere.example",
                        "@inside.example:x@nowhere.example", "x@[127.0.0.1]",
                        "postmaster"):
            session.expect("RCPT TO:<%s>" % address, "550 Invalid recipient: <")
        session.expect("RCPT TO:<loop1@list.example>", "524 5.2.4")
        session.expect("DATA", "354")
        session.send(TEXT + b".\r\n")
        expect(session.reply().startswith("250"), "the message")
        it.accepted += 7
        session.quit()
        expect_equal(sorted(os.listdir(it.maildir)), ["cur", "new", "tmp"],
                     "addresses choose no files")


def test_e11_order():
    with Hostile() as it:
        session = it.session(hello=False)
        for line, start in (
                ("MAIL FROM:<a@b>", "503"), ("RCPT TO:<a@b>", "503"),
                ("DATA", "503"), ("RSET", "503"), ("HELO x", "250"),
                ("RCPT TO:<b@inside.example>", "503"), ("DATA", "503"),
                ("MAIL FROM:<>", "250 2.0.0"), ("MAIL FROM:<a@b>", "503"),
                ("DATA", "503"), ("RCPT TO:<x@nowhere.example>", "550"),
                ("DATA", "503"), ("RCPT TO:<b@inside.example>", "250"),
                ("MAIL FROM:<a@b>", "503"), ("EHLO y", "250"),
                ("RCPT TO:<b@inside.example>", "503"), ("DATA", "503"),
                ("MAIL FROM:<>", "250"), ("RCPT TO:<b@inside.example>", "250"),
                ("RSET", "250"), ("DATA", "503"), ("MAIL FROM:<a@b>", "250"),
                ("RCPT TO:<b@inside.example>", "250"), ("DATA", "354")):
            session.expect(line, start)
        # Refused at its end: nothing of it is left.
        session.send(b"x\r\n.\r\n")
        expect(session.reply().startswith("550 5.7.1"), "malformed")
        for line, start in (("DATA", "503"), ("RCPT TO:<b@inside.example>",
                                              "503"), ("QUIT", "221")):
            session.expect(line, start)


def test_e12_r4_counts():
    with Hostile() as it:
        session = it.session()
        session.expect("MAIL FROM:<a@outside.example>", "250")
        session.send(b"".join(b"RCPT TO:<u%d@inside.example>\r\n" % i
                              for i in range(1001)))
        got = [session.reply()[:9] for _ in range(1001)]
        expect_equal(got, ["250 2.1.5"] * 1000 + ["451 4.5.3"], "replies")
        session.expect("DATA", "354")
        session.send(TEXT + b".\r\n")
        expect(session.reply().startswith("250"), "the accepted ones stay")
        it.accepted += 1000
        session.expect("MAIL FROM:<a@outside.example>", "250")
        session.send(b"RCPT TO:<u@nowhere.example>\r\n" * 10000)
        expect_equal({session.reply()[:3] for _ in range(10000)}, {"550"},
                     "unknown recipients")
        session.expect("RSET", "250")
        for _ in range(99):
            session.expect("MAIL FROM:<>", "250")
            session.expect("RCPT TO:<b@inside.example>", "250")
            session.expect("DATA", "354")
            session.send(b".\r\n")
            expect(session.reply().startswith("250"), "a message")
            it.accepted += 1
        session.expect("MAIL FROM:<>", "452 4.5.3")
        session.quit()


# --- resources

def test_r2_resets_and_half_closes():
    with Hostile() as it:
        for i in range(300):
            s = socket.create_connection(("127.0.0.1", it.port), 10)
            s.sendall(HELLO + OPEN + b"Subject: x\r\n\r\n" +
                      b"y" * 70 * (i % 50) + b"\r\n" * (i % 3))
            if i % 2:
                s.recv(100)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                         struct.pack("ii", 1, 0))
            s.close()
        # Large enough for chunks in the queue: all of them are dropped.
        for i in range(30):
            session = it.session()
            session.expect("MAIL FROM:<a@outside.example>", "250")
            session.expect("RCPT TO:<b@inside.example>", "250")
            session.expect("DATA", "354")
            session.send(b"Subject: x\r\n\r\n" + os.urandom(300000).hex()
                         .encode().replace(b"a", b"\r\n") + b"\r\n")
            session.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                      struct.pack("ii", 1, 0))
            session.close()
        # FIN inside a message: it is dropped, and the session ends.
        with contextlib.closing(socket.create_connection(
                ("127.0.0.1", it.port), 10)) as s:
            s.sendall(HELLO + OPEN + b"Subject: x\r\n")
            s.shutdown(socket.SHUT_WR)
            expect(250 in codes(drain(s)), "closed after FIN in a message")
        # FIN behind all that was to be said.
        got = []
        for _ in range(50):
            with contextlib.closing(socket.create_connection(
                    ("127.0.0.1", it.port), 10)) as s:
                s.sendall(HELLO + OPEN + TEXT + b".\r\nQUIT\r\n")
                s.shutdown(socket.SHUT_WR)
                got.append(codes(drain(s)))
        expect_equal(got, [[220, 250, 250, 250, 354, 250, 221]] * 50,
                     "all is answered after FIN")
        it.accepted += 50


def test_r2_replies_unread():
    with Hostile(growth_kib=24 << 10) as it:
        clients = []
        for _ in range(50):
            s = socket.create_connection(("127.0.0.1", it.port), 10)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.setblocking(False)
            clients.append(s)
        end = time.monotonic() + 6
        blocked = 0
        while time.monotonic() < end and blocked < len(clients):
            blocked = 0
            for s in clients:
                try:
                    s.send(b"HELP\r\n" * 10000)
                except BlockingIOError:
                    blocked += 1
        grown = it.receive_memory() - it.memory
        expect(grown < (len(clients) * 512) + (8 << 10),
               "memory held for clients that don't read: %d KiB" % grown)
        begin = time.monotonic()
        it.session().quit()
        expect(time.monotonic() - begin < 5, "others are served meanwhile")
        for s in clients:
            s.close()


def test_r3_idle_connections():
    count = 2000
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, max(
        8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    with Hostile(growth_kib=32 << 10) as it:
        idle = []
        for _ in range(count):
            s = socket.create_connection(("127.0.0.1", it.port), 30)
            idle.append(s)
        for s in idle:
            expect(s.recv(3) == b"220", "a banner for everybody")
        grown = it.receive_memory() - it.memory
        expect(grown < 32 * count, "%d KiB for %d sessions" % (grown, count))
        begin = time.monotonic()
        session = it.session()
        session.message("a@outside.example", ["b@inside.example"], TEXT)
        session.quit()
        it.accepted += 1
        expect(time.monotonic() - begin < 5, "served among the idle")
        for s in idle:
            s.close()


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid) as f:
        words = f.read().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def test_r5_descriptors():
    with Hostile(descriptors=256) as it:
        clients = []
        served = 0
        for _ in range(260):
            s = socket.create_connection(("127.0.0.1", it.port), 5)
            s.settimeout(0.1 if served != len(clients) else 5)
            clients.append(s)
            with contextlib.suppress(OSError):
                served += s.recv(3) == b"220"
        expect(50 < served < 256, "sessions with 256 descriptors", served)
        pid = it.server.room_pids("smtpd-receive")[0]
        before = cpu_seconds(pid)
        time.sleep(2)
        used = cpu_seconds(pid) - before
        expect(used < 0.5, "no busy loop while full: %.2f s of 2" % used)
        # Sessions that are there go on.
        clients[0].settimeout(10)
        with clients[0].makefile("rb") as replies:
            replies.readline()
            clients[0].sendall(b"NOOP\r\n")
            expect(replies.readline().startswith(b"250"), "NOOP while full")
        for s in clients:
            s.close()
        wait_for(it.server.ready, 10, "a banner once they are gone")


# --- rooms that die

def test_killed_rooms_during_traffic():
    victims = ("smtpd-lookup", "smtpd-queue", "smtpd-relay", "smtpd-receive",
               "smtpd-keys")
    with Hostile(killed=victims) as it:
        for victim in victims * (5 if FULL else 2):
            killed_in_sessions(it, victim)
        it.accepted = it.server.count(it.maildir)
        wait_for(lambda: not it.server.ctl("show", "queue").strip(), 60,
                 "an empty queue")
        it.accepted = it.server.count(it.maildir)


def killed_in_sessions(it, victim):
    """One idle, one in a transaction, one inside a message, one that sends:
    each gets its answer, or its connection is closed; nobody hangs."""
    idle = it.session()
    open_ = it.session()
    open_.expect("MAIL FROM:<a@outside.example>", "250")
    inside = [it.session() for _ in range(2)]
    for session in inside:
        session.expect("MAIL FROM:<a@outside.example>", "250")
        session.expect("RCPT TO:<b@inside.example>", "250")
        session.expect("DATA", "354")
    inside[0].send(b"Subject: x\r\n\r\nx\r\n")
    inside[1].send(b"Subject: x\r\n\r\n" + (os.urandom(30).hex().encode() +
                                            b"\r\n") * 20000)
    stop = threading.Event()
    unexpected = []
    traffic = [threading.Thread(target=send_until, args=(it, stop, unexpected))
               for _ in range(4)]
    for thread in traffic:
        thread.start()
    time.sleep(0.2)
    for pid in it.server.room_pids(victim):
        os.kill(pid, signal.SIGKILL)
    gone = victim == "smtpd-receive"
    try:
        answer(open_, b"RCPT TO:<c@inside.example>\r\n", gone, "24")
        answer(idle, b"MAIL FROM:<a@outside.example>\r\n", gone, "24")
        for session in inside:
            answer(session, b"\r\n.\r\n", gone,
                   "4" if victim == "smtpd-queue" else "2")
    finally:
        time.sleep(0.2)
        stop.set()
        for thread in traffic:
            thread.join(30)
    expect(not any(thread.is_alive() for thread in traffic),
           "no sender hangs after " + victim, it.server.log_tail())
    expect_equal(unexpected, [], "answers to those who send")
    wait_for(it.server.ready, 10, "a banner after " + victim)

    def accepted():
        with contextlib.suppress(Failure, OSError):
            session = it.session(timeout=5)
            reply = session.message("a@outside.example",
                                    ["b@inside.example"], TEXT)
            session.close()
            return reply.startswith("250")
    wait_for(accepted, 15, "mail accepted after " + victim)


def answer(session, data, gone, first):
    try:
        session.send(data)
        reply = session.reply()
    except (Failure, ConnectionError):
        expect(gone, "the session lives on")
        return
    expect(reply[0] in first, "the answer to %r" % data, reply)


def send_until(it, stop, unexpected):
    while not stop.is_set():
        try:
            session = Smtp(it.port, timeout=20)
            while not stop.is_set():
                for line in HELLO, b"MAIL FROM:<a@outside.example>\r\n", \
                        b"RCPT TO:<b@inside.example>\r\n", b"DATA\r\n", \
                        TEXT + b".\r\n":
                    session.send(line)
                    reply = session.reply()
                    if reply[0] == "5":
                        unexpected.append((line, reply))
                    if reply[0] not in "23":
                        break
        except (Failure, ConnectionError):
            time.sleep(0.01)
        except OSError as e:    # a time-out: a hang
            unexpected.append(repr(e))
            return


# --- volume

def test_large_messages():
    line = b"0123456789" * 7 + b"\r\n"
    with Hostile(growth_kib=24 << 10) as it:
        peak = []
        for size, start in ((36 << 20, "554 5.3.4"), (34 << 20, "250"),
                            (120 << 20, "554 5.3.4")):
            session = it.session(timeout=120)
            reply = session.message(
                "a@outside.example", ["b@inside.example"],
                b"Subject: x\r\n\r\n" + line * (size // len(line)))
            expect(reply.startswith(start), "%d MiB" % (size >> 20), reply)
            it.accepted += start == "250"
            peak.append(it.receive_memory() - it.memory)
            session.quit()
        expect(max(peak) < 24 << 10, "memory while large: %r KiB" % peak)
        # What does not shrink, several at once.
        noise = b"Subject: x\r\n\r\n" + b"\r\n".join(
            os.urandom(400).hex().encode() for _ in range(30000))
        threads = []
        replies = []

        def one():
            session = it.session(timeout=120)
            replies.append(session.message(
                "a@outside.example", ["b@inside.example"], noise)[:3])
            session.quit()
        for _ in range(6):
            threads.append(threading.Thread(target=one))
            threads[-1].start()
        for thread in threads:
            thread.join()
        expect_equal(replies, ["250"] * 6, "24 MB of noise, six at once")
        it.accepted += 6


def test_many_connections_one_after_the_other():
    with Hostile(growth_kib=2 << 10) as it:
        for i in range(10000 if FULL else 3000):
            with contextlib.closing(socket.create_connection(
                    ("127.0.0.1", it.port), 10)) as s:
                if i % 3 == 0:
                    continue    # not a word
                s.sendall(HELLO + b"MAIL FROM:<a@b>\r\n"
                          b"RCPT TO:<b@inside.example>\r\n")
                if i % 3 == 1:
                    continue    # gone while it is asked
                s.sendall(b"QUIT\r\n")
                expect(b"\r\n221 " in drain(s), "QUIT is answered")


def test_slow_lookup():
    with Hostile() as it:
        pid = it.server.room_pids("smtpd-lookup")[0]
        os.kill(pid, signal.SIGSTOP)
        sessions = []
        for _ in range(50):
            session = it.session()
            session.send(OPEN + TEXT + b".\r\nQUIT\r\n")
            sessions.append(session)
        time.sleep(1)
        it.session().quit()    # what asks nobody is served
        os.kill(pid, signal.SIGCONT)
        for session in sessions:
            expect_equal([session.reply()[:3] for _ in range(5)],
                         ["250", "250", "354", "250", "221"], "replies")
            session.close()
        it.accepted += 50


if __name__ == "__main__":
    sys.exit(run_tests([
        test for name, test in sorted(globals().items())
        if name.startswith("test_")]))
