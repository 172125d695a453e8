#!/usr/bin/env python3
"""The email corpus by SMTP and by sendmail into a Maildir: unchanged but for
what testdata/email_golden lists."""
import os
import re
import sys

sys.dont_write_bytecode = True
import email_golden                                            # noqa: E402
import email_rules                                             # noqa: E402
from holdfast import (NOBODY, Failure, Server, Smtp, expect,   # noqa: E402
                      expect_equal, run_tests, wait_for)

CONF = """\
listen on 127.0.0.1 port {port}
table boxes { "@" = nobody }
action "box" maildir "{folder}/Maildir" virtual <boxes> %s
match from local for any action "box"
"""
RECIPIENT = "box@inside.example"
RECEIVED = re.compile(
    rb"Received: from \S+ \(.*\)\n\tby \S+ \(Holdfast\) with \S+ id [0-9a-f]{8}\n"
    rb"\tfor <" + RECIPIENT.encode() + rb">;\n"
    rb"\t\w{3}, \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4} \(\w+\)\n")
DATE = re.compile(
    rb"^Date: \w{3}, \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4} \(\w+\)$")


def server():
    s = Server(CONF % ("user nobody" if os.geteuid() == 0 else ""))
    s.maildir(owner=NOBODY)
    return s.start()


def delivered(s, subject):
    """The one message in the Maildir; it is taken out."""
    new = os.path.join(s.folder, "Maildir/new")

    def one():
        names = os.listdir(new) if os.path.isdir(new) else []
        return names[0] if names else None
    name = wait_for(one, 20, subject + " in the Maildir\n" + s.log_tail())
    path = os.path.join(new, name)
    with open(path, "rb") as f:
        text = f.read()
    os.unlink(path)
    expect_equal(len(os.listdir(new)), 0, subject + ": copies besides the one")
    return text


def clear(s):
    new = os.path.join(s.folder, "Maildir/new")
    for name in os.listdir(new) if os.path.isdir(new) else []:
        os.unlink(os.path.join(new, name))


def compare(name, text, wanted, host):
    """`wanted` has HOST, DATE and ID where the server chooses."""
    start = (b"Return-Path: <" + email_rules.SENDER.encode() +
             b">\nDelivered-To: " + RECIPIENT.encode() + b"\n")
    expect(text.startswith(start), name + ": trace fields", text[:300])
    received = RECEIVED.match(text, len(start))
    expect(received, name + ": Received field", text[len(start):600])
    got = text[received.end():].split(b"\n")
    expect_equal(got.pop(), b"", name + ": end of the last line")
    for number, (one, want) in enumerate(zip(got, wanted)):
        want = want.replace(b"@HOST", b"@" + host.encode())
        if want == b"Date: DATE":
            same = DATE.match(one)
        elif want == b"Message-ID: ID":
            same = re.fullmatch(rb"Message-ID: <[0-9a-f]{16}@" +
                                re.escape(host.encode()) + rb">", one)
        else:
            same = one == want
        expect(same, "%s: line %d" % (name, number + 1), want, one)
    expect_equal(len(got), len(wanted), name + ": number of lines")


def run_way(way, send):
    golden = email_golden.read(way)
    messages = email_golden.corpus()
    expect_equal(len(messages), 64, "size of the corpus")
    s = server()
    failed = []
    try:
        session = Smtp(s.port)
        host = session.banner.split()[1]
        session.quit()
        for name, data in messages:
            sha, reply, changes = golden[name]
            expect_equal(email_golden.digest(data), sha, name + " has changed")
            try:
                got = send(s, data)
                expect(got.startswith(reply), name + ": reply", reply, got)
                if reply.startswith("250"):
                    compare(name, delivered(s, name),
                            email_golden.apply(data, changes), host)
            except Failure as e:
                failed.append(str(e))
                s.wait_empty(20)
                clear(s)    # what came in spite of it
        expect(not failed, "%d of 64 differ" % len(failed), *failed)
        s.check_clean()
    finally:
        s.close()


def test_by_smtp():
    def send(s, data):
        session = Smtp(s.port)
        session.expect("EHLO client.example", "250")
        crlf = re.sub(rb"\r?\n", b"\r\n", data)
        reply = session.message(email_rules.SENDER, [RECIPIENT], crlf)
        session.quit()
        return reply
    run_way("smtp", send)


def test_by_sendmail():
    def send(s, data):
        run = s.sendmail("-f", email_rules.SENDER, RECIPIENT, data=data,
                         check=False)
        if run.returncode == 0:
            return "250"
        expect_equal(run.returncode, 70, "exit of sendmail")
        text = run.stderr.decode("utf-8", "replace")
        return text.replace("sendmail: command failed: ", "").strip()
    run_way("sendmail", send)


def test_golden_files_are_the_rules():
    expect_equal(email_golden.main(), 0, "scripts/e2e/email_golden.py")


if __name__ == "__main__":
    sys.exit(run_tests([test_golden_files_are_the_rules, test_by_smtp,
                        test_by_sendmail]))
