#!/usr/bin/env python3
"""What every option of `listen on` and every limit of `smtp limit` does, in the
built program: names, addresses, proxies, TLS, AUTH, senders, headers, log."""
import contextlib
import os
import re
import smtplib
import socket
import ssl
import struct
import subprocess
import sys

sys.dont_write_bytecode = True
from certificates import Authority                               # noqa: E402
from holdfast import (Failure, Server, Smtp, expect,             # noqa: E402
                      expect_equal, free_port, run_tests, wait_for)

BOX = """\
table boxes { "@" = nobody }
action "box" maildir "{folder}/Maildir" virtual <boxes> user nobody
"""
MATCH = """\
match from any for domain "inside.example" action "box"
match from auth for any action "box"
"""
MAIL = b"From: Al <al@outside.example>\r\nTo: b@inside.example\r\n" \
       b"Subject: x\r\n\r\nHello.\r\n"
SID = r"[0-9a-f]{16}"


class Place:
    """A server whose listeners are lines with {NAME} for a port."""

    def __init__(self, listeners, extra="", ports=(), tls=False):
        self.server = Server("")
        self.ports = {name: free_port() for name in ports}
        text = extra
        if tls:
            self.authority = Authority(self.server.folder)
            cert, key = self.authority.issue("mx.holdfast.example")
            self.client = self.authority.issue("client.example", client=True)
            text += 'pki mx.example cert "%s" key "%s"\n' \
                    'ca clients cert "%s"\n' % (cert, key,
                                               self.authority.cert)
        text += "listen on 127.0.0.1 port {port} hostname mx.holdfast.example\n"
        text += BOX + listeners + MATCH
        for name, port in self.ports.items():
            text = text.replace("{%s}" % name, str(port))
        with open(self.server.conf, "a") as f:
            f.write(text.replace("{folder}", self.server.folder)
                    .replace("{port}", str(self.server.port)))
        self.maildir = self.server.maildir()
        self.server.start()

    def smtp(self, name=None, **words):
        return Smtp(self.ports[name] if name else self.server.port, **words)

    def message(self):
        """The one message that came, taken away."""
        new = os.path.join(self.maildir, "new")
        wait_for(lambda: os.path.isdir(new) and os.listdir(new), 20,
                 "a message\n" + self.server.log_tail())
        names = os.listdir(new)
        expect_equal(len(names), 1, "messages")
        with open(os.path.join(new, names[0]), encoding="utf-8") as f:
            text = f.read()
        os.unlink(os.path.join(new, names[0]))
        return text

    def log(self, pattern):
        """Waits for a line of the log; its match."""
        found = []

        def there():
            found[:] = re.findall(pattern, self.server.log_text(), re.M)
            return found
        wait_for(there, 10, "a line like %s\n%s" % (
            pattern, self.server.log_tail()))
        return found[-1]

    def stat(self, name):
        for line in self.server.ctl("show", "stats").splitlines():
            key, _, value = line.partition("=")
            if key == name:
                return int(value)
        return 0

    # --- TLS

    def starttls(self, name, client=None):
        session = smtplib.SMTP("127.0.0.1", self.ports[name],
                               local_hostname="client.example", timeout=30)
        session.starttls(context=context(self.authority, client))
        session.ehlo()
        return session


def context(authority, client=None):
    made = ssl.create_default_context(cafile=authority.cert)
    made.check_hostname = False
    if client:
        made.load_cert_chain(*client)
    return made


def received(text):
    """The Received field that this server made, on one line."""
    field = re.search(r"^Received: .*\n(?:\t.*\n)*", text, re.M).group()
    return field.replace("\n\t", " ")


def say(session, name="client.example"):
    return session.expect("EHLO " + name, "250")


# --- names and addresses

def test_hostname_hostnames_and_tag():
    it = Place("""\
table names { 127.0.0.1 = "named.example", 127.0.0.2 = "second.example" }
listen on 127.0.0.1 port {own} hostname own.example tag own
listen on 127.0.0.1 port {named} hostnames <names>
listen on 0.0.0.0 port {wild} hostnames <names> hostname wild.example
match tag own from any for domain "tagged.example" action "box"
""", ports=("own", "named", "wild"))
    session = it.smtp("own")
    expect_equal(session.banner, "220 own.example ESMTP Holdfast", "banner")
    expect(say(session).startswith("250-own.example Hello client.example "
                                   "[127.0.0.1], pleased to meet you"), "EHLO")
    session.message("joe@outside.example", ["b@tagged.example"], MAIL)
    text = it.message()
    expect("by own.example (Holdfast) with ESMTP id " in received(text),
           "Received names the listener", text)
    # Local: what is missing is added, in this listener's name.
    expect(re.search(r"^Message-ID: <[0-9a-f]{16}@own\.example>$", text, re.M),
           "Message-ID", text)
    plain = it.smtp()
    say(plain)
    plain.expect("MAIL FROM:<a@b.example>", "250")
    plain.expect("RCPT TO:<b@tagged.example>", "550")

    named = it.smtp("named")
    expect_equal(named.banner, "220 named.example ESMTP Holdfast", "hostnames")
    # The key of a wildcard listener is its wildcard; then the address that the
    # client came to.
    for host, name in (("127.0.0.1", "named"), ("127.0.0.2", "second"),
                       ("127.0.0.3", "wild")):
        wild = it.smtp("wild", host=host)
        expect_equal(wild.banner, "220 %s.example ESMTP Holdfast" % name, host)
        wild.close()
    say(named)
    # It completes addresses, but not those in the header.
    named.message("joe", ["b@inside.example"],
                  MAIL.replace(b"al@outside.example", b"al"))
    text = it.message()
    expect("by named.example" in received(text), "Received", text)
    expect("Return-Path: <joe@named.example>" in text, "completion", text)
    host = re.search(r"^From: Al <al@(.*)>$", text, re.M).group(1)
    expect(host != "named.example", "the header's completion", text)


def test_interfaces_families_and_ipv6():
    it = Place("""\
listen on lo port {all}
listen on lo inet4 port {four}
listen on lo inet6 port {six}
listen on "::1" port {literal}
""", ports=("all", "four", "six", "literal"))

    def answers(host, name):
        try:
            session = it.smtp(name, host=host)
        except OSError:
            return False
        session.close()
        return True
    expect_equal([answers(host, name) for name in ("all", "four", "six",
                                                   "literal")
                  for host in ("127.0.0.1", "::1")],
                 [True, True, True, False, False, True, False, True],
                 "which address of which listener answers")
    session = it.smtp("literal", host="::1")
    expect("Hello client.example [::1], " in say(session), "EHLO")
    session.message("a@outside.example", ["b@inside.example"], MAIL)
    text = received(it.message())
    expect(re.match(r"Received: from client\.example \(\S+ \[::1\]\) by ",
                    text), "Received", text)
    it.log(SID + r" smtp connected address=\[::1\] host=\S+$")


def test_mask_src_no_dsn_no_extension():
    it = Place("""\
listen on 127.0.0.1 port {mask} mask-src
listen on 127.0.0.1 port {plain} no-dsn
listen on 127.0.0.1 port {bare} no-extension CHUNKING no-extension SMTPUTF8
""", ports=("mask", "plain", "bare"))
    session = it.smtp("mask")
    expect("250-DSN" in say(session), "DSN is offered")
    session.message("a@outside.example", ["b@inside.example"], MAIL)
    text = it.message()
    expect("\nReceived: \n\tby mx.holdfast.example" not in text and
           re.search(r"^Received: \n\tby ", text, re.M),
           "the source is masked, the space stays", text)
    session = it.smtp("plain")
    expect("DSN" not in say(session), "no DSN")
    session.expect("MAIL FROM:<a@b.example> RET=FULL", "503 5.5.4")
    session = it.smtp("bare")
    offered = say(session)
    for word in ("CHUNKING", "BINARYMIME", "SMTPUTF8"):
        expect(word not in offered, "no " + word, offered)
    session.expect("BDAT 0 LAST", "50")


def test_socket():
    it = Place("listen on socket tag here mask-src\n"
               'match tag here for domain "tagged.example" action "box"\n')
    it.server.sendmail("b@tagged.example", data=b"Subject: x\n\nHello.\n")
    text = it.message()
    expect(re.search(r"^Received: \n\tby \S+ \(Holdfast\) with ESMTPA id ",
                     text, re.M), "Received of the socket", text)
    it.log(SID + r" smtp connected address=local host=\S+$")


# --- proxies

def v2(address, port=4000, command=1, tlvs=b""):
    family = 0x21 if ":" in address else 0x11
    packed = socket.inet_pton(socket.AF_INET6 if ":" in address
                              else socket.AF_INET, address)
    rest = packed + packed + struct.pack("!HH", port, 25) + tlvs
    return b"\r\n\r\n\0\r\nQUIT\n" + struct.pack(
        "!BBH", 0x20 | command, family, len(rest)) + rest


def v1(address):
    return b"PROXY TCP%s %s %s 4000 25\r\n" % (
        (b"6", address.encode(), b"2001:db8::25") if ":" in address
        else (b"4", address.encode(), b"198.51.100.25"))


class Proxied(Smtp):
    """A session behind a PROXY header."""

    def __init__(self, port, header):
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.socket.sendall(header)
        self.file = self.socket.makefile("rb")
        self.banner = self.reply()


def test_proxy():
    it = Place("""\
listen on 127.0.0.1 port {one} proxy-v1 tag proxied
listen on 127.0.0.1 port {two} proxy-v2 tag proxied
match from src 192.0.2.7 tag proxied for domain "far.example" action "box"
""", ports=("one", "two"))
    for name, header in (
            ("one", v1("192.0.2.7")),
            ("two", v2("192.0.2.7", tlvs=b"\x04\0\x03\r\nx"))):
        session = Proxied(it.ports[name], header)
        expect("[192.0.2.7]" in say(session), "the address behind the proxy")
        session.message("a@outside.example", ["b@far.example"], MAIL)
        text = received(it.message())
        expect("[192.0.2.7])" in text, "Received", text)
        it.log(SID + r" smtp event=proxy address=192\.0\.2\.7$")
    session = Proxied(it.ports["two"], v2("2001:db8::7"))
    expect("[2001:db8::7]" in say(session), "an IPv6 address")
    session = Proxied(it.ports["two"], v2("192.0.2.7", command=0))
    expect("[127.0.0.1]" in say(session), "LOCAL keeps the peer")
    session.expect("MAIL FROM:<a@b.example>", "250")
    session.expect("RCPT TO:<b@far.example>", "550")
    # No header, no banner.
    with contextlib.closing(socket.create_connection(
            ("127.0.0.1", it.ports["two"]), 20)) as plain:
        plain.sendall(b"EHLO x\r\n")
        expect_equal(plain.recv(100), b"", "what is no header gets nothing")
    it.log(r'proxy %s event=closed address=127\.0\.0\.1 reason="protocol error '
           r'\(invalid signature\)"$' % SID)
    # The address in the header is what counts for limits, too: see below.


def test_xclient():
    it = Place("""\
table proxies { 127.0.0.2 }
listen on 0.0.0.0 port {x} xclient <proxies>
match from src 192.0.2.8 for domain "far.example" action "box"
""", ports=("x",))
    with contextlib.closing(socket.create_connection(
            ("127.0.0.2", it.ports["x"]), 20,
            source_address=("127.0.0.2", 0))) as raw:
        session = Smtp.__new__(Smtp)
        session.socket = raw
        session.file = raw.makefile("rb")
        session.banner = session.reply()
        expect("250-XCLIENT NAME ADDR" in say(session), "XCLIENT is offered")
        session.expect("XFORWARD NAME=a.example ADDR=192.0.2.1", "250")
        session.expect("XCLIENT NAME=far.example ADDR=192.0.2.8 LOGIN=joe",
                       "220")
        say(session)
        session.message("a@outside.example", ["b@far.example"], MAIL)
        text = received(it.message())
        expect("from client.example (far.example [192.0.2.8])" in text and
               " with ESMTPA id " in text, "Received", text)
    it.log(SID + r" smtp connected address=192\.0\.2\.8 host=far\.example$")
    it.log(SID + r" smtp xforward NAME=a\.example ADDR=192\.0\.2\.1$")
    session = it.smtp("x")
    expect("XCLIENT" not in say(session), "not offered to others")
    session.expect("XCLIENT ADDR=192.0.2.8", "50")


# --- TLS and AUTH

def hashed(password):
    return subprocess.run(
        ["openssl", "passwd", "-6", password], stdout=subprocess.PIPE,
        check=True).stdout.decode().strip()


def with_tls(listeners, **words):
    return Place(
        'table users { "joe" = "%s", "eve" = "%s" }\n' % (
            hashed("secret"), hashed("apple")) + listeners, tls=True, **words)


def test_tls_and_received_auth():
    it = with_tls("""\
listen on 127.0.0.1 port {tls} tls pki mx.example auth-optional <users> \\
    received-auth
listen on 127.0.0.1 port {smtps} smtps pki mx.example auth <users>
listen on 127.0.0.1 port {must} tls-require pki mx.example
""", ports=("tls", "smtps", "must"))
    plain = it.smtp("tls")
    offered = say(plain)
    expect("250-STARTTLS" in offered and "AUTH" not in offered,
           "STARTTLS, and no AUTH in the clear", offered)
    plain.expect("AUTH PLAIN AGpvZQBzZWNyZXQ=", "5")
    expect("AGpvZQ" not in it.server.log_text(), "no password in the log")
    # What is pipelined behind STARTTLS is forgotten.
    plain.send(b"STARTTLS\r\nNOOP\r\n")
    expect_equal(plain.reply(), "220 2.0.0 Ready to start TLS", "go ahead")
    plain.close()

    session = it.starttls("tls")
    expect("starttls" not in session.esmtp_features, "no STARTTLS inside TLS")
    # LOGIN after PLAIN, as the reference lists them.
    expect_equal(session.esmtp_features["auth"].split()[:2],
                 ["PLAIN", "LOGIN"], "AUTH")
    session.sendmail("a@outside.example", ["b@inside.example"], MAIL.decode())
    text = received(it.message())
    tls = r"\(TLSv1\.3:TLS_\w+:(128|256):NO\)"
    expect(re.search(r" with ESMTPS id [0-9a-f]{8} %s auth=no for" % tls, text),
           "Received of TLS", text)
    it.log(SID + r" smtp tls ciphers=TLSv1\.3:TLS_\w+:(?:128|256)$")
    for mechanism in ("PLAIN", "LOGIN"):
        session = it.starttls("tls")
        session.user, session.password = "joe", "secret"
        session.auth(mechanism, getattr(
            session, "auth_" + mechanism.lower()),
            initial_response_ok=mechanism == "PLAIN")
        session.sendmail("a@outside.example", ["b@inside.example"],
                         MAIL.decode())
        text = received(it.message())
        expect(re.search(r" with ESMTPSA id [0-9a-f]{8} %s auth=yes user=joe "
                         r"for" % tls, text), "Received of AUTH", text)
        it.log(SID + r" smtp authentication user=joe result=ok$")
    session = it.starttls("tls")
    code, reply = session.docmd("AUTH PLAIN AGpvZQB3cm9uZw==")
    expect_equal((code, reply), (535, b"Authentication failed"), "wrong")
    it.log(SID + r" smtp authentication user=joe result=permfail$")
    it.log(SID + r' smtp failed-command command="AUTH PLAIN \(\.\.\.\)" '
           r'result="535 Authentication failed"$')
    expect("AGpvZQ" not in it.server.log_text(), "no password in the log")

    with smtplib.SMTP_SSL("127.0.0.1", it.ports["smtps"], timeout=30,
                          context=context(it.authority)) as session:
        session.ehlo("client.example")
        expect_equal(session.docmd("MAIL FROM:<a@outside.example>"),
                     (530, b"5.5.1 Invalid command: Must issue an AUTH command "
                      b"first"), "auth is a must")
        session.login("joe", "secret")
        session.sendmail("a@outside.example", ["b@any.example"], MAIL.decode())
        text = received(it.message())
        expect(" with ESMTPSA id " in text and "auth=" not in text,
               "without received-auth", text)
        wait_for(lambda: it.stat("smtp.smtps") == 1, 10, "a gauge of smtps")
    must = it.smtp("must")
    say(must)
    expect_equal(must.command("MAIL FROM:<a@outside.example>"),
                 "530 5.5.1 Invalid command: Must issue a STARTTLS command "
                 "first", "tls-require")
    session = it.starttls("must")
    session.sendmail("a@outside.example", ["b@inside.example"], MAIL.decode())
    it.message()


def test_client_certificates():
    it = with_tls("""\
listen on 127.0.0.1 port {verify} tls-require verify pki mx.example ca clients
listen on 127.0.0.1 port {smtps} smtps verify pki mx.example ca clients
listen on 127.0.0.1 port {ask} tls pki mx.example ca clients
""", ports=("verify", "smtps", "ask"))
    session = it.starttls("verify", it.client)
    session.sendmail("a@outside.example", ["b@inside.example"], MAIL.decode())
    expect(re.search(r":(128|256):YES\)", received(it.message())), "verified")
    it.log(SID + r' smtp cert-check result="verified" '
           r'fingerprint="SHA256:[0-9a-f]{64}"$')
    session = it.starttls("ask")
    session.sendmail("a@outside.example", ["b@inside.example"], MAIL.decode())
    expect(re.search(r":(128|256):NO\)", received(it.message())), "not asked")
    for name in ("verify", "smtps"):
        refused = False
        try:
            if name == "smtps":
                with smtplib.SMTP_SSL(
                        "127.0.0.1", it.ports[name], timeout=30,
                        context=context(it.authority)) as session:
                    session.ehlo()
            else:
                it.starttls(name)
        except (ssl.SSLError, smtplib.SMTPException, OSError):
            refused = True
        expect(refused, "no certificate, no session: " + name)
    it.log(SID + r" smtp disconnected reason=tls-accept-failed$")


def test_several_pki_by_name():
    it = Place("", tls=True)
    second = it.authority.issue("second.example")
    it.server.stop()
    port = free_port()
    with open(it.server.conf, "a") as f:
        f.write('pki second cert "%s" key "%s"\n'
                "listen on 127.0.0.1 port %d smtps pki mx.example "
                "pki second\n" % (second + (port,)))
    it.server.start()
    for asked, shown in (("second.example", "second.example"),
                         ("mx.holdfast.example", "mx.holdfast.example"),
                         ("other.example", "mx.holdfast.example")):
        with socket.create_connection(("127.0.0.1", port), 20) as raw:
            made = context(it.authority)
            with made.wrap_socket(raw, server_hostname=asked) as tls:
                names = [value for _, value in
                         tls.getpeercert()["subjectAltName"]]
                expect(shown in names, "the certificate for " + asked, names)


def test_senders():
    it = with_tls("""\
table own { joe = "joe@mx.example, @joe.example", eve = "@" }
listen on 127.0.0.1 port {check} tls pki mx.example auth-optional <users> \\
    senders <own>
listen on 127.0.0.1 port {mask} tls pki mx.example auth <users> \\
    senders <own> masquerade
""", ports=("check", "mask"))

    def mail(name, user, sender):
        session = it.starttls(name)
        session.login(user, {"joe": "secret", "eve": "apple"}[user])
        return session.docmd("MAIL FROM:<%s>" % sender)
    expect_equal(mail("check", "joe", "joe@mx.example")[0], 250, "his own")
    expect_equal(mail("check", "joe", "any@joe.example")[0], 250, "his domain")
    expect_equal(mail("check", "joe", "boss@mx.example"),
                 (530, b"Sender rejected"), "another's")
    expect_equal(mail("check", "joe", "")[0], 530, "the null sender")
    expect_equal(mail("check", "eve", "")[0], 250, "who may be nobody")
    # Who is not authenticated is nobody's sender.
    session = it.starttls("check")
    expect_equal(session.docmd("MAIL FROM:<boss@mx.example>")[0], 250, "other")

    session = it.starttls("mask")
    session.login("joe", "secret")
    session.sendmail("joe@mx.example", ["b@inside.example"],
                     "From: Boss <boss@mx.example>, eve@mx.example\r\n"
                     "To: eve@mx.example\r\n\r\nHello.\r\n")
    text = it.message()
    expect("\nFrom: Boss <joe@mx.example>, joe@mx.example\n" in text and
           "\nTo: eve@mx.example\n" in text, "masquerade", text)


# --- headers

def test_header_work():
    it = Place("listen on lo port {far}\nlisten on 127.0.0.1 port {near} "
               "hostname near.example\n", ports=("far", "near"))
    text = (b"From: Joe\r\nTo: foo, \"a, b\" <bar>, x@y.example\r\n"
            b"Bcc: hidden@y.example,\r\n\tmore@y.example\r\n\r\nHello.\r\n")
    session = it.smtp("near")
    say(session)
    session.message("a@outside.example", ["b@inside.example"], text)
    got = it.message()
    expect("\nFrom: Joe@near.example\n" in got and
           '\nTo: foo@near.example, "a, b" <bar@near.example>, x@y.example\n'
           in got, "domains are completed", got)
    expect("cc:" not in got.lower() and "hidden" not in got, "no Bcc", got)
    expect(re.search(r"^Date: \w{3}, \d+ \w{3} \d{4} ", got, re.M) and
           re.search(r"^Message-ID: <[0-9a-f]{16}@near\.example>$", got, re.M),
           "Date and Message-ID are added", got)
    # Not where the listener is not local.
    other = [line.split()[3].split("/")[0] for line in subprocess.run(
        ["ip", "-o", "-4", "addr", "show", "scope", "global"],
        stdout=subprocess.PIPE).stdout.decode().splitlines()] \
        if os.path.exists("/sbin/ip") or os.path.exists("/bin/ip") else []
    if not other:
        return
    far = Place("listen on %s port {far}\n" % other[0], ports=("far",))
    session = far.smtp("far", host=other[0])
    say(session)
    session.message("a@outside.example", ["b@inside.example"], text)
    got = far.message()
    expect("\nDate:" not in got and "\nMessage-ID:" not in got,
           "nothing is added for others", got)


def test_line_ends():
    it = Place("""\
table here { 127.0.0.1 }
listen on 127.0.0.1 port {strict}
listen on 127.0.0.1 port {lenient} line-ends normalise xclient <here>
""", ports=("strict", "lenient"))
    text = b"From: a@b.example\r\nSubject: x\r\n\r\none\ntwo\r\n.\r\n"

    def send(name, login):
        session = it.smtp(name)
        say(session)
        if login:
            session.expect("XCLIENT LOGIN=joe", "220")
            say(session)
        session.expect("MAIL FROM:<a@b.example>", "250")
        session.expect("RCPT TO:<b@inside.example>", "250")
        session.expect("DATA", "354")
        session.send(text)
        return session.reply()
    expect(send("strict", False).startswith("550 5.6.0"), "strict")
    expect(send("lenient", False).startswith("550 5.6.0"), "not for anybody")
    expect(send("lenient", True).startswith("250"), "for the authenticated")
    expect("\n\none\ntwo\n" in it.message(), "a bare LF is a line end")


# --- limits

def test_limits_by_address():
    it = Place("listen on 127.0.0.1 port {p} proxy-v1\n", extra="""\
smtp limit max-sessions-per-source 3
smtp limit max-sessions-per-network 5
smtp limit max-connects-per-source 8
smtp limit max-mails-per-source 2
""", ports=("p",))

    def come(address):
        return Proxied(it.ports["p"], v1(address))
    own = [come("192.0.2.1") for _ in range(3)]
    expect_equal([s.banner[:3] for s in own], ["220"] * 3, "three")
    expect_equal(come("192.0.2.1").banner,
                 "421 4.7.0 Too many sessions from your address", "a fourth")
    network = [come("192.0.2.%d" % i) for i in (2, 3, 4)]
    expect_equal([s.banner[:3] for s in network], ["220", "220", "421"],
                 "the network")
    expect("your network" in network[2].banner, "says so", network[2].banner)
    expect_equal(come("198.51.100.1").banner[:3], "220", "another network")
    # One goes, one may come.
    own[0].quit()
    wait_for(lambda: come("192.0.2.1").banner[:3] == "220", 5, "a place")
    # An IPv6 source is its /64.
    six = [come("2001:db8::%d" % i) for i in range(1, 5)]
    expect_equal([s.banner[:3] for s in six], ["220", "220", "220", "421"],
                 "an IPv6 /64")
    expect_equal(come("2001:db8:0:1::1").banner[:3], "220", "another /64")

    mail = come("203.0.113.1")
    say(mail)
    for wanted in ("250", "250", "451 4.7.0", "451 4.7.0", "421 4.7.0"):
        mail.expect("MAIL FROM:<a@b.example>", wanted)
        if wanted == "250":
            mail.expect("RSET", "250")
    # Connections in a minute, first told, then cut.
    heard = []
    for _ in range(17):
        try:
            session = come("203.0.113.9")
            heard.append(session.banner[:3])
            session.close()
        except (Failure, OSError):
            heard.append("")
    expect_equal(heard, ["220"] * 8 + ["421"] * 8 + [""], "connections")
    for name, least in (("sessions_per_source", 2), ("mails_per_source", 3),
                        ("sessions_per_network", 1),
                        ("connects_per_source", 9)):
        wait_for(lambda: it.stat("smtp.limit." + name) >= least, 10,
                 "the counter of " + name)
    # This host is not counted.
    many = [it.smtp() for _ in range(20)]
    expect(all(s.banner.startswith("220") for s in many), "loopback")


def test_limits_of_sessions():
    it = Place("", extra="""\
smtp limit max-sessions 4
smtp limit command-timeout 2
smtp limit max-errors 3
smtp limit max-bad-rcpt 2
smtp limit max-commands 6
""")
    # The one that looked whether the server is there counts, too.
    wait_for(lambda: it.stat("smtp.session") == 0, 20, "no session")
    held = [it.smtp() for _ in range(4)]
    expect_equal(it.smtp().banner, "421 4.3.2 Too many sessions, try again "
                 "later", "one too many")
    it.log(SID + r' smtp refused address=127\.0\.0\.1 result="421 4\.3\.2 Too')
    wait_for(lambda: it.stat("smtp.limit.timeout") == 4, 20, "time-outs")
    for session in held:
        expect_equal(session.file.readline(),
                     b"421 4.4.2 Timeout, closing connection\r\n", "told so")
        expect_equal(session.file.readline(), b"", "closed")
        session.close()
    wait_for(lambda: it.stat("smtp.session") == 0, 20, "no session")
    it.log(SID + r" smtp disconnected reason=timeout$")

    def until_closed(first, line):
        session = it.smtp()
        for one in first:
            session.expect(one, "250")
        for _ in range(12):
            got = session.command(line)
            if got.startswith("421"):
                expect_equal(session.file.readline(), b"", "closed")
                return got
        raise Failure("never ends: " + line)
    until_closed([], "JUNK")
    until_closed(["EHLO x", "MAIL FROM:<a@b.example>"],
                 "RCPT TO:<x@nowhere.example>")
    until_closed([], "NOOP")
    for name in ("errors", "bad_rcpt", "commands"):
        wait_for(lambda: it.stat("smtp.limit." + name) == 1, 20, name)


def test_limits_reach_a_new_worker():
    """What a dead worker counted is gone with it."""
    it = Place("listen on 127.0.0.1 port {p} proxy-v1\n",
               extra="smtp limit max-sessions-per-source 2\n", ports=("p",))

    def come():
        return Proxied(it.ports["p"], v1("192.0.2.1"))
    held = [come(), come()]
    expect_equal(come().banner[:3], "421", "full")
    pids = it.server.room_pids("smtpd-receive")
    for pid in pids:
        os.kill(pid, 9)
    del held
    wait_for(lambda: set(it.server.room_pids("smtpd-receive")) - set(pids) and
             it.server.ready(), 20, "a new worker")
    expect_equal([come().banner[:3] for _ in range(2)], ["220"] * 2, "empty")


# --- log

def test_log_lines():
    it = Place("")
    session = it.smtp()
    session.expect("EHLO client.example", "250")
    session.message("a@outside.example", ["b@inside.example",
                                          "c@inside.example"], MAIL)
    session.expect("RCPT TO:<x@y.example>", "503")
    session.send(b"JUNK \x1b[31m\x07\r\n")
    session.reply()
    session.expect("AUTH PLAIN AGpvZQBzZWNyZXQ=", "5")
    session.quit()
    it.log(SID + r" smtp disconnected reason=quit$")
    log = it.server.log_text()
    sid = re.search(r"(%s) smtp message msgid=" % SID, log).group(1)
    lines = [line for line in log.splitlines() if line.startswith(sid)]
    patterns = [
        r"smtp connected address=127\.0\.0\.1 host=\S+",
        r"smtp message msgid=[0-9a-f]{8} size=\d+ nrcpt=2 proto=ESMTP",
        r"smtp envelope evpid=[0-9a-f]{16} from=<a@outside\.example> "
        r"to=<b@inside\.example>",
        r"smtp envelope evpid=[0-9a-f]{16} from=<a@outside\.example> "
        r"to=<c@inside\.example>",
        r'smtp failed-command command="RCPT TO:<x@y\.example>" result="503 '
        r'5\.5\.1 Invalid command: Command not allowed at this point\."',
        r'smtp failed-command command="JUNK [^\x00-\x1f]*" result="5.*"',
        r'smtp failed-command command="AUTH[^"]*\(\.\.\.\)" result="50.*"',
        r"smtp disconnected reason=quit",
    ]
    expect_equal(len(lines), len(patterns), "lines\n" + "\n".join(lines))
    for line, pattern in zip(lines, patterns):
        expect(re.fullmatch(SID + " " + pattern, line), "a line like " +
               pattern, line)
    expect("AGpvZQ" not in log and "\x1b" not in log, "nothing secret, no "
           "control characters")
    gone = it.smtp()
    gone.close()
    it.log(SID + r" smtp disconnected reason=disconnect$")


if __name__ == "__main__":
    sys.exit(run_tests([value for name, value in list(globals().items())
                        if name.startswith("test_")]))
