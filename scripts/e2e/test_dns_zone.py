#!/usr/bin/env python3
"""Where mail goes, asked of a real name server (nsd) with a zone of some fifty
cases, and what becomes of it.  Runs in namespaces of its own, as test_dns.py
does, whose parts it uses; bad answers are that one's."""
import os
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
from holdfast import OPEN, Smtp, expect, peer, wait_for        # noqa: E402
from test_dns import DNS_PORT, OK, Mail, run_inside            # noqa: E402

LOOKUP = "^Temporary failure in MX lookup$"
NETWORK = "^Network error on destination MXs"
NO_MX = "^No MX found for domain$"
OURSELVES = "^No MX found for destination$"
LONG_LABEL = "l" * 63
LONG_NAME = ".".join(["n" * 61] * 3 + ["m" * 40]) + ".test"

# Sinks are at 192.0.2.1 to .3 (h1 to h3) and 2001:db8::6 (h6); nobody is at
# 192.0.2.4 and 2001:db8::4.
ZONE = """\
$ORIGIN test.
$TTL 300
@ SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
ns A 127.0.0.1
h1 A 192.0.2.1
h2 A 192.0.2.2
h3 A 192.0.2.3
h4 A 192.0.2.4
h6 AAAA 2001:db8::6
h46 AAAA 2001:db8::4
h46 A 192.0.2.2
both AAAA 2001:db8::6
both A 192.0.2.4
own A 10.9.9.1
own6 AAAA 2001:db8:9::1
loopback A 127.0.0.1
zero A 0.0.0.0
multicast A 224.0.0.1
broadcast A 255.255.255.255
linklocal AAAA fe80::1
alias1 CNAME h3
chain1 CNAME chain2
chain2 CNAME chain3
chain3 CNAME chain4
chain4 CNAME chain5
chain5 CNAME h2
""" + "".join("deep%d CNAME deep%d\n" % (i, i + 1) for i in range(30)) + """\
deep30 A 192.0.2.1
loop1 CNAME loop2
loop2 CNAME loop1
self CNAME self
abroad CNAME host.other.example.

order MX 20 h2
order MX 10 h1
equal MX 10 h1
equal MX 10 h1
same-address MX 10 h2
same-address MX 20 h2b
h2b A 192.0.2.2
first-dead MX 10 h4
first-dead MX 20 h2
first-unknown MX 10 nobody
first-unknown MX 20 h2
extremes MX 65535 h2
extremes MX 0 h3
implicit A 192.0.2.3
implicit6 AAAA 2001:db8::6
mx-to-alias MX 10 alias1
mx-to-chain MX 10 chain1
mx-to-abroad MX 10 abroad
is-alias CNAME order
is-alias-abroad CNAME mail.other.example.
alias-to-nothing CNAME nobody
deep-alias CNAME deep20
too-deep CNAME deep0
loop-target MX 10 loop1
loop-and-more MX 10 loop1
loop-and-more MX 20 h1
null MX 0 .
null-and-more MX 0 .
null-and-more MX 10 h1
localhost MX 10 localhost.
localhost-and-more MX 10 localhost.
localhost-and-more MX 20 h2
text-only TXT "no mail"
to-nothing MX 10 nobody
to-text MX 10 text-only
to-broken MX 10 host.broken.example.
to-broken-and-more MX 10 host.broken.example.
to-broken-and-more MX 20 h1
only-own MX 10 own
only-own6 MX 10 own6
behind-own MX 10 own
behind-own MX 20 h1
before-own MX 10 h1
before-own MX 20 own
only-loopback MX 10 loopback
behind-loopback MX 10 loopback
behind-loopback MX 20 h1
only-zero MX 10 zero
six MX 10 h6
six-first MX 10 both
six-dead MX 10 h46
multicast-first MX 10 multicast
multicast-first MX 20 h1
broadcast-first MX 10 broadcast
broadcast-first MX 20 h2
linklocal-first MX 10 linklocal
linklocal-first MX 20 h3
zero-ttl 0 MX 10 h1
*.wild MX 10 h1
*.wild-address A 192.0.2.2
under_score MX 10 _mx.under_score
_mx.under_score A 192.0.2.1
xn--bcher-kva MX 10 xn--mx-fka
xn--mx-fka A 192.0.2.3
renamed DNAME order
nowhere NS ns.nowhere
ns.nowhere A 192.0.2.4
""" + "%s MX 10 h1\n%s. MX 10 h2\n" % (LONG_LABEL, LONG_NAME) + \
    "".join("large MX %d mail-exchanger-number-%03d.large\n" % (20 + i, i)
            for i in range(60)) + "large MX 10 h1\n" + \
    "".join("many-addresses A 192.0.2.%d\n" % i for i in range(100, 160)) + \
    "many-addresses-first MX 10 many-addresses\n"

OTHER = """\
$ORIGIN other.example.
$TTL 300
@ SOA ns.test. hostmaster.test. 1 3600 600 86400 60
@ NS ns.test.
host A 192.0.2.2
mail MX 10 host
"""

# (domain, result, stat, number of the sink)
CASES = [
    ("order.test", "Ok", OK, 1),
    ("ORDER.Test", "Ok", OK, 1),
    ("equal.test", "Ok", OK, 1),
    ("same-address.test", "Ok", OK, 2),
    ("first-dead.test", "Ok", OK, 2),
    ("first-unknown.test", "Ok", OK, 2),
    ("extremes.test", "Ok", OK, 3),
    ("implicit.test", "Ok", OK, 3),
    ("implicit6.test", "Ok", OK, 6),
    ("mx-to-alias.test", "Ok", OK, 3),
    ("mx-to-chain.test", "Ok", OK, 2),
    ("mx-to-abroad.test", "Ok", OK, 2),
    ("is-alias.test", "Ok", OK, 1),
    ("is-alias-abroad.test", "Ok", OK, 2),
    ("alias-to-nothing.test", "PermFail", "^Domain does not exist$", None),
    ("deep-alias.test", "TempFail", LOOKUP, None),
    ("too-deep.test", "TempFail", LOOKUP, None),
    ("loop-target.test", "TempFail", NO_MX, None),
    ("loop-and-more.test", "Ok", OK, 1),
    ("null.test", "PermFail", "^Domain does not accept mail$", None),
    ("null-and-more.test", "Ok", OK, 1),
    ("localhost.test", "PermFail", "^Domain does not accept mail$", None),
    ("localhost-and-more.test", "Ok", OK, 2),
    ("text-only.test", "TempFail", NO_MX, None),
    ("to-nothing.test", "TempFail", NO_MX, None),
    ("to-text.test", "TempFail", NO_MX, None),
    ("to-broken.test", "TempFail", NO_MX, None),
    ("to-broken-and-more.test", "Ok", OK, 1),
    ("no-such-domain.test", "PermFail", "^Domain does not exist$", None),
    ("broken.example", "TempFail", LOOKUP, None),
    ("refused.example", "TempFail", LOOKUP, None),
    ("only-own.test", "TempFail", OURSELVES, None),
    ("only-own6.test", "TempFail", OURSELVES, None),
    ("behind-own.test", "TempFail", OURSELVES, None),
    ("before-own.test", "Ok", OK, 1),
    ("only-loopback.test", "TempFail", OURSELVES, None),
    ("behind-loopback.test", "Ok", OK, 1),
    ("only-zero.test", "TempFail", OURSELVES, None),
    ("six.test", "Ok", OK, 6),
    ("six-first.test", "Ok", OK, 6),
    ("six-dead.test", "Ok", OK, 2),
    ("multicast-first.test", "Ok", OK, 1),
    ("broadcast-first.test", "Ok", OK, 2),
    ("linklocal-first.test", "Ok", OK, 3),
    ("zero-ttl.test", "Ok", OK, 1),
    ("any.thing.wild.test", "Ok", OK, 1),
    ("any.wild-address.test", "Ok", OK, 2),
    ("under_score.test", "Ok", OK, 1),
    ("xn--bcher-kva.test", "Ok", OK, 3),
    ("mail.renamed.test", "PermFail", "^Domain does not exist$", None),
    ("nowhere.test", "TempFail", NO_MX, None),
    (LONG_LABEL + ".test", "Ok", OK, 1),
    (LONG_NAME, "Ok", OK, 2),
    ("large.test", "Ok", OK, 1),
    ("many-addresses-first.test", "TempFail", NETWORK, None),
    ("[192.0.2.3]", "Ok", OK, 3),
    ("[IPv6:2001:db8::6]", "Ok", OK, 6),
]


class Nsd:
    """nsd, on a port of 127.0.0.1, for the zones above."""

    def __init__(self, port, zone=ZONE):
        program = peer("nsd", "usr/sbin/nsd")
        self.folder = tempfile.mkdtemp(prefix="holdfast-nsd.")
        for name, text in (("test.zone", zone), ("other.zone", OTHER),
                           ("nsd.conf", self.conf(port))):
            with open(os.path.join(self.folder, name), "w") as f:
                f.write(text)
        self.log = open(os.path.join(self.folder, "log"), "wb")
        self.process = subprocess.Popen(
            [program, "-d", "-c", os.path.join(self.folder, "nsd.conf")],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        OPEN.append(self)
        wait_for(lambda: b"nsd started" in self.log_bytes(), 20, "nsd")

    def log_bytes(self):
        with open(os.path.join(self.folder, "log"), "rb") as f:
            return f.read()

    def conf(self, port):
        path = os.path.join(self.folder, "%s")
        return "server:\n" + "".join("  %s: %s\n" % pair for pair in (
            ("ip-address", "127.0.0.1@%d" % port), ("username", '""'),
            ("zonesdir", '"%s"' % self.folder), ("database", '""'),
            ("pidfile", '""'), ("xfrdfile", '"%s"' % (path % "xfrd")),
            ("zonelistfile", '"%s"' % (path % "zones")),
            ("xfrdir", '"%s"' % self.folder), ("verbosity", "1"),
            ("rrl-ratelimit", "0"))) + \
            "remote-control:\n  control-enable: no\n" + "".join(
            "zone:\n  name: %s\n  zonefile: %s\n" % pair for pair in (
                ("test", "test.zone"), ("other.example", "other.zone"),
                ("broken.example", "missing.zone")))

    def close(self):
        self.process.terminate()
        self.process.wait(20)
        self.log.close()


def test_zone():
    Nsd(DNS_PORT)
    with Mail() as m:
        m.cases = CASES
        m.settle(120)


def test_idn():
    """An internationalized domain is asked for by its A-label."""
    Nsd(DNS_PORT)
    with Mail() as m:
        session = Smtp(m.server.port)
        session.expect("EHLO client.example", "250")
        session.expect("MAIL FROM:<s@inside.example> SMTPUTF8", "250")
        session.expect("RCPT TO:<u@b\u00fccher.test>", "250")
        session.expect("DATA", "354")
        session.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
        reply = session.reply()
        expect(reply.startswith("250"), "accepted", reply)
        session.quit()
        wait_for(lambda: m.sinks[3].recipients, 30,
                 "mail at the internationalized domain\n" +
                 m.server.log_tail())
        m.forget(m.sinks[3].recipients[0])


def test_resolv_conf_changes():
    """Another name server in resolv.conf is asked without a restart."""
    Nsd(DNS_PORT)
    Nsd(DNS_PORT + 1, ZONE + "moved MX 10 h3\nalso-moved MX 10 h3\n")
    with open("/etc/resolv.conf") as f:
        before = f.read()
    with Mail() as m:
        try:
            m.cases = [("moved.test", "PermFail", "^Domain does not exist$",
                        None)]
            m.settle()
            with open("/etc/resolv.conf", "w") as f:
                f.write(before.replace(str(DNS_PORT), str(DNS_PORT + 1)))
            wait_for(lambda: "resolver configuration has changed" in
                     m.server.log_text(), 30, "the change is noticed")
            m.cases = [("also-moved.test", "Ok", OK, 3)]
            m.settle()
        finally:
            with open("/etc/resolv.conf", "w") as f:
                f.write(before)


if __name__ == "__main__":
    sys.exit(run_inside([test_zone, test_idn, test_resolv_conf_changes]))
