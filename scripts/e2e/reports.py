"""For test_reports.py: next hops that refuse, a server before them, and reports
taken to pieces by a program that knows nothing of ours (Python's email)."""
import contextlib
import email
import email.policy
import getpass
import os
import re
import socket
import sys
import threading

sys.dont_write_bytecode = True
from holdfast import (NOBODY, OPEN, Server, Smtp, expect,      # noqa: E402
                      expect_equal, free_port, wait_for)

USER = NOBODY if os.geteuid() == 0 else getpass.getuser()
CONF = """\
listen on 127.0.0.1 port {port} hostname mx.holdfast.example
%(globals)s
table boxes { "@" = %(user)s, "list@list.example" = "a@hop.example, \
b@hop.example", "owner@sender.example" = "%(user)s" }
action "box" maildir "{folder}/Maildir" virtual <boxes> user %(user)s
action "hop" relay host smtp+notls://%(hop)s
action "dsn" relay host smtp+notls://%(dsn)s
action "words" relay host smtp+notls://%(hop)s bounce-text "{folder}/words"
action "verp" relay host smtp+notls://%(hop)s verp
action "tls" relay host smtp+tls://%(hop)s
action "exec" mda "exit 77" virtual <boxes> user %(user)s \
bounce-text "{folder}/words"
match from any for domain { "sender.example", "list.example" } action "box"
match from any for domain "hop.example" action "hop"
match from any for domain "dsn.example" action "dsn"
match from any for domain "words.example" action "words"
match from any for domain "exec.example" action "exec"
match from any for domain "verp.example" action "verp"
match from any for domain "tls.example" action "tls"
match from any for domain "b\u00fccher.example" action "hop"
"""
WORDS = """\
# What our users read.
[failed]
Subject: Unzustellbar \u2013 %{smtpname}

Guten Tag,

f\u00fcr Ihre Nachricht an

%{recipients}

gilt (%{envid}): %{reason}

[delayed]
Noch nicht zugestellt nach %{delay}; Versuche bis %{ttl}.
"""
TEXT = b"From: <alice@sender.example>\r\nTo: <bob@hop.example>\r\n" \
       b"Subject: hello\r\nMessage-ID: <1@sender.example>\r\n" \
       b"Date: Sun, 22 Nov 2026 05:07:28 +0000\r\n\r\nBody text.\r\n"
REFUSED = b"550-5.1.1 No such \x1b[31muser\r\n550 5.1.1 here, sorry\r\n"

REASON = "550 5.1.1 No such ?[31muser here, sorry"    # as a report has it


class Hop:
    """A next hop that answers RCPT by the recipient's name: no... is refused,
    later... put off, others are taken."""

    made = 0

    def __init__(self, *offers):
        Hop.made += 1
        self.offers = offers
        self.messages = []    # (MAIL line, RCPT lines, text)
        self.lines = []
        self.address = "127.6.0.%d" % Hop.made
        self.port = free_port()
        self.listener = socket.create_server((self.address, self.port))
        threading.Thread(target=self.serve, daemon=True).start()
        OPEN.append(self)

    def where(self):
        return "%s:%d" % (self.address, self.port)

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.talk, daemon=True,
                                 args=(self.listener.accept()[0],)).start()

    def talk(self, connection):
        with contextlib.suppress(OSError), connection, \
                connection.makefile("rb") as lines:
            def say(text):
                connection.sendall(text)
            say(b"220 hop.example\r\n")
            mail, rcpts = "", []
            for line in iter(lines.readline, b""):
                line = line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
                self.lines.append(line)
                word = line.split(" ")[0].split(":")[0].upper()
                if word in ("EHLO", "RSET"):
                    mail, rcpts = "", []
                if word == "EHLO":
                    say(b"".join(b"250-%s\r\n" % offer.encode()
                                 for offer in ("hop.example",) + self.offers) +
                        b"250 HELP\r\n")
                elif word == "RCPT":
                    user = re.search("<([^@]*)", line).group(1)
                    if user.startswith("no"):
                        say(REFUSED)
                    elif user.startswith("later"):
                        say(b"451 4.2.1 Try later\r\n")
                    else:
                        rcpts.append(line)
                        say(b"250 2.1.5 ok\r\n")
                elif word == "MAIL":
                    mail = line
                    rcpts = []
                    say(b"250 2.1.0 ok\r\n")
                elif word == "DATA":
                    if not rcpts:
                        say(b"554 no recipients\r\n")
                        continue
                    say(b"354 go on\r\n")
                    text = b""
                    for part in iter(lines.readline, b".\r\n"):
                        text += part[1:] if part[:1] == b"." else part
                    self.messages.append((mail, rcpts, text))
                    say(b"250 2.0.0 taken\r\n")
                elif word == "QUIT":
                    return say(b"221 bye\r\n")
                else:
                    say(b"250 2.0.0 ok\r\n")

    def close(self):
        self.listener.close()


class Setting:
    def __init__(self, globals=""):
        self.hop = Hop("PIPELINING", "8BITMIME")
        self.dsn = Hop("PIPELINING", "8BITMIME", "DSN")
        self.server = Server("", user=NOBODY if os.geteuid() == 0 else None)
        self.words(WORDS)
        conf = CONF % {"hop": self.hop.where(), "dsn": self.dsn.where(),
                       "user": USER, "globals": globals}
        with open(self.server.conf, "w") as f:
            f.write('spool "%s"\n' % self.server.spool)
            f.write(conf.replace("{port}", str(self.server.port))
                    .replace("{folder}", self.server.folder))
        self.folder = os.path.join(self.server.maildir(), "new")
        self.server.start()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.server.close()
        self.hop.close()
        self.dsn.close()

    def words(self, text):
        with open(os.path.join(self.server.folder, "words"), "w") as f:
            f.write(text)

    def send(self, mail, *rcpts, data=TEXT):
        session = Smtp(self.server.port)
        session.expect("EHLO client.example", "250")
        session.expect("MAIL FROM:" + mail, "250")
        for rcpt in rcpts:
            session.expect("RCPT TO:" + rcpt, "250")
        session.expect("DATA", "354")
        session.send(re.sub(rb"(?m)^\.", b"..", data) + b".\r\n")
        reply = session.reply()
        expect(reply.startswith("250"), "the message is taken", reply)
        session.quit()

    def mails(self, count):
        """So many mails, which are then taken out of the mailbox."""
        def there():
            names = os.listdir(self.folder) if os.path.isdir(self.folder) \
                else []
            return names if len(names) >= count else None
        names = wait_for(there, 30, "%d mails\n%s" %
                         (count, self.server.log_tail()))
        expect_equal(len(names), count, "mails")
        texts = []
        for name in sorted(names):
            path = os.path.join(self.folder, name)
            with open(path, "rb") as f:
                texts.append(f.read())
            os.remove(path)
        return texts

    def report(self):
        return Report(self.mails(1)[0])

    def none(self):
        """Nothing has come: a report that is made later is the only one."""
        self.server.wait_empty(30)
        self.send("<alice@sender.example>", "<no-fence@hop.example>")
        report = self.report()
        expect_equal([b["Final-Recipient"] for b in report.blocks()[1:]],
                     ["rfc822; no-fence@hop.example"], "recipients")
        self.server.wait_empty(30)
        expect_equal(os.listdir(self.folder), [], "mails")

    def done(self):
        self.server.wait_empty(30)
        self.server.check_clean()
        expect_equal(self.server.stop(), 0, "exit status")


class Report:
    """A report taken to pieces."""

    def __init__(self, text):
        self.text = text.decode("utf-8", "surrogateescape")
        self.mail = email.message_from_bytes(text, policy=email.policy.default)
        expect_equal(self.mail.get_content_type(), "multipart/report", "type")
        expect_equal(self.mail.defects, [], "defects")
        parts = list(self.mail.iter_parts())
        expect_equal(len(parts), 3, "parts")
        self.people, self.machine, self.quoted = parts
        for part in parts:
            expect_equal(part.defects, [], "defects of a part")
        expect(all(c.isprintable() or c in "\n\t" for c in self.text),
               "nothing raw", self.text)

    def words(self):
        return self.people.get_content()

    def blocks(self):
        """The fields of the message, then those of each recipient."""
        return [{name: str(value) for name, value in block.items()}
                for block in self.machine.get_payload() if block.keys()]

    def check(self, action, to="alice@sender.example",
              smtpname="mx.holdfast.example"):
        mail = self.mail
        expect_equal(mail["From"], "Mailer Daemon "
                     "<MAILER-DAEMON@%s>" % smtpname, "From")
        expect_equal(mail["To"], to, "To")
        expect_equal(mail["Subject"],
                     "Delivery status notification: " + action, "Subject")
        expect_equal(mail["Auto-Submitted"], "auto-replied", "Auto-Submitted")
        expect_equal(mail.get_param("report-type"), "delivery-status", "type")
        expect(re.fullmatch(r"<\w{16}@\S+>", mail["Message-ID"]), "Message-ID",
               mail["Message-ID"])
        expect(mail["Date"].datetime is not None, "Date", mail["Date"])
        expect_equal(self.people.get_content_type(), "text/plain", "for people")
        expect_equal(self.machine.get_content_type(),
                     "message/delivery-status", "for programs")
        first = self.blocks()[0]
        expect_equal(first["Reporting-MTA"], "dns; " + smtpname,
                     "Reporting-MTA")
        expect("Arrival-Date" in first, "Arrival-Date", first)
        for block in self.blocks()[1:]:
            expect_equal(block["Action"], action, "Action")
        return self


def fields(block):
    """The fields of a recipient that are the same each time."""
    return {k: v for k, v in block.items() if k not in
            ("Last-Attempt-Date", "Remote-MTA", "Will-Retry-Until")}
