"""Servers with filters, ours and OpenSMTPD, and a next hop for them."""
import os
import re
import socket
import ssl
import subprocess
import tempfile
import threading

from certificates import Authority
from filter_streams import HOST, Record, install
from holdfast import (NOBODY, OPEN, Server, Skip, Smtp, free_port, wait_for)
from peers import OpenSmtpd

LETTER = b"Subject: test\r\n\r\nhi\r\n"
RECORDER = 'proc recorder "{filters}/recorder.py {record}%s"\n' \
           'filter f proc recorder\n'
# What leads to a phase, and the command that is asked about.
WAY = {
    "helo": ([], "HELO c2", "250"),
    "ehlo": ([], "EHLO c2", "250"),
    "noop": (["EHLO c2"], "NOOP", "250"),
    "rset": (["EHLO c2"], "RSET", "250"),
    "mail-from": (["EHLO c2"], "MAIL FROM:<sender@example.com>", "250"),
    "rcpt-to": (["EHLO c2", "MAIL FROM:<sender@example.com>"],
                "RCPT TO:<ok@example.net>", "250"),
    "data": (["EHLO c2", "MAIL FROM:<sender@example.com>",
              "RCPT TO:<ok@example.net>"], "DATA", "354"),
    "commit": (["EHLO c2", "MAIL FROM:<sender@example.com>",
                "RCPT TO:<ok@example.net>", "DATA"],
               "Subject: test\r\n\r\nhi\r\n.", "250"),
    "quit": (["EHLO c2"], "QUIT", "221"),
}
INTERNAL = "421 Internal server error"


def closed(session):
    """Nothing comes any more."""
    session.socket.settimeout(20)
    return session.file.read(1) == b""


def closed_within(session, seconds):
    session.socket.settimeout(seconds)
    try:
        return session.socket.recv(1) == b""
    except socket.timeout:
        return False


class SlowWords:
    """A sink with the words of the golden conversation."""

    REPLIES = {"EHLO": "250-sink.test\r\n250-8BITMIME\r\n250 HELP",
               "LHLO": "250 sink.test", "MAIL": "250 2.0.0 ok",
               "QUIT": "221 2.0.0 bye", "RSET": "250 2.0.0 ok",
               "DATA": "354 go"}

    def __init__(self):
        self.port = free_port()
        self.messages = []    # (sender, recipients, text)
        self.listener = socket.create_server(("127.0.0.1", self.port))
        OPEN.append(self)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        try:
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(client,),
                                 daemon=True).start()
        except OSError:
            pass

    def serve(self, client):
        with client, client.makefile("rwb") as stream:
            def say(text):
                stream.write(text.encode() + b"\r\n")
                stream.flush()
            say("220 sink.test ESMTP")
            sender, recipients, lmtp = None, [], False
            for line in stream:
                line = line.decode("latin-1").rstrip("\r\n")
                verb = line[:4].upper()
                lmtp |= verb == "LHLO"
                if verb == "RCPT":
                    say(self.recipient(line, recipients))
                    continue
                if verb == "MAIL":
                    sender, recipients = line[10:].split(">")[0][1:], []
                say(self.REPLIES.get(verb, "500 5.5.1 what"))
                if verb == "DATA":
                    text = []
                    for one in stream:
                        if one == b".\r\n":
                            break
                        text.append(one[1:] if one[:1] == b"." else one)
                    self.messages.append((sender, recipients, b"".join(text)))
                    for _ in recipients if lmtp else [None]:
                        say("250 2.0.0 queued as SINK%d" % len(self.messages))
                if verb == "QUIT":
                    return

    def recipient(self, line, recipients):
        if "<temp@" in line:
            return "450 4.2.1 Try later"
        if "<perm@" in line:
            return "550 5.1.1 No such user"
        recipients.append(line[8:].split(">")[0][1:])
        return "250 2.0.0 ok"

    def close(self):
        self.listener.close()


class OpenSmtpdWithFilter(OpenSmtpd):
    """Debian's, with a configuration of its own."""

    def __init__(self, conf):
        self.conf = conf
        super().__init__(0)

    def prepare(self):
        self.write("smtpd.conf", self.conf.replace("{port}", str(self.port)))


class Place:
    """A server of ours with filters: {filters} is the folder they are in,
    {record} the file of a recorder, {sink} the port of a sink."""

    RULES = """\
action "out" relay host "smtp+notls://127.0.0.1:{sink}"
table boxes { "@" = nobody }
action "box" maildir "{folder}/Maildir" junk virtual <boxes>
match from any for domain "box.example" action "box"
match from any for any action "out"
"""
    LISTEN = "listen on 127.0.0.1 port {port} hostname %s filter f\n" % HOST

    def __init__(self, conf, listen=LISTEN, rules=RULES, start=True,
                 options=()):
        if os.geteuid() != 0:
            raise Skip("needs root")
        self.server = Server("", options=options)
        self.folder = self.server.folder
        self.filters = install(self.folder)
        self.record = Record(self.folder)
        self.sink = SlowWords()
        self.maildir = self.server.maildir(owner=NOBODY)
        os.chmod(self.folder, 0o777)    # for what filters write
        self.text = conf + listen + rules
        with open(self.server.conf, "a") as f:
            f.write(self.fill(self.text))
        if start:
            self.server.start()

    def fill(self, text):
        for word, value in (("port", self.server.port),
                            ("folder", self.folder),
                            ("filters", self.folder + "/filters"),
                            ("record", self.record.path),
                            ("sink", self.sink.port)):
            text = text.replace("{%s}" % word, str(value))
        return text

    def smtp(self, port=None, host="127.0.0.1"):
        session = Smtp(port or self.server.port, host)
        session.expect("EHLO c2", "250")
        return session

    def send(self, *recipients, data=LETTER, sender="sender@example.com",
             port=None):
        """The reply to one message in a session of its own."""
        session = self.smtp(port)
        reply = session.message(sender, recipients or ["ok@example.net"], data)
        session.quit()
        return reply

    def send_anyway(self, recipient, data):
        """The same; the session may end before QUIT."""
        session = self.smtp()
        reply = session.message("sender@example.com", [recipient], data)
        session.close()
        return reply

    def letters(self, count=1, folder="new"):
        """What lies in the Maildir (or in ".Junk/new")."""
        path = os.path.join(self.maildir, folder)
        wait_for(lambda: os.path.isdir(path) and
                 len(os.listdir(path)) >= count, 30,
                 "%d letters in %s\n%s" % (count, path,
                                           self.server.log_tail()))
        found = []
        for name in os.listdir(path):
            with open(os.path.join(path, name), "rb") as f:
                found.append(f.read())
        return found

    def relayed(self, count=1):
        wait_for(lambda: len(self.sink.messages) >= count, 30,
                 "%d messages at the sink\n%s" % (count,
                                                  self.server.log_tail()))
        return self.sink.messages

    def log(self, pattern, seconds=20):
        return wait_for(lambda: re.search(pattern, self.server.log_text()),
                        seconds, "%r in the log\n%s" % (
                            pattern, self.server.log_tail()))


class Deciding(Place):
    """With a filter whose decisions change while it runs."""

    def __init__(self, more="", **words):
        super().__init__(RECORDER % (" decisions={folder}/decisions" + more),
                         **words)

    def decide(self, phase, decision):
        path = os.path.join(self.folder, "decisions")
        with open(path + ".new", "w") as f:
            f.write("%s=%s\n" % (phase, decision))
        os.rename(path + ".new", path)
        self.record.clear()


class Secured(Deciding):
    """The same with STARTTLS and AUTH."""

    def __init__(self):
        self.keys = tempfile.mkdtemp(prefix="holdfast-keys.")
        self.authority = Authority(self.keys)
        cert, key = self.authority.issue(HOST)
        hashed = subprocess.run(
            ["openssl", "passwd", "-6", "secret"], check=True,
            stdout=subprocess.PIPE, text=True).stdout.strip()
        super().__init__(
            listen='pki mine cert "%s"\npki mine key "%s"\n'
            'table users { joe = "%s" }\n'
            'listen on 127.0.0.1 port {port} hostname %s tls pki mine '
            'auth-optional <users> filter f\n' % (cert, key, hashed, HOST))

    def tls(self):
        session = self.smtp()
        session.expect("STARTTLS", "220")
        context = ssl.create_default_context(cafile=self.authority.cert)
        session.socket = context.wrap_socket(session.socket,
                                             server_hostname=HOST)
        session.file = session.socket.makefile("rb")
        session.expect("EHLO c2", "250")
        return session
