#!/usr/bin/env python3
"""Filters of our own, in Python, the shell and C: the
order of what they hear against a golden conversation, every decision in every
phase, and what comes with STARTTLS and AUTH."""
import base64
import os
import re
import shutil
import sys

sys.dont_write_bytecode = True
from filter_places import (INTERNAL, LETTER, RECORDER, WAY,    # noqa: E402
                           Deciding, Place, Secured, closed,
                           closed_within)
from filter_streams import (FILTERS, HOST, normal,             # noqa: E402
                            text_and_rest, without_keywords)
from holdfast import (FULL, Failure, Skip, Smtp, expect,       # noqa: E402
                      expect_equal, run_tests)

OUT = """\
action "out" relay host "smtp+notls://127.0.0.1:{sink}" helo "%s" filter f
match from any for any action "out"
""" % HOST


def golden(name):
    with open(os.path.join(FILTERS, "golden_%s.txt" % name)) as f:
        return f.read().splitlines()


def compare(got, wanted, what):
    if got != wanted:
        at = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b),
                  min(len(got), len(wanted)))
        raise Failure("%s, line %d\n      wanted: %s\n      got:    %s" % (
            what, at + 1, "\n              ".join(wanted[at:at + 4]),
            "\n              ".join(got[at:at + 4])))


# --- the golden conversation


def conversation(program):
    place = Place('proc recorder "{filters}/%s {record}"\n'
                  'filter f proc recorder\n' % program, rules=OUT)
    place.record.wait(r"register\|ready")
    place.record.wait("link-disconnect")    # of wait_ready()
    place.record.clear()
    session = Smtp(place.server.port)
    session.expect("EHLO c2", "250")
    reply = session.message("sender@example.com", [
        "ok@example.net", "temp@example.net", "perm@example.net"], LETTER)
    expect(reply.startswith("250"), "accepted", reply)
    session.quit()
    place.record.wait(r"smtp-in\|link-disconnect").wait(
        r"smtp-out\|tx-reset")
    return place


def streams_are_golden(place):
    lines = place.record.session_with("smtp-in", r"\|EHLO c2$")
    there, back, rest = text_and_rest(without_keywords(normal(lines)))
    compare(rest, golden("in"), "smtp-in")
    expect_equal(back, there, "text that went back")
    expect_equal(there[3:], ["Subject: test", "", "hi", "."], "text")
    expect(re.match(r"Received: from c2 \(localhost \[127.0.0.1\]\)$",
                    there[0]) and there[1].startswith("\tby HOST "),
           "Received first", there)
    # The text lies between the 354 and the dot, but for the first lines.
    plain = [re.sub(r"^(.) \w+\|[^|]*\|[^|]*\|", r"\1 ", line)
             for line in lines]
    dot = next(i for i, line in enumerate(plain)
               if "protocol-client" in line and line.endswith("|."))
    begin = next(i for i, line in enumerate(plain) if "tx-begin" in line)
    for i, line in enumerate(plain):
        if "data-line" in line:
            expect(begin < i < dot, "text between MAIL and the dot", line)
    lines = place.record.session_with("smtp-out", r"\|tx-begin\|")
    out = without_keywords(normal(lines))
    wanted = golden("out")
    compare(out[:len(wanted)], wanted, "smtp-out")


def test_golden_conversation_python():
    streams_are_golden(conversation("recorder.py"))


def test_golden_conversation_shell():
    streams_are_golden(conversation("recorder.sh"))


def test_golden_conversation_c():
    streams_are_golden(conversation("recorder"))


def test_handshake():
    place = Place(RECORDER % "", rules=OUT)
    place.record.wait(r"register\|ready")
    lines = [line for line in place.record.lines()
             if line.startswith("< config|")]
    expect_equal(lines[:3] + lines[-1:], [
        "< config|smtpd-version|7.8.0-portable", "< config|protocol|0.7",
        "< config|smtp-session-timeout|300", "< config|ready"], "handshake")
    for line in ("subsystem|smtp-in", "subsystem|smtp-out"):
        expect("< config|" + line in lines, line, lines)
    expect(any(re.match(r"< config\|admd\|\S+", line) for line in lines),
           "admd", lines)


def test_protocol_0_6_and_admd():
    place = Place('admd "auth.example"\n' +
                  (RECORDER % "").replace('"\n', '" protocol "0.6"\n', 1))
    place.send("me@box.example")
    lines = place.record.wait(r"< report.*tx-reset").lines()
    expect("< config|protocol|0.6" in lines, "version", lines[:8])
    expect("< config|admd|auth.example" in lines, "admd", lines[:8])
    expect("< config|subsystem|smtp-out" not in lines, "no relay", lines[:8])
    versions = {line.split("|")[1] for line in lines
                if re.match(r"< (report|filter)\|", line)}
    expect_equal(versions, {"0.6"}, "in every line")


# --- what is registered is what comes


def test_only_what_is_registered():
    """dkimsign ends when it hears of what it did not ask for."""
    place = Place(RECORDER % " events=tx-begin,tx-rollback,tx-commit "
                  "only=data-line,commit")
    place.send("me@box.example")
    place.record.wait(r"^< report\|.*\|tx-commit\|")
    session = place.smtp()
    session.expect("MAIL FROM:<s@example.com>", "250")
    session.expect("RSET", "250")
    session.quit()
    place.record.wait(r"^< report\|.*\|tx-rollback\|")
    seen = {line.split("|")[4] for line in place.record.lines()
            if re.match(r"< (report|filter)\|", line)}
    expect_equal(seen, {"tx-begin", "tx-rollback", "tx-commit", "data-line",
                        "commit"}, "events and phases")


def test_no_field_too_many():
    """rspamd's filter counts the fields and ends if they are not right."""
    place = Place(RECORDER % "")
    place.send("me@box.example")
    place.record.wait("link-disconnect", 2)
    counts = {"link-connect": 4, "link-disconnect": 0, "link-greeting": 1,
              "link-identify": 2, "tx-reset": 1, "tx-begin": 1, "tx-mail": 3,
              "tx-rcpt": 3, "tx-envelope": 2, "tx-data": 2, "tx-commit": 2}
    seen = set()
    for line in place.record.lines():
        fields = line[2:].split("|")
        if fields[0] == "report" and fields[4] in counts:
            expect_equal(len(fields) - 6, counts[fields[4]], line)
            seen.add(fields[4])
    expect_equal(seen, set(counts), "events")


# --- every decision in every phase


def ask(place, phase, decision):
    """(the session, the reply to the phase's command)."""
    place.decide(phase, decision)
    session = Smtp(place.server.port)
    before, command, _ = WAY[phase]
    for line in before:
        session.expect(line, "354" if line == "DATA" else "250")
    return session, session.command(command)


def decided(place, phase, text):
    """The filter heard its own answer."""
    place.record.wait(r"filter-response\|[0-9a-f]*\|%s\|%s$" % (
        phase, re.escape(text)))


def test_reject_in_every_phase():
    place = Deciding()
    for phase in WAY:
        for text in ("550 5.7.1 Not with us", "451 4.7.1 Not now"):
            session, reply = ask(place, phase, "reject|" + text)
            expect_equal(reply, text, phase)
            decided(place, phase, "reject|" + text)
            expect(session.command("FOO").startswith("500"),
                   "open after reject at " + phase)
            session.close()
    place.server.check_clean()
    expect_equal(place.server.queue(), [], "nothing was taken")


def test_disconnect_in_every_phase():
    place = Deciding()
    for phase in WAY:
        for decision, text in (
                ("disconnect|550 5.7.1 Away", "550 5.7.1 Away"),
                ("disconnect|421 4.7.1 Later", "421 4.7.1 Later"),
                ("reject|421 4.7.1 Later", "421 4.7.1 Later"),
                ("reject|no code", INTERNAL), ("reject|250 Fine", INTERNAL),
                ("reject|", INTERNAL), ("disconnect|55", INTERNAL)):
            session, reply = ask(place, phase, decision)
            expect_equal(reply, text, "%s: %s" % (phase, decision))
            expect(closed(session), "%s: %s closes" % (phase, decision))
            decided(place, phase, "disconnect|" + text)
    expect_equal(place.server.queue(), [], "nothing was taken")


def test_report_in_every_phase():
    place = Deciding()
    for phase in WAY:
        session, reply = ask(place, phase, "report|seen it | twice")
        expect(reply.startswith(WAY[phase][2]), phase, reply)
        place.record.wait(r"smtp-in\|filter-report\|[0-9a-f]{16}\|proc\|"
                          r"\w+\|seen it \| twice$")
        session.close()


def test_at_connect():
    place = Deciding()
    place.decide("connect", "reject|554 5.7.1 No service")
    session = Smtp(place.server.port)
    expect_equal(session.banner, "554 5.7.1 No service", "banner")
    expect(not closed_within(session, 0.5), "stays open")
    decided(place, "connected", "reject|554 5.7.1 No service")
    lines = place.record.session_with("smtp-in", r"\|connected\|reject")
    expect(not any("|link-greeting|" in line for line in lines), "no greeting",
           lines)
    session.close()
    for decision, text in (("disconnect|554 5.7.1 No", "554 5.7.1 No"),
                           ("reject|421 4.7.1 No", "421 4.7.1 No"),
                           ("reject|no", INTERNAL)):
        place.decide("connect", decision)
        session = Smtp(place.server.port)
        expect_equal(session.banner, text, decision)
        expect(closed(session), decision + " closes")
    place.decide("connect", "report|hello")
    expect(Smtp(place.server.port).banner.startswith("220"), "report")
    place.record.wait(r"\|filter-report\|[0-9a-f]{16}\|proc\|\w+\|hello$")


def test_rewrite():
    place = Deciding(rules=Place.RULES)
    for phase, hello in (("helo", "HELO c2"), ("ehlo", "EHLO c2")):
        session, reply = ask(place, phase, "rewrite|other.example")
        expect("Hello other.example" in reply, phase, reply)
        place.record.wait(r"\|link-identify\|\w+\|%s\|other.example$" %
                          hello[:4])
        session.close()
    session, reply = ask(place, "mail-from", "rewrite|<new@example.org>")
    expect(reply.startswith("250"), "mail-from", reply)
    # As the client wrote it.
    place.record.wait(r"\|tx-mail\|\w+\|\w+\|ok\|sender@example.com$")
    place.decide("rcpt-to", "rewrite|<else@example.net>")
    session.expect("RCPT TO:<ok@example.net>", "250")
    place.record.wait(r"\|tx-rcpt\|\w+\|\w+\|ok\|ok@example.net$")
    session.expect("DATA", "354")
    session.expect("Subject: x\r\n\r\nx\r\n.", "250")
    session.quit()
    sender, recipients, _ = place.relayed()[0]
    expect_equal((sender, recipients), ("new@example.org",
                                        ["else@example.net"]), "envelope")
    for phase, code in (("mail-from", "553 5.1.0"), ("rcpt-to", "501 5.1.3")):
        session, reply = ask(place, phase, "rewrite|no-brackets")
        expect(reply.startswith(code), phase, reply)
        session.close()
    # Where there is nothing to rewrite it's `proceed`.
    for phase in ("data", "commit", "rset", "noop", "quit"):
        session, reply = ask(place, phase, "rewrite|whatever")
        expect(reply.startswith(WAY[phase][2]), phase, reply)
        session.close()


def test_junk():
    """At connect and before MAIL it marks the session, later the message."""
    place = Deciding()
    for number, phase in enumerate(("connect", "ehlo", "mail-from", "rcpt-to",
                                    "data")):
        place.decide(phase, "junk")
        expect(place.send("me@box.example").startswith("250"), phase)
        letters = place.letters(number + 1, ".Junk/new")
        decided(place, "connected" if phase == "connect" else phase, "junk")
        expect(all(b"X-Spam: Yes\nReceived: " in letter
                   for letter in letters), "first header", letters)
    place.decide("noop", "proceed")
    place.send("me@box.example")
    letter, = place.letters(1)
    expect(b"X-Spam" not in letter, "not marked", letter)
    # One message of a session, not the next.
    place.decide("data", "junk")
    session = place.smtp()
    session.message("s@example.com", ["me@box.example"], LETTER)
    place.decide("data", "proceed")
    session.message("s@example.com", ["me@box.example"], LETTER)
    session.quit()
    place.letters(2)
    place.letters(6, ".Junk/new")


def test_junk_is_seen_by_filters():
    place = Deciding()
    place.decide("mail-from", "junk")
    place.send("me@box.example")
    place.record.wait(r"\|data-line\|\w+\|\w+\|\.$")
    there, _, _ = text_and_rest(place.record.lines())
    expect_equal(there[0], "X-Spam: Yes", "first line")
    expect(there[1].startswith("Received: "), "second line", there)


def test_session_timeout():
    if not FULL:
        raise Skip("takes five minutes: --full")
    place = Place(RECORDER % "")
    session = place.smtp()
    session.socket.settimeout(330)
    expect(session.reply().startswith("421"), "told so")
    place.record.wait(r"\|timeout\|[0-9a-f]{16}$")
    lines = place.record.session_with("smtp-in", r"\|timeout\|")
    expect(lines[-1].split("|")[4] == "link-disconnect", "last", lines[-3:])


# --- STARTTLS and AUTH






def test_starttls_and_auth():

    place = Secured()
    try:
        place.decide("noop", "proceed")
        good = base64.b64encode(b"\0joe\0secret").decode()
        session = place.tls()
        place.record.wait(r"filter\|.*\|smtp-in\|starttls\|\w+\|\w+\|$")
        decided(place, "tls", "proceed")
        place.record.wait(r"report\|.*\|link-tls\|\w+\|TLSv1.3:\w+:\d+$")
        session.expect("AUTH PLAIN " + good, "235")
        place.record.wait(r"filter\|.*\|auth\|\w+\|\w+\|PLAIN %s$" %
                          re.escape(good))
        place.record.wait(r"report\|.*\|protocol-client\|\w+\|"
                          r"AUTH PLAIN \*{8}$")
        place.record.wait(r"report\|.*\|link-auth\|\w+\|pass\|joe$")
        session.close()
        place.decide("noop", "proceed")
        session = place.tls()
        session.expect("AUTH LOGIN", "334")
        session.expect(base64.b64encode(b"joe").decode(), "334")
        session.expect(base64.b64encode(b"wrong").decode(), "535")
        place.record.wait(r"report\|.*\|link-auth\|\w+\|fail\|joe$")
        place.record.wait(r"report\|.*\|protocol-client\|\w+\|\*{8}$", 2)
        for line in place.record.lines():
            for secret in (b"joe", b"wrong"):
                expect(base64.b64encode(secret).decode() not in line,
                       "no secrets in reports", line)
        session.close()
        place.decide("starttls", "reject|454 4.7.0 No TLS today")
        session = place.smtp()
        expect_equal(session.command("STARTTLS"), "454 4.7.0 No TLS today",
                     "starttls")
        session.expect("NOOP", "250")
        session.close()
        place.decide("auth", "reject|535 5.7.8 Not today")
        session = place.tls()
        expect_equal(session.command("AUTH PLAIN " + good),
                     "535 5.7.8 Not today", "auth")
        session.expect("NOOP", "250")
        session.close()
        place.decide("auth", "disconnect|421 4.7.0 Go")
        session = place.tls()
        expect_equal(session.command("AUTH PLAIN " + good), "421 4.7.0 Go",
                     "auth")
        expect(closed(session), "closed")
        expect("secret" not in place.server.log_text() and
               good not in place.server.log_text(), "no secrets in the log")
    finally:
        shutil.rmtree(place.keys)


if __name__ == "__main__":
    sys.exit(run_tests([value for name, value in list(globals().items())
                        if name.startswith("test_")]))
