#!/usr/bin/env python3
"""The same dialogues with Debian's OpenSMTPD and with ours, through the same
recording filter at the same version of the protocol: what filters hear is the
same, but for what is listed here."""
import atexit
import difflib
import os
import re
import shutil
import sys
import tempfile

sys.dont_write_bytecode = True
from filter_places import (LETTER, OpenSmtpdWithFilter, Place,  # noqa: E402
                           SlowWords)
from filter_streams import (HOST, Record, install, normal,     # noqa: E402
                            text_and_rest, without_keywords)
from holdfast import Failure, Smtp, expect, run_tests          # noqa: E402

FILTER = 'proc recorder "%s %s%s"%s\nfilter f proc recorder\n'
REST = """\
listen on 127.0.0.1 port {port} hostname %s filter f
action "out" relay host "smtp+notls://127.0.0.1:%d" helo "%s" filter f
match from any for any action "out"
"""
MAIL, RCPT = "MAIL FROM:<sender@example.com>", "RCPT TO:<ok@example.net>"
# Replies whose text is our own (docs/COMPATIBILITY.md).
OURS = [
    # Both: what is in the reply is compared elsewhere.
    (r"(protocol-server\|S\d+\|5\d\d) .*", r"\1 TEXT"),
    (r"(protocol-server\|S\d+\|214)-.*", r"\1 HELP"),
    (r"(protocol-server\|S\d+\|214) .*", r"\1 HELP"),
]

DIALOGUES = {
    "a message": ["EHLO c2", MAIL, RCPT, "DATA", LETTER, "QUIT"],
    "helo": ["HELO c2", MAIL, RCPT, "DATA", LETTER, "QUIT"],
    "two messages": ["EHLO c2", MAIL, RCPT, "DATA", LETTER, MAIL, RCPT,
                     "RCPT TO:<two@example.net>", "DATA", LETTER, "QUIT"],
    "reset": ["EHLO c2", MAIL, RCPT, "RSET", "RSET", MAIL, "QUIT"],
    "reset before": ["EHLO c2", "RSET", "QUIT"],
    "noop": ["NOOP", "EHLO c2", "NOOP", "QUIT"],
    "parameters": ["EHLO c2", MAIL + " SIZE=100 BODY=8BITMIME",
                   RCPT + " NOTIFY=NEVER", "DATA", LETTER, "QUIT"],
    "null sender": ["EHLO c2", "MAIL FROM:<>", RCPT, "DATA", LETTER, "QUIT"],
    "case and blanks": ["ehlo c2", "mail from:<Sender@Example.Com>",
                        "rcpt to:<OK@Example.Net>", "data", LETTER, "quit"],
    "hello again": ["EHLO c2", MAIL, "EHLO c3", MAIL, RCPT, "QUIT"],
    "out of order": ["EHLO c2", RCPT, "DATA", MAIL, MAIL, "QUIT"],
    "bad addresses": ["EHLO c2", "MAIL FROM:<a@@b>", "MAIL FROM:x",
                      MAIL, "RCPT TO:<@>", "QUIT"],
    "unknown": ["EHLO c2", "FOO", "BAR joe", "QUIT"],
    "dots": ["EHLO c2", MAIL, RCPT, "DATA",
             b"Subject: x\r\n\r\n..one\r\n...two\r\n.. \r\n", "QUIT"],
    "folded and odd headers": ["EHLO c2", MAIL, RCPT, "DATA",
                               b"Subject: a\r\n\tb\r\nX: \xe9|\xff|\r\n"
                               b"From: joe@example.com\r\n\r\n|a||b|\r\n",
                               "QUIT"],
    "no header": ["EHLO c2", MAIL, RCPT, "DATA", b"\r\nbody only\r\n", "QUIT"],
    "refused by match": ["EHLO c2", MAIL, "RCPT TO:<a@refused.example>",
                         "QUIT"],
    "client goes": ["EHLO c2", MAIL, RCPT],
    "client goes in text": ["EHLO c2", MAIL, RCPT, "DATA", None],
}
# Where ours differs on purpose (docs/COMPATIBILITY.md).
DEPARTURES = {
    "hello again": "EHLO in a transaction resets it: RFC 5321 4.1.4",
}
DECISIONS = ["reject|550 5.7.1 No", "reject|451 4.7.1 No",
             "reject|421 4.7.1 No", "disconnect|550 5.7.1 No", "reject|nonsense"]
PHASES = {"connect": [], "ehlo": ["EHLO c2"], "helo": ["HELO c2"],
          "mail-from": ["EHLO c2", MAIL], "rcpt-to": ["EHLO c2", MAIL, RCPT],
          "data": ["EHLO c2", MAIL, RCPT, "DATA"],
          "commit": ["EHLO c2", MAIL, RCPT, "DATA", LETTER],
          "rset": ["EHLO c2", MAIL, RCPT, "RSET"], "noop": ["EHLO c2", "NOOP"],
          "quit": ["EHLO c2", "QUIT"]}


def rules(port):
    return REST.replace("match from", 'match from any for domain '
                        '"refused.example" reject\nmatch from', 1) % (
        HOST, port, HOST)


class Theirs:
    def __init__(self, words):
        self.folder = tempfile.mkdtemp(prefix="holdfast-beside.")
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        os.chmod(self.folder, 0o777)
        program = install(self.folder)["recorder.py"]
        self.record = Record(self.folder)
        self.sink = SlowWords()
        self.peer = OpenSmtpdWithFilter(
            FILTER % (program, self.record.path, words, "") +
            rules(self.sink.port))
        self.port = self.peer.port


class Ours:
    def __init__(self, words):
        self.place = Place(FILTER % ("{filters}/recorder.py", "{record}", words,
                                     ' protocol "0.6"'), listen="",
                           rules=rules(0).replace(":0\"", ":{sink}\""))
        self.record = self.place.record
        self.port = self.place.server.port


def talk(side, dialogue):
    """Says the lines; ends when the other side does."""
    try:
        session = Smtp(side.port)
        for line in dialogue:
            if line is None:
                session.send(b"Subject: x\r\n")
                side.record.wait(r"^> filter-dataline.*\|Subject: x$")
            elif isinstance(line, bytes):
                session.send(line + b".\r\n")
                session.reply()
            else:
                session.command(line)
        session.close()
    except (Failure, OSError):
        pass


def streams(side, dialogues):
    """{name: (text there, events and phases)} of each dialogue."""
    found = {}
    for name, dialogue in dialogues.items():
        side.record.wait(r"smtp-in\|link-disconnect")
        side.record.clear()
        talk(side, dialogue)
        side.record.wait(r"smtp-in\|link-disconnect")
        session = side.record.sessions("smtp-in")[0]
        lines = without_keywords(normal(side.record.of(session)))
        there, _, rest = text_and_rest(lines)
        found[name] = (
            [re.sub(r"\((OpenSMTPD|Holdfast)\)", "(SERVER)", line)
             for line in there if not re.match(r"\t\w{3}, ", line)],
            [own(line) for line in rest])
    return found


def own(line):
    for pattern, by in OURS:
        line = re.sub(pattern, by, line)
    return line


def same(theirs, ours):
    wrong = []
    for name in theirs:
        if name in DEPARTURES:
            expect(theirs[name] != ours[name], "still a departure: " + name)
            continue
        for what, a, b in zip(("text", "events"), theirs[name], ours[name]):
            if a != b:
                wrong.append("\n".join(difflib.unified_diff(
                    a, b, "theirs, " + name, "ours, " + what, lineterm="")))
    expect(not wrong, "the same streams", *wrong)


def test_dialogues():
    same(streams(Theirs(""), DIALOGUES), streams(Ours(""), DIALOGUES))


def test_decisions():
    """One phase decides at a time; the filter is told by a file."""
    with tempfile.NamedTemporaryFile("w") as told:
        os.chmod(told.name, 0o644)
        found = []
        for kind in (Theirs, Ours):
            side = kind(" decisions=" + told.name)
            found.append({})
            for phase, dialogue in PHASES.items():
                for decision in DECISIONS:
                    os.truncate(told.name, 0)
                    told.seek(0)
                    told.write("%s=%s\n" % (phase, decision))
                    told.flush()
                    name = "%s at %s" % (decision, phase)
                    found[-1].update(streams(side, {name: dialogue}))
    same(*found)


if __name__ == "__main__":
    sys.exit(run_tests([value for name, value in list(globals().items())
                        if name.startswith("test_")]))
