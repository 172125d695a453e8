#!/usr/bin/env python3
"""Delivery to Dovecot by LMTP, over a Unix socket and TCP: recipients of whom
one fails, sessions kept open, a server that goes away; and Maildirs of ours
read by its IMAP server."""
import os
import re
import sys

sys.dont_write_bytecode = True
from dovecot import Dovecot                                    # noqa: E402
from holdfast import (Server, Smtp, expect, expect_equal,      # noqa: E402
                      run_tests, wait_for)

CONF = """\
listen on 127.0.0.1 port {port} hostname mx.holdfast.example
table people { joe = "65534:65534:/", ann = "65534:65534:/",
    full = "65534:65534:/", gone = "65534:65534:/" }
action "socket" lmtp "%(socket)s" userbase <people>
action "tcp" lmtp "127.0.0.1:%(port)d" userbase <people>
action "address" lmtp "127.0.0.1:%(port)d" rcpt-to userbase <people>
action "program" lmtp "127.0.0.1:%(port)d" userbase <people> wrapper "nice"
action "read" maildir "%(mail)s/%%{user.username}" userbase <people>
action "next hop" relay host "lmtp://127.0.0.1:%(port)d"
match from any for domain "socket.example" action "socket"
match from any for domain "tcp.example" action "tcp"
match from any for domain "address.example" action "address"
match from any for domain "program.example" action "program"
match from any for domain "read.example" action "read"
match from local for domain "relay.example" action "next hop"
"""
TEXT = b"Subject: %s\r\n\r\n.A line.\r\n..\r\nFrom x\r\n"


class Place:
    def __init__(self, users=None):
        self.dovecot = Dovecot(users or {
            "joe": 0, "ann": 0, "full": 10, "joe@address.example": 0})
        conf = CONF % {"socket": self.dovecot.socket_path,
                       "port": self.dovecot.port,
                       "mail": self.dovecot.path("mail")}
        os.chmod(self.dovecot.folder, 0o755)
        self.server = Server('mda wrapper "nice" "nice -n 1 %{mda}"\n' + conf)
        self.server.start()

    def send(self, to, subject=b"x", sender="s@out.example"):
        session = Smtp(self.server.port)
        session.expect("EHLO client.example", "250")
        reply = session.message(sender, to, TEXT % subject)
        expect(reply.startswith("250"), "accepted", reply)
        session.quit()

    def results(self, to):
        return re.findall(
            r" mda delivery .* to=<%s> .* (user=\S+) .* result=(\w+) stat=(.*)$"
            % re.escape(to), self.server.log_text(), re.M)

    def result(self, to):
        return wait_for(lambda: self.results(to), 30, "outcome for %s\n%s" % (
            to, self.server.log_tail()))[0]


def several(domain):
    """Recipients of one message: each has its own answer."""
    p = Place()
    names = ["joe", "full", "gone", "ann"]
    p.send(["%s@%s" % (name, domain) for name in names])
    for name in ("joe", "ann"):
        expect_equal(p.result("%s@%s" % (name, domain)),
                     ("user=" + name, "Ok", "Delivered"), name)
        texts = p.dovecot.messages(name)
        expect_equal(len(texts), 1, "messages of " + name)
        expect(b"Return-Path: <s@out.example>\r\n" in texts[0] and
               texts[0].endswith(b"\r\n\r\n.A line.\r\n..\r\nFrom x\r\n"),
               "the message", texts[0])
    user, result, stat = p.result("gone@" + domain)
    expect_equal((user, result), ("user=gone", "PermFail"), "unknown")
    expect(re.match(r'Error \(service unavailable: "mail\.lmtp: LMTP server '
                    r'error: 550 5\.1\.1 ', stat), "unknown", stat)
    user, result, stat = p.result("full@" + domain)
    expect_equal((user, result), ("user=full", "TempFail"), "over quota")
    expect('LMTP server error: 452 4.2.2 ' in stat, "over quota", stat)
    # One conversation, one message.
    expect_equal(len(re.findall(r" mta connected", p.server.log_text())), 1,
                 "connections")
    wait_for(lambda: len(p.server.queue()) == 1, 30, "only `full` is left")
    p.server.check_clean()


def test_several_by_socket():
    several("socket.example")


def test_several_by_tcp():
    several("tcp.example")


def test_one_recipient_has_delivered_to():
    p = Place()
    p.send(["joe@socket.example"])
    p.result("joe@socket.example")
    expect(b"Delivered-To: joe@socket.example\r\n" in
           p.dovecot.messages("joe")[0], "Delivered-To")


def test_rcpt_to_is_the_address():
    p = Place()
    p.send(["joe@address.example"])
    expect_equal(p.result("joe@address.example")[1], "Ok", "result")
    expect_equal(len(p.dovecot.messages("joe@address.example")), 1, "messages")


def test_wrapper_runs_the_program():
    p = Place()
    p.send(["joe@program.example"])
    expect_equal(p.result("joe@program.example"),
                 ("user=joe", "Ok", "Delivered"), "result")
    p.send(["gone@program.example"])
    user, result, stat = p.result("gone@program.example")
    expect_equal(result, "PermFail", "unknown")
    expect('Error (service unavailable: "mail.lmtp: LMTP server error: 550' in
           stat, "unknown", stat)
    expect(b"Delivered-To: joe@program.example\r\n" in
           p.dovecot.messages("joe")[0], "Delivered-To")


def test_a_session_is_kept():
    p = Place()
    for i in range(20):
        p.send(["joe@socket.example"], b"%d" % i)
    wait_for(lambda: len(p.results("joe@socket.example")) == 20, 60, "20")
    expect_equal(len(p.dovecot.messages("joe")), 20, "messages")
    connections = len(re.findall(r" mta connected", p.server.log_text()))
    expect(connections <= 4, "sessions", connections)


def test_a_server_that_is_away():
    p = Place()
    p.dovecot.close()
    p.send(["joe@socket.example"])
    wait_for(lambda: "Network error on destination" in p.server.log_text(), 30,
             "postponed")
    expect_equal(len(p.server.queue()), 1, "queued")
    expect("No such file or directory" in p.server.log_text(), "why")


def test_as_a_next_hop():
    """`relay host lmtp://`: to the address, each recipient by itself."""
    p = Place({"joe@relay.example": 0, "full@relay.example": 10})
    p.send([name + "@relay.example" for name in ("joe", "full", "gone")])

    def fates():
        return dict(re.findall(
            r' mta delivery .* to=<(\w+)@relay\.example> .* result="(\w+)" ',
            p.server.log_text()))
    wait_for(lambda: len(fates()) == 3, 30, "outcomes\n" +
             p.server.log_tail())
    expect_equal(fates(), {"joe": "Ok", "full": "TempFail",
                           "gone": "PermFail"}, "outcomes")
    expect(" mta connecting address=lmtp://127.0.0.1:%d" % p.dovecot.port in
           p.server.log_text(), "LMTP", p.server.log_tail())


def test_maildir_of_ours_by_imap():
    p = Place()
    for name in ("joe", "ann"):
        for i in range(3):
            p.send(["%s@read.example" % name], b"%d" % i)
    wait_for(lambda: len(p.results("joe@read.example")) == 3 and
             len(p.results("ann@read.example")) == 3, 60, "delivered")
    for name in ("joe", "ann"):
        texts = p.dovecot.messages(name)
        expect_equal(sorted(re.search(rb"Subject: (\d)", t).group(1)
                            for t in texts), [b"0", b"1", b"2"], "subjects")
        for text in texts:
            expect(text.endswith(b"\r\n\r\n.A line.\r\n..\r\nFrom x\r\n"),
                   "the message", text)


if __name__ == "__main__":
    sys.exit(run_tests([value for name, value in list(globals().items())
                        if name.startswith("test_")]))
