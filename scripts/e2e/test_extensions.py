#!/usr/bin/env python3
"""Each SMTP extension from end to end: what a client asks for is kept with its
envelopes, told to a next hop that understands it, and answered with the right
report where one does not."""
import contextlib
import email
import email.message
import email.policy
import os
import re
import socket
import ssl
import subprocess
import sys
import threading

sys.dont_write_bytecode = True
from holdfast import (NOBODY, OPEN, Blackhole, Failure, Server,   # noqa: E402
                      Smtp, expect, expect_equal, free_port, run_tests,
                      wait_for)

OFFERED = ["SMTPUTF8", "BINARYMIME", "MT-PRIORITY", "DELIVERBY", "REQUIRETLS"]
CONF = """\
%(pki)s
listen on 127.0.0.1 port {port} hostname mx.holdfast.example %(tls)s
table boxes { "@" = nobody }
%(limit)s
action "box" maildir "{folder}/Maildir" virtual <boxes> user nobody
action "full" relay host smtp+notls://127.0.0.1:%(full)d
action "bare" relay host smtp+notls://127.0.0.1:%(bare)d
action "later" relay host smtp+notls://127.0.0.1:%(later)d
match from local for domain "sender.example" action "box"
match from local for domain "inside.example" action "box"
match from local for domain "bare.example" action "bare"
match from local for domain "later.example" action "later"
match from local for any action "full"
"""
TEXT = b"From: <a@sender.example>\r\nTo: <b@full.example>\r\n" \
       b"Subject: hello\r\nMessage-ID: <1@sender.example>\r\n" \
       b"Date: Sun, 22 Nov 2026 05:07:28 +0000\r\n\r\nHello.\r\n"


class Setting:
    """A server with three next hops: one that offers everything, one that
    offers nothing, one that wants no mail now."""

    def __init__(self, tls=False, limit=""):
        self.server = Server("", user=NOBODY if os.geteuid() == 0 else None)
        folder = self.server.folder
        offer = [w for word in OFFERED for w in ("--offer", word)]
        self.sinks = {
            "full": Blackhole(folder, "--commands", folder + "/full.commands",
                              *offer, name="full"),
            "bare": Blackhole(folder, "--commands", folder + "/bare.commands",
                              "--hide", "8BITMIME,CHUNKING,DSN,SIZE",
                              name="bare"),
            "later": Blackhole(folder, "--offer", "DELIVERBY", "--answer",
                               "mail=451", name="later"),
        }
        words = {name: sink.port for name, sink in self.sinks.items()}
        words["pki"] = words["tls"] = ""
        words["limit"] = limit
        if tls:
            make_certificate(folder)
            words["pki"] = 'pki mine cert "%s/cert.pem"\n' \
                           'pki mine key "%s/key.pem"' % (folder, folder)
            words["tls"] = "tls pki mine"
        conf = CONF % words
        if os.geteuid() != 0:
            import getpass
            conf = conf.replace("nobody", getpass.getuser())
        with open(self.server.conf, "w") as f:
            f.write('spool "%s"\n' % self.server.spool)
            f.write(conf.replace("{port}", str(self.server.port))
                    .replace("{folder}", folder))
        self.maildir = self.server.maildir()
        self.server.start()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.server.close()
        for sink in self.sinks.values():
            sink.stop()

    def replace(self, name, *offered):
        """Another next hop instead of a sink."""
        host = KeepingHost(*offered)
        with open(self.server.conf) as f:
            conf = f.read()
        with open(self.server.conf, "w") as f:
            f.write(conf.replace("127.0.0.1:%d" % self.sinks[name].port,
                                 "127.0.0.1:%d" % host.port))
        self.server.stop()
        self.server.start()
        return host

    def commands(self, name):
        """MAIL and RCPT lines that the sink has had."""
        path = "%s/%s.commands" % (self.server.folder, name)
        if not os.path.exists(path):
            return []
        with open(path, "rb") as f:
            return f.read().decode("utf-8", "surrogateescape").splitlines()

    def send(self, mail, *rcpts, data=TEXT, bdat=False, client=None):
        """A message; `mail` and `rcpts` are what stands behind the colon."""
        session = client or Smtp(self.server.port)
        session.expect("EHLO client.example", "250")
        session.expect("MAIL FROM:" + mail, "250")
        for rcpt in rcpts:
            session.expect("RCPT TO:" + rcpt, "250")
        if bdat:
            session.send(b"BDAT %d LAST\r\n" % len(data) + data)
        else:
            session.expect("DATA", "354")
            session.send(data + b".\r\n")
        reply = session.reply()
        expect(reply.startswith("250"), "the message is taken", reply)
        session.quit()
        return reply.split()[2]

    def mails(self):
        new = os.path.join(self.maildir, "new")
        if not os.path.isdir(new):
            return []
        texts = []
        for name in sorted(os.listdir(new)):
            with open(os.path.join(new, name), "rb") as f:
                texts.append(f.read())
        return texts

    def mail(self):
        """The one mail in the mailbox, when it is there; it goes away."""
        wait_for(lambda: self.mails(), 30,
                 "a mail in the Maildir\n" + self.server.log_tail())
        texts = self.mails()
        expect_equal(len(texts), 1, "mails")
        new = os.path.join(self.maildir, "new")
        for name in os.listdir(new):
            os.remove(os.path.join(new, name))
        return texts[0].decode("utf-8", "surrogateescape")

    def took(self, name, count=1):
        wait_for(lambda: self.sinks[name].stats()["messages"] >= count, 30,
                 "%d messages at %s\n%s" % (count, name,
                                            self.server.log_tail()))

    def envelope(self):
        """The fields of the only envelope in the queue."""
        rows = self.server.queue()
        expect_equal(len(rows), 1, "envelopes in the queue")
        text = self.server.ctl("show", "envelope", rows[0][0])
        return dict(line.split(": ", 1) for line in text.splitlines())

    def done(self):
        self.server.wait_empty(30)
        self.server.check_clean()
        expect_equal(self.server.stop(), 0, "exit status")


def make_certificate(folder):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days",
         "30", "-subj", "/CN=mx.holdfast.example", "-keyout",
         folder + "/key.pem", "-out", folder + "/cert.pem"],
        check=True, capture_output=True)
    os.chmod(folder + "/key.pem", 0o600)
    if os.geteuid() == 0:
        import pwd
        uid = pwd.getpwnam(NOBODY).pw_uid
        os.chown(folder + "/key.pem", uid, -1)


class KeepingHost:
    """A next hop that keeps the octets of what it gets."""

    def __init__(self, *offered):
        self.offered = offered
        self.port = free_port()
        self.listening = socket.create_server(("127.0.0.1", self.port))
        self.messages = []
        self.lines = []
        threading.Thread(target=self.serve, daemon=True).start()
        OPEN.append(self)

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                self.talk(self.listening.accept()[0])

    def talk(self, connection):
        with connection, connection.makefile("rb") as lines:
            def say(text):
                connection.sendall(text + b"\r\n")
            say(b"220 keeping.example")
            body = b""
            for line in iter(lines.readline, b""):
                word = line.split()[0].upper()
                self.lines.append(line.rstrip().decode())
                if word == b"EHLO":
                    for word in ("keeping.example",) + self.offered:
                        say(b"250-" + word.encode())
                    say(b"250 HELP")
                elif word == b"BDAT":
                    body += lines.read(int(line.split()[1]))
                    if line.split()[-1] == b"LAST":
                        self.messages.append(body)
                        body = b""
                    say(b"250 2.0.0 ok")
                elif word == b"QUIT":
                    return say(b"221 bye")
                elif word == b"DATA":
                    say(b"354 go")
                    text = []
                    while (part := lines.readline()) != b".\r\n":
                        if part == b"":
                            return      # a message without its dot is none
                        text.append(part)
                    self.messages.append(b"".join(text))
                    say(b"250 2.0.0 ok")
                else:
                    say(b"250 2.0.0 ok")

    def close(self):
        self.listening.close()


# --- SMTPUTF8, 8BITMIME

UTF8_TEXT = TEXT.replace(b"hello", "grüße".encode())


def test_smtputf8_is_passed_on():
    with Setting() as it:
        it.send("<jörg@sender.example> SMTPUTF8 BODY=8BITMIME", "<山@full.example>",
                "<info@bücher.example> ORCPT=utf-8;山@full.example",
                data=UTF8_TEXT)
        it.took("full", 2)
        lines = it.commands("full")
        expect(re.fullmatch(r"MAIL FROM:<jörg@sender.example> SIZE=\d+ "
                            r"BODY=8BITMIME SMTPUTF8", lines[0]), "MAIL", lines)
        expect_equal(sorted(line for line in lines if "RCPT" in line),
                     ["RCPT TO:<info@bücher.example> "
                      "ORCPT=utf-8;山@full.example",
                      "RCPT TO:<山@full.example>"], "RCPT")
        it.done()


def test_smtputf8_withheld_is_reported_in_utf8():
    with Setting() as it:
        it.send("<a@sender.example> SMTPUTF8", "<jörg@bare.example>",
                data=UTF8_TEXT)
        report = it.mail()
        for part in ("report-type=global-delivery-status",
                     "Content-Type: message/global-delivery-status\n",
                     "\nFinal-Recipient: utf-8; jörg@bare.example\n",
                     "\nStatus: 5.6.7\n",
                     "Next hop does not support internationalized mail",
                     "Content-Type: message/global-headers\n",
                     "\nSubject: grüße\n"):
            expect(part in report, "the report has " + part, report)
        # A report to an internationalized sender.
        it.send("<jörg@sender.example> SMTPUTF8", "<b@bare.example>",
                data=UTF8_TEXT)
        report = it.mail()
        expect("\nTo: jörg@sender.example\n" in report, "To", report)
        expect_equal(it.sinks["bare"].stats()["messages"], 0, "messages")
        # Nothing in it needs the extension.
        it.send("<a@sender.example> SMTPUTF8", "<b@bare.example>")
        it.took("bare")
        expect_equal(it.commands("bare"),
                     ["MAIL FROM:<a@sender.example>",
                      "RCPT TO:<b@bare.example>"], "in ASCII")
        it.done()


def test_8bitmime():
    with Setting() as it:
        text = TEXT.replace(b"Hello", "Grüße".encode())
        it.send("<a@sender.example> BODY=8BITMIME", "<b@full.example>",
                data=text)
        it.took("full")
        expect("BODY=8BITMIME" in it.commands("full")[0], "BODY",
               it.commands("full"))
        it.done()


def test_8bit_text_is_converted():
    with Setting() as it:
        host = it.replace("bare", "SIZE 100000000", "CHUNKING", "PIPELINING")
        mail = email.message.EmailMessage()
        mail["Subject"] = "conversion"
        mail.set_content("Grüße = \n.\nend \n", cte="8bit")
        mail.add_attachment('{"ü": 1}', subtype="plain", cte="8bit",
                            filename="a.txt")
        mail.add_attachment(bytes(range(256)), maintype="image", subtype="x")
        large = "zwölf\n" * 300000
        mail.add_attachment(large, cte="8bit")
        wire = mail.as_bytes(policy=email.policy.SMTP)
        declared = "<a@sender.example> BODY=8BITMIME"
        it.send(declared, "<b@bare.example>",
                data=wire.replace(b"\r\n.", b"\r\n.."))
        wait_for(lambda: host.messages, 30, "it\n" + it.server.log_tail())
        got = host.messages[0]
        expect(got.isascii(), "all is ASCII", got[:2000])
        expect(max(map(len, got.split(b"\r\n"))) <= 998, "lines")
        expect("MAIL FROM:<a@sender.example>" in host.lines, "no SIZE=",
               host.lines)
        expect(any(line.startswith("BDAT ") for line in host.lines), "BDAT",
               host.lines)
        sent, taken = (
            [(part.get_content_type(), part.get_content())
             for part in email.message_from_bytes(
                 octets, policy=email.policy.SMTP).iter_parts()]
            for octets in (wire, got))
        expect_equal(len(taken), 4, "parts")
        expect(sent == taken, "contents", str(taken)[:2000])
        # What is signed must not be touched.
        signed = ("Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n"
                  "\r\nGrüße\r\n--s--\r\n").encode()
        it.send(declared, "<b@bare.example>", data=signed)
        report = it.mail()
        expect("\nStatus: 5.6.3\n" in report, "the status", report)
        # Not declared: as it is.
        it.send("<a@sender.example>", "<b@bare.example>", data=signed)
        wait_for(lambda: len(host.messages) == 2, 30, it.server.log_tail())
        expect(host.messages[1].endswith(signed.partition(b"\r\n")[2]), "as it is",
               host.messages[1])
        it.done()


# --- CHUNKING, BINARYMIME

def binary_text():
    octets = bytes(range(256)) * 600    # more than one chunk
    return TEXT[:-len(b"Hello.\r\n")] + octets + b"\r\n.\r\nbare\nlf\rcr\0\r\n"


def test_binarymime():
    with Setting() as it:
        host = it.replace("full", "PIPELINING", "CHUNKING", "8BITMIME",
                          "BINARYMIME")
        text = binary_text()
        body = text.partition(b"\r\n\r\n")[2]
        it.send("<a@sender.example> BODY=BINARYMIME", "<b@full.example>",
                data=text, bdat=True)
        wait_for(lambda: host.messages, 30,
                 "a binary message\n" + it.server.log_tail())
        got = host.messages[0]
        expect(got.startswith(b"Received: from "), "the header", got[:200])
        header = got.partition(b"\r\n\r\n")[0]
        expect(b"\n" not in header.replace(b"\r\n", b""), "CRLF", header)
        expect(got.partition(b"\r\n\r\n")[2] == body, "octets of the body")
        expect([line for line in host.lines if "BODY=BINARYMIME" in line],
               "BODY", host.lines)
        expect(len([line for line in host.lines if line.startswith("BDAT")]) >
               1, "chunks", [line for line in host.lines if "BDAT" in line])

        it.send("<a@sender.example> BODY=BINARYMIME RET=FULL",
                "<b@bare.example>", data=text, bdat=True)
        report = it.mail()
        expect("\nStatus: 5.6.3\n" in report, "the status", report[:3000])
        expect("text/rfc822-headers" in report, "only the header", report)

        it.send("<a@sender.example> BODY=BINARYMIME", "<b@inside.example>",
                data=text, bdat=True)
        wait_for(lambda: it.mails(), 30, "a local copy")
        expect(it.mails()[0].endswith(b"\n\n" + body.replace(b"\r\n", b"\n")),
               "the body with LF", it.mails()[0][-300:])
        it.done()


# --- DELIVERBY

def test_deliverby_is_passed_on():
    with Setting() as it:
        it.send("<a@sender.example> BY=3600;RT", "<b@full.example>")
        report = it.mail()
        expect("\nAction: relayed\n" in report, "a trace", report)
        expect("\nDeliver-By-Date: " in report, "the date", report)
        by = re.search(r" BY=(\d+);RT\b", it.commands("full")[0])
        expect(by and 3500 < int(by.group(1)) <= 3600, "BY",
               it.commands("full"))
        it.send("<a@sender.example> BY=3600;R", "<b@bare.example>")
        report = it.mail()
        expect("\nStatus: 5.3.3\n" in report, "mode R withheld", report)
        it.send("<a@sender.example> BY=3600;N", "<b@bare.example>")
        report = it.mail()
        expect("\nAction: relayed\n" in report, "mode N withheld", report)
        expect_equal(it.commands("bare")[-2], "MAIL FROM:<a@sender.example>",
                     "MAIL")
        it.done()


def test_deliverby_return():
    with Setting() as it:
        it.send("<a@sender.example> BY=2;R", "<b@later.example>")
        report = it.mail()
        expect("\nAction: failed\nStatus: 5.4.7\n" in report, "failed", report)
        expect("Delivery time expired" in report, "the reason", report)
        it.done()


def test_deliverby_notify():
    with Setting() as it:
        it.send("<a@sender.example> BY=2;N", "<b@later.example>")
        report = it.mail()
        expect("\nAction: delayed\nStatus: 4.4.7\n" in report, "delayed",
               report)
        expect("Delivery time expired, continuing" in report, "the reason",
               report)
        expect_equal(len(it.server.queue()), 1, "it goes on")
        fields = it.envelope()
        expect(re.fullmatch(r"\d+;N", fields["deliver-by"]), "deliver-by",
               fields)
        it.server.ctl("remove", it.server.queue()[0][0])
        it.done()


# --- FUTURERELEASE

def test_futurerelease():
    with Setting() as it:
        s = it.server
        it.send("<a@sender.example> HOLDFOR=2", "<b@full.example>")
        fields = it.envelope()
        hold = int(fields["hold-until"]) - int(fields["ctime"])
        expect(1 <= hold <= 3, "hold-until", fields)
        expect(4 * 86400 + 1 <= int(fields["ttl"]) <= 4 * 86400 + 2,
               "ttl", fields)
        expect_equal(it.sinks["full"].stats()["messages"], 0, "before")
        it.took("full")
        s.wait_empty(30)
        delay = re.search(r"delay=(\d+)s result=\"Ok\"", s.log_text())
        expect(delay and int(delay.group(1)) >= 1, "delay in the log",
               s.log_tail())

        it.send("<a@sender.example> HOLDFOR=86400", "<c@full.example>")
        before = it.envelope()
        expect_equal(s.stop(), 0, "exit status")
        s.start()
        expect_equal(it.envelope(), before, "after a restart")
        row = s.queue()[0]
        expect(row[11] == "pending" and int(row[12]) > 80000, "due", row)
        expect_equal(s.ctl("schedule", row[0]).strip(),
                     "1 envelope scheduled", "schedule")
        it.took("full", 2)
        it.done()


# --- MT-PRIORITY

def test_mt_priority():
    with Setting(limit="mta limit max-conn-per-host 1") as it:
        s = it.server
        s.ctl("pause", "mta")
        # Who is not authenticated can't go before others.
        for user, priority in (("low", " MT-PRIORITY=-4"), ("plain", ""),
                               ("less", " MT-PRIORITY=-2"),
                               ("plain2", " MT-PRIORITY=6"),
                               ("low2", " MT-PRIORITY=-4")):
            it.send("<a@sender.example>" + priority,
                    "<%s@full.example>" % user)
        expect_equal(it.sinks["full"].stats()["messages"], 0, "paused")
        s.ctl("resume", "mta")
        it.took("full", 5)
        lines = it.commands("full")
        order = [re.search("<(.*)@", line).group(1) for line in lines
                 if line.startswith("RCPT")]
        expect_equal(order, ["plain", "plain2", "less", "low", "low2"],
                     "order")
        expect("MT-PRIORITY" not in lines[0], "MAIL", lines)
        expect("MT-PRIORITY=-2" in lines[4], "MAIL", lines)
        expect("MT-PRIORITY=-4" in lines[6], "MAIL", lines)
        it.send("<a@sender.example> MT-PRIORITY=-6", "<b@bare.example>")
        it.took("bare")
        expect_equal(it.commands("bare")[0], "MAIL FROM:<a@sender.example>",
                     "withheld")
        it.done()


# --- REQUIRETLS

class TlsSmtp(Smtp):
    """A session that has said STARTTLS."""

    def __init__(self, port):
        super().__init__(port)
        self.expect("EHLO client.example", "250")
        self.expect("STARTTLS", "220")
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket)
        self.file = self.socket.makefile("rb")


def test_requiretls_never_goes_in_clear():
    with Setting(tls=True) as it:
        port = it.server.port
        it.send("<a@sender.example> REQUIRETLS RET=FULL", "<b@full.example>",
                client=TlsSmtp(port))
        report = it.mail()
        expect("\nStatus: 5.7.30\n" in report, "the status", report)
        expect("REQUIRETLS support required" in report, "the reason", report)
        expect("Hello." not in report, "only the header", report)
        expect_equal(it.commands("full"), [], "what the next hop heard")
        it.send("<a@sender.example> REQUIRETLS", "<b@inside.example>",
                client=TlsSmtp(port))
        expect("Hello." in it.mail(), "local delivery")
        clear = Smtp(port)
        clear.expect("EHLO client.example", "250")
        clear.expect("MAIL FROM:<a@sender.example> REQUIRETLS", "5")
        clear.quit()
        it.done()


# --- DSN, quoted local parts

def test_dsn():
    with Setting() as it:
        mail = "<a@sender.example> RET=HDRS ENVID=QQ+2B1"
        rcpt = "<b@%s.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;B+40x"
        it.send(mail, rcpt % "full")
        it.took("full")
        lines = it.commands("full")
        expect(lines[0].endswith(" RET=HDRS ENVID=QQ+2B1"), "MAIL", lines)
        expect_equal(lines[1], "RCPT TO:" + rcpt % "full", "RCPT")
        it.send(mail, rcpt % "bare")
        report = it.mail()
        for part in ("\nOriginal-Envelope-Id: QQ+1\n",
                     "\nOriginal-Recipient: rfc822; B@x\n",
                     "\nFinal-Recipient: rfc822; b@bare.example\n",
                     "\nAction: relayed\n"):
            expect(part in report, "the report has " + part, report)
        it.send(mail, rcpt % "inside")
        wait_for(lambda: len(it.mails()) == 2, 30, "mail and report")
        expect([m for m in it.mails() if b"\nAction: delivered\n" in m],
               "a report of success", it.mails())
        it.done()


def test_quoted_local_parts_go_as_they_came():
    with Setting() as it:
        paths = [r'<"a b"@full.example>', r'<"a@b"@full.example>',
                 r'<"a\"b\\c"@full.example>', r'<"<x>"@full.example>']
        it.send(r'<"me, myself"@sender.example>', *paths)
        it.took("full")
        lines = it.commands("full")
        expect(lines[0].startswith(r'MAIL FROM:<"me, myself"@sender.example>'),
               "MAIL", lines)
        expect_equal(sorted(lines[1:]), sorted("RCPT TO:" + p for p in paths),
                     "RCPT")
        it.done()


if __name__ == "__main__":
    sys.exit(run_tests([f for n, f in list(globals().items())
                        if n.startswith("test_")]))
