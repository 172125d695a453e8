#!/usr/bin/env python3
"""Other mail servers as our next hop, in clear, by TLS and with credentials:
ours -> theirs -> smtp-blackhole.  All arrives once, as it was sent."""
import os
import re
import sys
import tempfile

sys.dont_write_bytecode = True
from certificates import Authority                             # noqa: E402
from holdfast import (Blackhole, Server, Smtp, expect,   # noqa: E402
                      expect_equal, run_tests, wait_for)
from peers import Exim, OpenSmtpd, Postfix                     # noqa: E402

CONF = """\
ca mine cert "%(ca)s"
table secrets { lab = "user:pa55 word" }
listen on 127.0.0.1 port {port} hostname mx.holdfast.example
action "out" relay host "%(url)s" %(options)s
match from local for any action "out"
"""
USER, PASSWORD = "user", "pa55 word"
MESSAGES = 20
SIZE = 20000


class Way:
    """A server of ours, a peer and a sink behind it."""

    def __init__(self, kind, scheme="smtp", options="", label="", name=None,
                 tls=False, mechanism=None):
        self.folder = tempfile.mkdtemp(prefix="holdfast-way.")
        os.chmod(self.folder, 0o755)
        self.authority = Authority(self.folder)
        self.sink = Blackhole(self.folder)
        pair = self.authority.issue(name or "localhost") if tls else None
        if pair:    # read by the peer's own user
            os.chmod(pair[1], 0o644)
        self.peer = kind(self.sink.port, certificate=pair, auth=mechanism and
                         (USER, PASSWORD, mechanism))
        self.server = Server(CONF % {
            "ca": self.authority.cert, "options": options,
            "url": "%s://%slocalhost:%d" % (scheme, label and label + "@",
                                            self.peer.port)})
        self.server.start()

    def send(self, count=MESSAGES):
        session = Smtp(self.server.port)
        session.expect("EHLO client.example", "250")
        for number in range(count):
            reply = session.message(
                "s%d@inside.example" % number,
                ["a%d@outside.example" % number,
                 "b%d@outside.example" % number],
                b"Subject: %d\r\n\r\n" % number + b"x" * 70 + b"\r\n.dot\r\n" +
                b"line\r\n" * (SIZE // 6))
            expect(reply.startswith("250"), "accepted", reply)
        session.quit()

    def arrived(self, count):
        try:
            wait_for(lambda: self.sink.stats()["recipients"] >= count, 60,
                     "all at the sink")
        except Exception as error:
            raise type(error)("%s\n%s\n%s" % (error, self.server.log_tail(),
                                              self.peer.text()[-2000:]))
        expect_equal(self.sink.stats()["recipients"], count, "at the sink")
        self.server.wait_empty()

    def log(self, pattern, what):
        text = self.server.log_text()
        found = re.search(pattern, text)
        expect(found, what, self.server.log_tail())
        return found


def everything(kind):
    """In clear, by opportunistic TLS that proves nothing, by TLS that proves
    the name."""
    way = Way(kind)
    way.send()
    way.arrived(2 * MESSAGES)
    way.log(r' mta delivery evpid=[0-9a-f]{16} from=<s0@inside\.example> '
            r'to=<a0@outside\.example> rcpt=<-> source="127\.0\.0\.1" '
            r'relay="127\.0\.0\.1 \(localhost\)" delay=\S+ result="Ok" '
            r'stat="250 ', "the line of a delivery")
    expect(" mta tls " not in way.server.log_text(), "clear")


def by_tls(kind):
    way = Way(kind, tls=True)
    way.send()
    way.arrived(2 * MESSAGES)
    way.log(r" mta tls ciphers=TLSv1\.3:TLS_\w+:(256|128)\n", "TLS")
    way.log(r' mta cert-check result="unverified" fingerprint="SHA256:'
            r'[0-9a-f]{64}"\n', "the certificate is not verified")

    way = Way(kind, "smtp+tls", "tls ca mine", tls=True)
    way.send()
    way.arrived(2 * MESSAGES)
    way.log(r' mta cert-check result="valid" fingerprint="SHA256:', "verified")


def another_name(kind):
    """A certificate for somebody else: the mail waits, and says why."""
    way = Way(kind, "smtp+tls", "tls ca mine", tls=True,
              name="other.example")
    way.send(1)
    wait_for(lambda: "certificate verification failed" in
             way.server.log_text(), 30, "the certificate is refused")
    wait_for(lambda: any("certificate verification failed" in field
                         for line in way.server.queue() for field in line), 30,
             "the queue says why")
    expect_equal(way.sink.stats()["recipients"], 0, "at the sink")


def by_auth(kind, mechanism):
    way = Way(kind, "smtp+tls", "tls ca mine auth <secrets>", "lab", tls=True,
              mechanism=mechanism)
    way.send()
    way.arrived(2 * MESSAGES)
    expect(PASSWORD not in way.server.log_text(), "no password in the log")
    way.server.close()


def no_auth(kind, mechanism):
    """Without credentials it is refused; in clear they are not said."""
    way = Way(kind, "smtp", tls=True, mechanism=mechanism)
    way.send(1)
    wait_for(lambda: 'result="PermFail"' in way.server.log_text(), 30,
             "refused without credentials")


def test_postfix_in_clear():
    everything(Postfix)


def test_postfix_tls():
    by_tls(Postfix)


def test_postfix_other_name():
    another_name(Postfix)


def test_postfix_plain():
    by_auth(Postfix, "PLAIN")


def test_postfix_login():
    by_auth(Postfix, "LOGIN")


def test_postfix_cram_md5():
    by_auth(Postfix, "CRAM-MD5")


def test_postfix_scram():
    by_auth(Postfix, "SCRAM-SHA-256")


def test_postfix_without_credentials():
    no_auth(Postfix, "PLAIN")


def test_exim_in_clear():
    everything(Exim)


def test_exim_tls():
    by_tls(Exim)


def test_exim_other_name():
    another_name(Exim)


def test_exim_plain():
    by_auth(Exim, "PLAIN")


def test_exim_login():
    by_auth(Exim, "LOGIN")


def test_exim_cram_md5():
    by_auth(Exim, "CRAM-MD5")


def test_exim_without_credentials():
    no_auth(Exim, "PLAIN")


def test_opensmtpd_in_clear():
    everything(OpenSmtpd)


if __name__ == "__main__":
    sys.exit(run_tests([value for name, value in list(globals().items())
                        if name.startswith("test_")]))
