#!/usr/bin/env python3
"""Hostile DNS: a small server of answers, good and bad, and what becomes of
the mail.  Runs in network and mount namespaces of its own, so that port 25,
192.0.2.0/24 and resolv.conf are its own.  The numbers (D1 to D5) are those of
the threat catalogue."""
import contextlib
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading

sys.dont_write_bytecode = True
from holdfast import (Failure, Server, Smtp, expect,           # noqa: E402
                      expect_equal, run_tests, wait_for)

OWN = "10.9.9.1"    # the addresses of this machine, inside
OWN6 = "2001:db8:9::1"
DNS_PORT = 5353
A, CNAME, SOA, MX = 1, 5, 6, 15
FORMERR, SERVFAIL, NXDOMAIN, NOTIMP = 1, 2, 3, 4


def wire_name(name):
    return b"".join(bytes([len(part)]) + part.encode()
                    for part in name.split(".") if part) + b"\0"


def mx(preference, target):
    return MX, struct.pack(">H", preference) + wire_name(target)


def a(address):
    return A, socket.inet_aton(address)


def cname(target):
    return CNAME, wire_name(target)


class Dns:
    """records: {(name, type): [(type, data)] or number of an rcode or a
    function (question bytes, id) -> whole answer or None}."""

    def __init__(self):
        self.records = {}
        self.questions = []
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", DNS_PORT))
        self.tcp = socket.socket()
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind(("127.0.0.1", DNS_PORT))
        self.tcp.listen(16)
        threading.Thread(target=self.serve_udp, daemon=True).start()
        threading.Thread(target=self.serve_tcp, daemon=True).start()

    def serve_udp(self):
        with contextlib.suppress(OSError):
            while True:
                data, peer = self.udp.recvfrom(4096)
                answer = self.answer(data)
                if answer is None:
                    continue
                if len(answer) > 1232:    # come by TCP
                    end = 12 + answer[12:].index(0) + 5
                    answer = answer[:2] + b"\x83\x80\0\1\0\0\0\0\0\0" + \
                        answer[12:end]
                self.udp.sendto(answer, peer)

    def serve_tcp(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.tcp.accept()
                threading.Thread(target=self.converse, args=(connection,),
                                 daemon=True).start()

    def converse(self, connection):
        with contextlib.suppress(OSError, struct.error), connection:
            lines = connection.makefile("rb")
            while True:
                size, = struct.unpack(">H", lines.read(2))
                answer = self.answer(lines.read(size))
                if answer is not None:
                    connection.sendall(struct.pack(">H", len(answer)) + answer)

    def answer(self, question):
        name, at = [], 12
        while question[at]:
            name.append(question[at + 1:at + 1 + question[at]].decode())
            at += 1 + question[at]
        kind, = struct.unpack(">H", question[at + 1:at + 3])
        asked = question[12:at + 5]
        name = ".".join(name).lower()
        self.questions.append((name, kind))
        found = self.records.get((name, kind))
        if callable(found):
            return found(question[:2], asked)
        if isinstance(found, int):
            return question[:2] + struct.pack(">HHHHH", 0x8180 | found, 1, 0,
                                              0, 0) + asked
        return message(question[:2], asked,
                       found or self.records.get((name, CNAME), []),
                       soa=found is None)


def message(number, asked, records, soa=False):
    records = [r for r in records if r is not None]
    out = number + struct.pack(">HHHHH", 0x8180, 1, len(records),
                               1 if soa and not records else 0, 0) + asked
    for kind, data in records:
        out += b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(data)) + data
    if soa and not records:
        data = b"\0\0" + struct.pack(">IIIII", 1, 1, 1, 1, 1)
        out += b"\0" + struct.pack(">HHIH", SOA, 1, 1, len(data)) + data
    return out


class Sink:
    """Takes all mail at an address, port 25; knows who came where."""

    def __init__(self, address):
        self.recipients = []
        self.listener = socket.socket(
            socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if ":" in address:    # IPV6_FREEBIND: a route is all there is of it
            self.listener.setsockopt(socket.IPPROTO_IPV6, 78, 1)
        self.listener.bind((address, 25))
        self.listener.listen(16)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(connection,),
                                 daemon=True).start()

    def serve(self, connection):
        with contextlib.suppress(OSError), connection:
            connection.sendall(b"220 sink\r\n")
            in_text = False
            for line in connection.makefile("rb"):
                if in_text and line != b".\r\n":
                    continue
                if line.upper().startswith(b"RCPT"):
                    self.recipients.append(
                        line.decode().split("<")[1].split(">")[0])
                in_text = line.upper().startswith(b"DATA")
                connection.sendall(
                    b"354 go\r\n" if in_text else
                    b"250-sink\r\n250 SMTPUTF8\r\n"
                    if line.upper().startswith(b"EHLO") else b"250 ok\r\n")


CONF = """\
listen on 127.0.0.1 port {port} hostname mx.holdfast.example
table boxes { "@" = nobody }
action "box" maildir "{folder}/Maildir" virtual <boxes> user nobody
action "out" relay
match from any for domain "inside.example" action "box"
match from local for any action "out"
"""


class Mail:
    """A server of ours that asks the name server; sinks are the same for all
    tests."""

    sinks = {}

    def __init__(self):
        if not Mail.sinks:
            Mail.sinks = {n: Sink("192.0.2.%d" % n) for n in (1, 2, 3)}
            Mail.sinks[6] = Sink("2001:db8::6")
        self.server = Server(CONF)
        self.server.maildir()
        self.server.start()
        self.cases = []

    def __enter__(self):
        self.pids = self.rooms()
        return self

    def __exit__(self, *unused):
        self.server.close()

    def rooms(self):
        return {pid: name for pid, name in self.server.pids().items()
                if name not in ("smtpd-auth", "smtpd-agent")}

    def send(self, *recipients):
        session = Smtp(self.server.port)
        session.expect("EHLO client.example", "250")
        for recipient in recipients:
            reply = session.message("s@inside.example", [recipient],
                                    b"Subject: x\r\n\r\nx\r\n")
            expect(reply.startswith("250"), "accepted", reply)
        session.quit()

    def settle(self, seconds=60):
        self.send(*["u@" + domain for domain, *_ in self.cases])
        fates = {}

        def all_known():
            for line in self.server.log_text().splitlines():
                got = re.search(r' mta delivery .* to=<([^>]*)> .*'
                                r'result="(\w+)" stat="(.*?)"$', line)
                if got:
                    fates[got.group(1)] = got.groups()[1:]
            for fields in self.server.queue():
                if fields[13]:
                    fates[fields[6]] = ("TempFail", fields[13])
            return all("u@" + c[0] in fates for c in self.cases)
        with contextlib.suppress(Failure):
            wait_for(all_known, seconds, "all fates")
        wrong = []
        for domain, result, stat, sink in self.cases:
            got = fates.get("u@" + domain, (None, ""))
            if got[0] != result or not re.search(stat, got[1]):
                wrong.append("%s: wanted %s %s, got %s" % (domain, result,
                                                           stat, got))
            at = [n for n, s in self.sinks.items()
                  if "u@" + domain in s.recipients]
            self.forget("u@" + domain)
            if at != ([sink] if sink else []):
                wrong.append("%s: wanted at %s, came to %s" % (domain, sink,
                                                               at))
        expect(not wrong, "%d wrong" % len(wrong), "\n      ".join(wrong))
        expect_equal(self.rooms(), self.pids, "processes")
        self.server.check_clean()


    def forget(self, recipient):
        for sink in self.sinks.values():
            sink.recipients = [r for r in sink.recipients if r != recipient]


class Zone(Mail):
    """With the Dns above, the same for all tests."""

    dns = None

    def __init__(self):
        Zone.dns = Zone.dns or Dns()
        self.dns.records.clear()
        self.dns.questions.clear()
        super().__init__()
        for n in range(1, 5):    # nobody is at 4
            self.dns.records["h%d.test" % n, A] = [a("192.0.2.%d" % n)]

    def case(self, domain, records, result, stat, sink=None):
        if records is not None:
            self.dns.records[domain, MX] = records
        self.cases.append((domain, result, stat, sink))


OK = "^250 ok$"


def test_good():
    with Zone() as z:
        z.case("order.test", [mx(20, "h2.test"), mx(10, "h1.test")],
               "Ok", OK, 1)
        z.case("first-dead.test", [mx(20, "h2.test"), mx(10, "h4.test")],
               "Ok", OK, 2)
        z.case("first-unknown.test", [mx(20, "h2.test"), mx(10, "none.test")],
               "Ok", OK, 2)
        z.dns.records["implicit.test", A] = [a("192.0.2.3")]
        z.case("implicit.test", None, "Ok", OK, 3)
        z.dns.records["alias.test", A] = [cname("h3.test")]
        z.case("mx-to-alias.test", [mx(10, "alias.test")], "Ok", OK, 3)
        z.dns.records["is-alias.test", CNAME] = [cname("order.test")]
        z.case("is-alias.test", None, "Ok", OK, 1)
        z.case("[192.0.2.2]", None, "Ok", OK, 2)
        z.case("null-and-more.test", [mx(0, ""), mx(10, "h1.test")], "Ok", OK,
               1)
        z.settle()


def test_none():
    """D1, D3, D4: nobody to send to, now or ever."""
    with Zone() as z:
        never = "^Domain does not accept mail$"
        z.case("null.test", [mx(0, "")], "PermFail", never)
        z.case("localhost.test", [mx(7, "localhost")], "PermFail", never)
        z.case("nxdomain.test", NXDOMAIN, "PermFail",
               "^Domain does not exist$")
        z.case("formerr.test", FORMERR, "PermFail", "^Invalid domain name$")
        z.case("servfail.test", SERVFAIL, "TempFail",
               "^Temporary failure in MX lookup$")
        z.case("notimp.test", NOTIMP, "TempFail",
               "^Temporary failure in MX lookup$")
        z.case("nothing.test", None, "TempFail", "^No MX found for domain$")
        z.case("no-address.test", [mx(1, "none.test")], "TempFail",
               "^No MX found for domain$")
        z.case("all-dead.test", [mx(1, "h4.test")], "TempFail",
               r"^Network error on destination MXs( \(.*\))?$")
        us = "^No MX found for destination$"
        for name, address in (("own", OWN), ("loopback", "127.0.0.1"),
                              ("zero", "0.0.0.0"), ("loop2", "127.9.9.9")):
            z.dns.records[name + "-host.test", A] = [a(address)]
            z.case(name + ".test", [mx(1, name + "-host.test")], "TempFail",
                   us)
        # RFC 5321 section 5.1: what stands behind ourselves is not for us.
        z.case("behind-us.test", [mx(1, "own-host.test"), mx(2, "h1.test")],
               "TempFail", us)
        z.case("before-us.test", [mx(1, "h1.test"), mx(2, "own-host.test")],
               "Ok", OK, 1)
        # A host that is nobody's does not hide those behind it.
        z.case("behind-loopback.test", [mx(1, "loopback-host.test"),
                                        mx(2, "h1.test")], "Ok", OK, 1)
        z.settle()
        expect("loops back to this host" in z.server.log_text(), "loops back")


def test_bad_answers():
    """D2, D4: loops, chains, and what is no answer."""
    lookup = "^Temporary failure in MX lookup$"
    with Zone() as z:
        z.dns.records["loop1.test", CNAME] = [cname("loop2.test")]
        z.dns.records["loop2.test", CNAME] = [cname("loop1.test")]
        z.case("loop1.test", None, "TempFail", lookup)
        z.dns.records["self.test", CNAME] = [cname("self.test")]
        z.case("self.test", None, "TempFail", lookup)
        for i in range(30):
            z.dns.records["c%d.test" % i, CNAME] = [cname("c%d.test" %
                                                          (i + 1))]
        z.case("c0.test", None, "TempFail", lookup)
        z.dns.records["loop-host.test", A] = [cname("loop1.test")]
        z.case("mx-loop.test", [mx(1, "loop1.test"), mx(2, "h1.test")], "Ok",
               OK, 1)
        bad = {
            "cut": lambda n, q: message(n, q, [mx(1, "h1.test")])[:-3],
            "short-rdata": lambda n, q: message(n, q, [(MX, b"\0")]),
            "short-a": lambda n, q: message(n, q, [(A, b"\1\2")]),
            "pointer-loop": lambda n, q: message(
                n, q, [(MX, b"\0\1\xc0" + bytes([12 + len(q) + 14]))]),
            "pointer-ahead": lambda n, q: message(n, q,
                                                  [(MX, b"\0\1\xff\xff")]),
            "counts": lambda n, q: n + b"\x81\x80\0\1\xff\xff\xff\xff\0\0" + q,
            "other-question": lambda n, q: message(
                n, wire_name("evil.test") + q[-4:], [mx(1, "h1.test")]),
            "other-type": lambda n, q: message(n, q[:-4] + b"\0\1\0\1",
                                               [mx(1, "h1.test")]),
            "not-an-answer": lambda n, q: n + b"\1\0\0\1\0\0\0\0\0\0" + q,
        }
        for name, answer in bad.items():
            z.case(name + ".test", answer, "TempFail", lookup)
        z.case("wrong-id.test", lambda n, q: message(
            bytes([n[0] ^ 1, n[1]]), q, [mx(1, "h1.test")]), "TempFail",
            lookup)
        z.case("silent.test", lambda n, q: None, "TempFail", lookup)
        z.case("empty.test", lambda n, q: b"", "TempFail", lookup)
        z.case("after.test", [mx(1, "h2.test")], "Ok", OK, 2)
        z.settle(120)


def test_fan_out():
    """D5: 1,000 MX of 20 addresses, TTL 0."""
    with Zone() as z:
        records = []
        for i in range(1000):
            records.append(mx(i % 7, "m%d.many.test" % i))
            z.dns.records["m%d.many.test" % i, A] = [
                a("192.0.2.%d" % (100 + (i + j) % 100)) for j in range(20)]
        z.case("many.test", records, "TempFail",
               r"^Network error on destination MXs( \(.*\))?$")
        z.settle()
        text = z.server.log_text()
        tries = text.count(" mta connecting ")
        expect(tries <= 10, "connections tried", tries)
        expect(len(z.dns.questions) <= 100, "questions asked",
               len(z.dns.questions))


def enter():
    """Runs this script again in namespaces of its own."""
    if os.geteuid() != 0 or subprocess.run(
            ["unshare", "-m", "-n", "true"]).returncode != 0:
        print("SKIP %s: needs root and namespaces" %
              os.path.basename(sys.argv[0]))
        return 0
    os.environ["HOLDFAST_INSIDE"] = "1"
    return subprocess.run(["unshare", "-m", "-n", sys.executable] +
                          sys.argv).returncode


def furnish():
    with tempfile.NamedTemporaryFile("w", delete=False) as f:
        f.write("nameserver [127.0.0.1]:%d\noptions timeout:1 attempts:2\n" %
                DNS_PORT)
    os.chmod(f.name, 0o644)
    for words in ("mount --make-rprivate /",
                  "mount --bind %s /etc/resolv.conf" % f.name,
                  "ip link set lo up", "ip addr add %s/32 dev lo" % OWN,
                  "ip route add local 192.0.2.0/24 dev lo",
                  "ip addr add %s/128 dev lo nodad" % OWN6,
                  "ip -6 route add local 2001:db8::/48 dev lo"):
        subprocess.run(words.split(), check=True)
    os.unlink(f.name)


def run_inside(tests):
    """As run_tests(), in namespaces of their own."""
    if "HOLDFAST_INSIDE" not in os.environ:
        return enter()
    furnish()
    return run_tests(tests)


if __name__ == "__main__":
    sys.exit(run_inside([value for name, value in list(globals().items())
                         if name.startswith("test_")]))
