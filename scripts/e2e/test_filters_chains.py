#!/usr/bin/env python3
"""Filters that are written in the configuration, each criterion and decision in
every phase; chains of filters, and the texts that pass through them."""
import base64
import re
import shutil
import ssl
import sys
import threading
import time

sys.dont_write_bytecode = True
from filter_places import (INTERNAL, LETTER, RECORDER, WAY,    # noqa: E402
                           Place, Secured, closed_within)
from filter_streams import HOST, Record, text_and_rest         # noqa: E402
from holdfast import (Smtp, expect, expect_equal, free_port,   # noqa: E402
                      run_tests)

# Criterion -> whether it holds in the session below.
CRITERIA = {
    "fcrdns": True, "rdns": True, 'rdns { "localhost" }': True,
    'rdns { "other.example" }': False, 'rdns regex { "^local" }': True,
    'src { "127.0.0.0/8" }': True, 'src { "192.0.2.0/24" }': False,
    'src regex { "^127[.]" }': True,
    'helo { "c2" }': True, 'helo { "c3" }': False,
    'helo regex { "^c[0-9]$" }': True,
    "auth": False, 'auth { "joe" }': False,
    'mail-from { "sender@example.com" }': True,
    'mail-from { "@example.com" }': True,
    'mail-from { "else@example.com" }': False,
    'mail-from regex { "^sender" }': True,
    'rcpt-to { "ok@example.net" }': True,
    'rcpt-to { "no@example.net" }': False,
    'rcpt-to regex { "@example[.]net$" }': True,
}
KNOWN = {"connect": ("fcrdns", "rdns", "src"),
         "helo": ("fcrdns", "rdns", "src", "helo"),
         "ehlo": ("fcrdns", "rdns", "src", "helo")}
KNOWN["mail-from"] = KNOWN["ehlo"] + ("auth", "mail-from")
KNOWN["data"] = KNOWN["commit"] = KNOWN["mail-from"]
KNOWN["rcpt-to"] = KNOWN["mail-from"] + ("rcpt-to",)


def test_criteria_of_builtin_filters():
    """Each in every phase that it may be used in, and its opposite: builtin
    filters that report and go on show which of them match."""
    lines, wanted, names = [], set(), []
    for phase, known in KNOWN.items():
        for criterion, holds in CRITERIA.items():
            if criterion.split()[0] not in known:
                continue
            for negated in (False, True):
                name = "b%d" % len(names)
                names.append(name)
                # HELO is never said below.
                lines.append('filter %s phase %s match %s%s report "%s"' % (
                    name, phase, "!" if negated else "", criterion, name))
                if holds != negated and phase != "helo":
                    wanted.add((phase, ("!" if negated else "") + criterion))
    by_name = {name: (line.split()[3], line.split(" match ")[1].rsplit(
        " report ", 1)[0]) for name, line in zip(names, lines)}
    place = Place(RECORDER.replace("filter f", "filter r") % "" +
                  "\n".join(lines) + "\nfilter f chain { %s, r }\n" %
                  ", ".join(names))
    place.record.wait("link-disconnect")
    place.record.clear()
    place.send()
    place.record.wait("link-disconnect")
    got = {by_name[m.group(1)] for line in place.record.lines()
           for m in [re.search(r"\|filter-report\|\w+\|builtin\|(\w+)\|\1$",
                               line)] if m}
    expect_equal(sorted(got - wanted), [], "matches that should not be")
    expect_equal(sorted(wanted - got), [], "matches that are missing")


def test_criteria_after_auth():


    place = Secured()
    try:
        port = free_port()
        with open(place.server.conf) as f:
            text = f.read()
        text += """
filter a1 phase mail-from match auth report "authenticated"
filter a2 phase mail-from match !auth report "not authenticated"
filter a3 phase mail-from match auth { "joe" } report "joe"
filter a4 phase rcpt-to match auth regex { "^x" } report "x"
filter chained chain { a1, a2, a3, a4, f }
listen on 127.0.0.1 port %d hostname %s tls pki mine auth-optional <users> \
filter chained
""" % (port, HOST)
        place.server.stop()
        with open(place.server.conf, "w") as f:
            f.write(text)
        place.server.start()
        place.decide("noop", "proceed")
        session = place.smtp(port)
        session.expect("STARTTLS", "220")
        context = ssl.create_default_context(cafile=place.authority.cert)
        session.socket = context.wrap_socket(session.socket,
                                             server_hostname=HOST)
        session.file = session.socket.makefile("rb")
        session.expect("EHLO c2", "250")
        session.expect("AUTH PLAIN " + base64.b64encode(
            b"\0joe\0secret").decode(), "235")
        session.expect("MAIL FROM:<s@example.com>", "250")
        session.expect("RCPT TO:<ok@example.net>", "250")
        session.quit()
        place.record.wait("link-disconnect")
        got = [line.split("|")[-1] for line in place.record.lines()
               if "|filter-report|" in line]
        expect_equal(got, ["authenticated", "joe"], "reports")
    finally:
        shutil.rmtree(place.keys)


def test_decisions_of_builtin_filters():
    cases = []    # (listener's port, phase, decision)
    conf, listen = RECORDER % "", ""
    for phase in KNOWN:
        for decision, argument in (
                ("reject", "550 5.7.1 No %s" % phase),
                ("reject", "421 4.7.1 No %s" % phase),
                ("reject", "no code"), ("disconnect", "550 5.7.1 Away"),
                ("rewrite", "<new@example.net>" if phase in (
                    "mail-from", "rcpt-to") else "new.example"),
                ("junk", None), ("bypass", None), ("report", "seen")):
            if phase == "commit" and decision in ("junk", "bypass"):
                continue
            port, name = free_port(), "b%d" % len(cases)
            conf += "filter %s phase %s match src { 127.0.0.1 } %s%s\n" % (
                name, phase, decision, ' "%s"' % argument if argument else "")
            conf += "filter c%s chain { %s, f }\n" % (name, name)
            listen += "listen on 127.0.0.1 port %d hostname %s filter c%s\n" \
                % (port, HOST, name)
            cases.append((port, phase, decision, argument))
    place = Place(conf, listen=Place.LISTEN + listen)
    for port, phase, decision, argument in cases:
        place.record.clear()
        what = "%s at %s %s" % (decision, phase, argument or "")
        session = Smtp(port)
        reply = session.banner
        if phase != "connect":
            before, command, _ = WAY[phase]
            for line in before:
                session.expect(line, "354" if line == "DATA" else "250")
            reply = session.command(command)
        asked = place.record.count(r"< filter\|.*\|smtp-in\|%s\|" % phase)
        if decision in ("reject", "disconnect"):
            text = argument if argument[0].isdigit() else INTERNAL
            expect_equal(reply, text, what)
            ends = decision == "disconnect" or text[:3] == "421"
            if phase != "connect":
                expect_equal(closed_within(session, 20 if ends else 0.05),
                             ends, what + " closes")
            asked_wanted = 0
        else:
            good = "220" if phase == "connect" else WAY[phase][2]
            expect(reply.startswith(good), what, reply)
            # Where there is nothing to rewrite it is as if it were not there.
            goes_on = decision == "report" or decision == "rewrite" and \
                phase in ("connect", "data", "commit")
            asked_wanted = 1 if goes_on else 0
        expect_equal(asked, asked_wanted, what + ": the next filter is asked")
        if decision == "report":
            place.record.wait(r"\|filter-report\|\w+\|builtin\|b\d+\|seen$")
        if decision == "rewrite" and phase in ("helo", "ehlo"):
            expect("Hello new.example" in reply, what, reply)
        if decision == "rewrite" and phase in ("mail-from", "rcpt-to"):
            place.record.wait(r"\|%s\|rewrite\|<new@example.net>$" % phase)
        session.close()


# --- chains


def chain(*words):
    """Recorders one after the other, each with its own words and record."""
    text = ""
    for number, word in enumerate(words):
        text += 'filter f%d proc-exec "{filters}/recorder.py ' \
            '{folder}/record%d%s"\n' % (number, number, word)
    return text + "filter f chain { %s }\n" % ", ".join(
        "f%d" % number for number in range(len(words)))


def records(place, count):
    return [Record(place.folder, "record%d" % number)
            for number in range(count)]


def test_chain_of_texts():
    place = Place(chain(" 'text=header:X-One: yes'", " text=late",
                        " 'text=header:X-Three: yes'"))
    expect(place.send("me@box.example",
                      data=b"Subject: x\r\n\r\n.dot\r\n..two\r\n.\x80\xff\r\n")
           .startswith("250"), "accepted")
    letter, = place.letters()
    head, body = letter.split(b"\n\n", 1)
    names = [line.split(b":")[0] for line in head.split(b"\n")
             if not line[:1].isspace()]
    expect_equal([name for name in names if name in (
        b"X-One", b"X-Three", b"Received", b"Subject")],
        [b"X-Three", b"X-One", b"Received", b"Subject"], "headers")
    expect_equal(body, b".dot\n..two\n.\x80\xff\n", "body")
    second = records(place, 3)[1]
    there, _, _ = text_and_rest(second.wait(r"data-line.*\|\.$").lines())
    expect_equal(there[0], "X-One: yes", "the second hears the first")
    expect_equal(there[-4:], ["..dot", "...two", "..\x80\xff", "."],
                 "text is dot-stuffed")


def test_chain_of_decisions():
    place = Place(chain("", " 'mail-from=reject|550 5.7.1 By the second'",
                        " 'ehlo=report|from the third'"))
    first, second, third = records(place, 3)
    session = place.smtp()
    session.expect("MAIL FROM:<s@example.com>", "550 5.7.1 By the second")
    session.quit()
    for record in (first, second, third):
        record.wait(r"filter-response\|\w+\|mail-from\|reject\|550 5.7.1")
    asked = r"^< filter\|.*\|smtp-in\|mail-from\|"
    expect_equal([r.count(asked) for r in (first, second, third)], [1, 1, 0],
                 "who was asked")
    for record in (first, second, third):
        record.wait(r"filter-report\|\w+\|proc\|\w+\|from the third$")


def test_rewrite_and_junk_end_the_chain():
    place = Place(chain(" 'mail-from=rewrite|<new@example.com>' rcpt-to=junk",
                        ""))
    expect(place.send("me@box.example").startswith("250"), "accepted")
    letter, = place.letters(1, ".Junk/new")
    expect(b"X-Spam: Yes" in letter, "junk", letter)
    _, second = records(place, 2)
    second.wait("link-disconnect")
    for phase, count in (("mail-from", 0), ("rcpt-to", 0), ("data", 1)):
        expect_equal(second.count(r"^< filter\|.*\|smtp-in\|%s\|" % phase),
                     count, phase)
    expect(b"Return-Path: <new@example.com>" in letter, "sender", letter)


def test_a_chain_written_at_the_listener():
    place = Place(
        'filter one phase ehlo match helo { "bad" } reject "550 5.7.1 bad"\n' +
        RECORDER % "", listen=Place.LISTEN.replace(
            "filter f", "filter { one, f }"))
    session = Smtp(place.server.port)
    session.expect("EHLO bad", "550 5.7.1 bad")
    session.expect("EHLO good", "250")
    session.close()
    place.record.wait(r"< filter\|.*\|ehlo\|.*\|good$")
    expect_equal(place.record.count(r"< filter\|.*\|ehlo\|.*\|bad$"), 0,
                 "the second is not asked")


# --- texts


def test_a_filter_may_drop_all_text():
    place = Place(RECORDER % " text=drop")
    expect(place.send("me@box.example").startswith("250"), "accepted")
    place.letters()


def test_long_lines():
    place = Place(RECORDER % "")
    for size in (998, 2000, 60000):
        line = b"x" * size
        reply = place.send("me@box.example",
                           data=b"Subject: %d\r\n\r\n" % size + line + b"\r\n")
        if reply.startswith("250"):
            there, back, _ = text_and_rest(place.record.wait(
                r"data-line\|\w+\|\w+\|\.$").lines())
            expect(line.decode() in there, "a line of %d octets" % size)
        else:
            expect(reply.startswith("5"), "refused for good", reply)
        place.record.clear()


def test_bdat():
    """Text that comes in chunks; the commands are told as they are."""
    place = Place(RECORDER % "")
    session = place.smtp()
    for line in ("MAIL FROM:<s@example.com>", "RCPT TO:<me@box.example>"):
        session.expect(line, "250")
    session.send(b"BDAT 25\r\nSubject: chunks\r\n\r\n.one\r\n")
    expect(session.reply().startswith("250"), "first chunk")
    session.send(b"BDAT 13 LAST\r\n.two\r\n..three")
    reply = session.reply()
    expect(reply.startswith("250"), "last chunk", reply)
    session.quit()
    letter, = place.letters()
    expect(letter.endswith(b"\n\n.one\n.two\n..three\n"), "text", letter)
    there, back, _ = text_and_rest(place.record.wait("tx-commit").lines())
    expect_equal(there[-5:], ["", "..one", "..two", "...three", "."], "lines")
    expect_equal(back, there, "came back")
    asked = [line.split("|")[4] for line in place.record.lines()
             if line.startswith("< filter|") and "|data-line|" not in line]
    expect_equal([p for p in asked if p in ("data", "commit")],
                 ["data", "commit"], "asked")


def test_too_large_for_us():
    place = Place("smtp max-message-size 64K\n" + RECORDER % "")
    reply = place.send("me@box.example",
                       data=b"Subject: x\r\n\r\n" + b"x\r\n" * 40000)
    expect(reply.startswith("554 5.3.4"), "refused", reply)
    place.record.wait(r"< report.*\|tx-rollback\|")
    expect(place.send("me@box.example").startswith("250"), "and on")
    place.letters()
    place.server.check_clean()


def test_a_filter_makes_it_too_large():
    for flood in ("flood-text", "flood-header"):
        place = Place('smtp max-message-size 64K\nproc big '
                      '"{filters}/hostile.py {folder}/done %s data-line"\n'
                      'filter f proc big\n' % flood)
        session = place.smtp()
        reply = session.message("s@example.com", ["me@box.example"], LETTER)
        expect(reply[:1] in "45", "refused", flood, reply)
        expect_equal(place.server.queue(), [], "the queue")
        place.server.check_clean()
        place.server.stop()


class Watch(threading.Thread):
    """The most anonymous memory that each process of a server had."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server = server
        self.most = {}
        self.over = False
        self.start()

    def run(self):
        pids = self.server.pids()
        while not self.over:
            for pid, name in pids.items():
                try:
                    with open("/proc/%d/status" % pid) as f:
                        size = int(re.search(r"RssAnon:\s+(\d+)",
                                             f.read()).group(1))
                except (OSError, AttributeError):
                    continue
                key = (pid, name)
                self.most[key] = max(self.most.get(key, 0), size)
            time.sleep(0.01)

    def stop(self):
        self.over = True
        self.join()
        return self.most


def test_thirty_megabytes():
    """Through two filters, one of which keeps all of it: no room does."""
    place = Place('filter one proc-exec "{filters}/recorder /dev/null"\n'
                  'filter two proc-exec "{filters}/recorder.py /dev/null '
                  'text=late"\nfilter f chain { one, two }\n')
    body = b"%s\r\n" % (b"x" * 70) * (30 * 2 ** 20 // 72)
    small = b"Subject: small\r\n\r\n" + body[:720000]
    expect(place.send("me@box.example", data=small).startswith("250"), "small")
    place.letters(1)
    watch = Watch(place.server)
    time.sleep(0.2)
    before = dict(watch.most)
    expect(place.send("me@box.example", data=b"Subject: big\r\n\r\n" + body)
           .startswith("250"), "big")
    letters = place.letters(2)
    most = watch.stop()
    expect_equal(sorted(letter.count(b"x" * 70 + b"\n") for letter in letters),
                 [10000, 30 * 2 ** 20 // 72], "lines")
    for (pid, name), size in most.items():
        if name.startswith("smtpd"):
            grown = size - before.get((pid, name), 0)
            expect(grown < 12 * 1024, "%s grew by %d KiB" % (name, grown),
                   most)
    expect(any(name == "smtpd-filters" for _, name in most), "the room", most)


if __name__ == "__main__":
    sys.exit(run_tests([value for name, value in list(globals().items())
                        if name.startswith("test_")]))
