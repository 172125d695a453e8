#!/usr/bin/env python3
"""Mail that OpenSMTPD and Postfix, Debian's own, could not send lies in their
spools; `smtpctl queue import --from` takes it, and every message arrives as it
was sent, once."""
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading

sys.dont_write_bytecode = True
import peers                                                    # noqa: E402
from holdfast import (Failure, Server, Smtp, expect,            # noqa: E402
                      expect_equal, free_port, run_tests, tool, wait_for)

KEY = "0123456789abcdef0123456789abcdef"
CONF = """\
listen on 127.0.0.1 port {port}
action "out" relay host smtp+notls://127.0.0.1:%d
match from any for any action "out"
"""
# What each message is found again by; its digest begins there.
MARK = b"X-Mark: "


class Sink:
    """A next hop that remembers {recipient: [digests]}; who is in `later` is
    put off."""

    def __init__(self, later=()):
        self.port = free_port()
        self.later = set(later)
        self.got = {}
        self.listening = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            connection, _ = self.listening.accept()
            threading.Thread(target=self.serve, args=(connection,),
                             daemon=True).start()

    def serve(self, connection):
        with connection, connection.makefile("rwb", buffering=0) as f:
            f.write(b"220 sink.example\r\n")
            lines = connection.makefile("rb")
            recipients = []
            for line in lines:
                word = line[:4].upper()
                answer = b"250 ok\r\n"
                if word == b"EHLO":
                    answer = b"250-sink.example\r\n250-8BITMIME\r\n" \
                        b"250-SMTPUTF8\r\n250 DSN\r\n"
                elif word in (b"MAIL", b"RSET"):
                    recipients = []
                elif word == b"RCPT":
                    to = line[line.index(b"<") + 1:line.index(b">")].decode()
                    if to in self.later:
                        answer = b"451 4.2.0 not now\r\n"
                    else:
                        recipients.append(to)
                elif word == b"DATA":
                    f.write(b"354 go on\r\n")
                    digest = digest_of(read_content(lines))
                    for to in recipients:
                        self.got.setdefault(to, []).append(digest)
                elif word == b"QUIT":
                    f.write(b"221 bye\r\n")
                    return
                f.write(answer)


def read_content(lines):
    content = b""
    for line in lines:
        if line == b".\r\n":
            return content
        content += line[1:] if line.startswith(b".") else line
    raise Failure("the connection ended within a message")


def digest_of(content):
    return hashlib.sha256(content[content.index(MARK):]).hexdigest()


HEAD = (b"From: a@from.example\r\nTo: x\r\nDate: Mon, 23 Nov 2026 01:02:03 "
        b"+0000\r\nMessage-Id: <%d@from.example>\r\n")


# (sender, recipients, content): small, long lines, dots, many lines, 8 bit, no
# line at all in the body, the null sender.
def messages():
    bodies = [b"hello\r\n", b"", b".\r\n..\r\n.x\r\n\r\n",
              b"".join(b"line %d of many\r\n" % i for i in range(20000)),
              b"gr\xc3\xbc\xc3\x9fe\r\n", b"y" * 900 + b"\r\n" + b"end\r\n"]
    for i, body in enumerate(bodies):
        yield ("" if i == 2 else "a%d@from.example" % i,
               ["r%d@one.example" % i, "r%d@two.example" % i],
               HEAD % i + MARK + b"%d\r\n\r\n" % i + body)


def wanted(dropped=()):
    return {to: [digest_of(content)] for _, recipients, content in messages()
            for to in recipients if to not in dropped}


def fill(peer):
    for sender, recipients, content in messages():
        peer.send(sender, recipients, content)


class OpenSmtpd(peers.OpenSmtpd):
    """Whose next hop is not there."""

    def __init__(self, *options):
        self.options = options
        super().__init__(free_port())

    def prepare(self):
        super().prepare()
        with open(self.path("smtpd.conf")) as f:
            rest = f.read()
        self.write("smtpd.conf", "".join(
            "queue %s\n" % option for option in self.options) + rest)

    def take_spool(self, folder):
        # Only its own mount namespace has it.
        shutil.copytree("/proc/%d/root/var/spool/smtpd" % self.process.pid,
                        folder)


def import_spool(server, *words, code=0, input=b""):
    run = subprocess.run(
        [tool("smtpctl"), "--spool", server.spool, "queue", "import"] +
        list(words), input=input, capture_output=True, timeout=120)
    expect_equal(run.returncode, code, "exit status: " +
                 run.stderr.decode("utf-8", "replace"))
    return run.stderr.decode("utf-8", "replace")


def arrive(server, sink, expected):
    server.ctl("schedule", "all")
    server.wait_empty()
    expect_equal(sink.got, expected, "what arrives")
    server.check_clean()


def from_opensmtpd(*options, words=(), input=b"", running=True):
    peer = OpenSmtpd(*options)
    fill(peer)
    sink = Sink()
    server = Server(CONF % sink.port).start()
    with tempfile.TemporaryDirectory() as place:
        spool = os.path.join(place, "spool")
        peer.take_spool(spool)
        peer.close()
        if not running:
            server.stop()
        said = import_spool(server, "--from", "opensmtpd", *words, spool,
                            input=input)
        expect("12 envelopes taken" in said, "12 envelopes are taken", said)
        said = import_spool(server, "--from", "opensmtpd", *words, spool,
                            input=input)
        expect("0 envelopes taken, 12 had come before" in said,
               "none is taken twice", said)
        if not running:
            server.start()
        arrive(server, sink, wanted())
        # Nor when they have been sent.
        said = import_spool(server, "--from", "opensmtpd", *words, spool,
                            input=input)
        expect("0 envelopes taken" in said, "none is taken again", said)


def test_opensmtpd_plain():
    from_opensmtpd()


def test_opensmtpd_while_ours_is_down():
    from_opensmtpd(running=False)


def test_opensmtpd_compressed():
    from_opensmtpd("compression")


def test_opensmtpd_encrypted():
    with tempfile.NamedTemporaryFile("w") as key:
        key.write(KEY + "\n")
        key.flush()
        from_opensmtpd("encryption " + KEY, words=("--key", key.name))


def test_opensmtpd_compressed_and_encrypted_key_on_standard_input():
    from_opensmtpd("compression", "encryption " + KEY, words=("--key", "-"),
                   input=KEY.encode() + b"\n")


def test_a_wrong_key_or_none_takes_nothing():
    peer = OpenSmtpd("encryption " + KEY)
    peer.send("a@from.example", ["b@one.example"], b"Subject: x\r\n\r\nx\r\n")
    server = Server(CONF % free_port()).start()
    with tempfile.TemporaryDirectory() as place:
        spool = os.path.join(place, "spool")
        peer.take_spool(spool)
        for words, input, why in (
                ((), b"", "the key is needed"),
                (("--key", "-"), KEY[::-1].encode(), "can't be decrypted"),
                (("--key", "-"), b"short", "32 characters")):
            said = import_spool(server, "--from", "opensmtpd", *words, spool,
                                code=1, input=input)
            expect(why in said, why, said)
    expect_equal(server.queue(), [], "the queue")


def make_postfix_spool(place):
    """Of each message one recipient has got it, one not; one more message is
    on hold."""
    later = {"r%d@two.example" % i for i in range(6)}
    hop = Sink(later | {"held@one.example"})
    postfix = peers.Postfix(hop.port)
    smtp = Smtp(postfix.port)
    smtp.expect("EHLO client.example", "250")
    for sender, recipients, content in messages():
        smtp.expect("MAIL FROM:<%s> BODY=8BITMIME RET=HDRS ENVID=E+3D%d" %
                    (sender, len(content)), "250")
        for to in recipients:
            smtp.expect("RCPT TO:<%s> NOTIFY=FAILURE ORCPT=rfc822;o+2B%s" %
                        (to, to), "250")
        smtp.expect("DATA", "354")
        smtp.send(content.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        expect(smtp.reply().startswith("250"), "Postfix accepts it", postfix)
    smtp.quit()
    postfix.send("h@from.example", ["held@one.example"],
                 HEAD % 99 + MARK + b"held\r\n\r\nx\r\n")

    def deferred():
        found = [os.path.join(root, name) for root, _, names in
                 os.walk(postfix.path("queue/deferred")) for name in names]
        return found if len(found) == 7 else None
    wait_for(deferred, 30, "seven deferred messages\n" + postfix.text())
    for path in deferred():
        with open(path, "rb") as f:
            if b"held@one.example" in f.read():
                os.rename(path, postfix.path("queue/hold",
                                             os.path.basename(path)))
    for name in ("incoming", "active", "deferred", "defer", "hold", "corrupt",
                 "maildrop"):
        shutil.copytree(postfix.path("queue", name), os.path.join(place, name))
    said = import_spool(Server(CONF % 1), "--from", "postfix", "--action",
                        "out", postfix.path("queue"), code=1)
    expect("stop it first" in said, "a Postfix that runs", said)
    postfix.close()
    got = {to for _, recipients, _ in messages() for to in recipients} - later
    expect_equal(set(hop.got), got, "who got it from Postfix")
    return got


def test_postfix():
    with tempfile.TemporaryDirectory() as place:
        delivered = make_postfix_spool(place)
        with open(os.path.join(place, "corrupt", "0123456789"), "w") as f:
            f.write("x")
        sink = Sink()
        server = Server(CONF % sink.port).start()
        said = import_spool(server, "--from", "postfix", place, code=1)
        expect("--action" in said, "the action has to be named", said)
        words = ("--from", "postfix", "--action", "out", place)
        said = import_spool(server, *words)
        expect("7 envelopes taken" in said and
               "6 recipients had got their mail already" in said and
               "corrupt: 1 files are not looked at" in said, "the import", said)
        said = import_spool(server, *words)
        expect("0 envelopes taken, 7 had come before" in said,
               "none is taken twice", said)
        rows = [json.loads(line) for line in server.ctl(
            "queue", "list", "--format", "json").splitlines()]
        expect_equal(len(rows), 7, "queued")
        for row in rows:
            held = row["recipient"] == "held@one.example"
            expect_equal(row["state"], "held" if held else "deferred",
                         "state of " + row["recipient"])
            expect("not now" in row["error"], "why it is here", row)
            shown = server.ctl("show", "envelope", row["id"])
            if not held:
                expect("dsn-orcpt: rfc822;o+2B%s\n" % row["recipient"] in shown
                       and "dsn-notify: 2\n" in shown and
                       "dsn-ret: HDRS\n" in shown and
                       "dsn-envid: E+3D" in shown, "DSN", shown)
        held = [row["id"] for row in rows if row["state"] == "held"]
        expected = wanted(dropped=delivered)
        server.ctl("queue", "schedule", "--yes", "state = deferred")
        wait_for(lambda: len(sink.got) >= 6, 60, "six messages")
        expect_equal(sink.got, expected, "what arrives while one is held")
        server.ctl("queue", "release", "--yes", "id = " + held[0])
        expected["held@one.example"] = [hashlib.sha256(
            MARK + b"held\r\n\r\nx\r\n").hexdigest()]
        arrive(server, sink, expected)


if __name__ == "__main__":
    sys.exit(run_tests([value for name, value in list(globals().items())
                        if name.startswith("test_")]))
