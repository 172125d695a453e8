#!/usr/bin/env python3
"""The golden files of the email corpus: what is expected of each message, as
differences from what was sent.

    scripts/e2e/email_golden.py          compares them with email_rules.py
    scripts/e2e/email_golden.py --write  writes them anew from these rules

The corpus is the test data of Python's email package (64 files, Debian's
libpython3.11-testsuite): 47 messages as they are, and the 17 pictures and
sounds, each as an attachment of a message with a text in 8 bits.

A golden file has for each message a line "== NAME SHA-256-of-input", the reply,
and then the lines that go ("-") and come ("+"), each after its line number in
the input.  It is reviewed by people; nothing the server said went into it.
"""
import base64
import difflib
import glob
import hashlib
import os
import sys

sys.dont_write_bytecode = True
import email_rules                                             # noqa: E402
from holdfast import ROOT, Failure, peer                       # noqa: E402

WAYS = {"smtp": email_rules.by_smtp, "sendmail": email_rules.by_sendmail}


def path_of(way):
    return os.path.join(ROOT, "testdata/email_golden", way + ".golden")


def corpus():
    """[(name, bytes)], 64 of them, in order."""
    folder = peer("libpython3.11-testsuite",
                  "usr/lib/python3.11/test/test_email/data")
    messages = []
    for path in sorted(glob.glob(os.path.join(folder, "*"))):
        with open(path, "rb") as f:
            data = f.read()
        name = os.path.basename(path)
        messages.append((name, data if name.endswith(".txt")
                         else attachment(name, data)))
    return messages


def attachment(name, data):
    """A message with `data` attached, as a mail program would write it."""
    encoded = base64.encodebytes(data).decode()
    return ("""\
From: =?utf-8?q?J=C3=BCrgen?= <jurgen@outside.example>
To: archive
Cc: "Smith, Jo" <jo>, group: a, b;
Bcc: secret@outside.example,
 other@outside.example
Subject: %(name)s
Message-ID: <%(name)s@outside.example>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="=_kelp"

--=_kelp
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

Grüße – anbei %(name)s.
.
..
From here on it is attached.
--=_kelp
Content-Type: application/octet-stream; name="%(name)s"
Content-Transfer-Encoding: base64

%(encoded)s--=_kelp--
""" % {"name": name, "encoded": encoded}).encode()


def expectation(name, data, way):
    """The lines of a golden file about one message."""
    reply, lines = WAYS[way](data)
    out = [b"== %s %s" % (name.encode(), digest(data)), reply.encode()]
    if lines is None:
        return out
    sent = email_rules.lines_of(data)
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(
            None, sent, lines, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        out += [b"-%d %s" % (i + 1, sent[i]) for i in range(i1, i2)]
        out += [b"+%d %s" % (i2, line) for line in lines[j1:j2]]
    return out


def digest(data):
    return hashlib.sha256(data).hexdigest().encode()


def read(way):
    """{name: (digest, reply, [(sign, number, line)])}"""
    golden = {}
    with open(path_of(way), "rb") as f:
        for line in f.read().split(b"\n"):
            if line.startswith(b"== "):
                _, name, sha = line.split(b" ")
                entry = [sha, None, []]
                golden[name.decode()] = entry
            elif line and entry[1] is None:
                entry[1] = line.decode()
            elif line:
                number, text = line[1:].split(b" ", 1)
                entry[2].append((line[:1], int(number), text))
    return golden


def apply(data, changes):
    """The expected lines: the input with a golden file's changes."""
    sent = email_rules.lines_of(data)
    out = []
    gone = {number for sign, number, _ in changes if sign == b"-"}
    added = {}
    for sign, number, line in changes:
        if sign == b"-" and sent[number - 1] != line:
            raise Failure("golden file and corpus differ in line %d" % number)
        if sign == b"+":
            added.setdefault(number, []).append(line)
    for number in range(len(sent) + 1):
        if number > 0 and number not in gone:
            out.append(sent[number - 1])
        out += added.get(number, [])
    return out


def main():
    same = True
    for way in WAYS:
        text = b"\n".join(line for name, data in corpus()
                          for line in expectation(name, data, way)) + b"\n"
        if "--write" in sys.argv:
            os.makedirs(os.path.dirname(path_of(way)), exist_ok=True)
            with open(path_of(way), "wb") as f:
                f.write(text)
        else:
            with open(path_of(way), "rb") as f:
                same = f.read() == text and same
    if not same:
        print("the golden files are not what email_rules.py says")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
