#!/usr/bin/env python3
"""What filters hear of sessions in which we are the client: TLS, secrets that
they must not see, LMTP, hops that are not there; and that nobody waits for
them."""
import base64
import os
import re
import shutil
import sys
import tempfile

sys.dont_write_bytecode = True
from certificates import Authority                             # noqa: E402
from filter_places import LETTER, Place                        # noqa: E402
from filter_streams import HOST                                # noqa: E402
from holdfast import (expect, expect_equal, free_port,         # noqa: E402
                      run_tests, wait_for)
from mail_server import MailServer                             # noqa: E402

RECORDER = 'proc recorder "{filters}/recorder.py {record}"\n' \
           'filter f proc recorder\n'
LISTEN = Place.LISTEN.replace(" filter f", "")


def relaying(url, options="", more="", filters=RECORDER):
    return Place(filters + more, listen=LISTEN, rules="""\
action "out" relay host "%s" %s helo "%s" filter f
match from any for any action "out"
""" % (url, options, HOST))


def events(lines):
    return [line.split("|")[4] for line in lines]


def until_done(place):
    """Mail until the hostile filter has been hostile; how much.  Sessions
    that begin before a filter is ready are not told to it."""
    path = os.path.join(place.folder, "done")
    wait_for(lambda: os.path.exists(path + ".ready"), 20, "a filter")
    sent = []

    def done():
        sent.append(place.send("a@host%d.example" % len(sent), data=LETTER))
        return os.path.exists(path)
    wait_for(done, 60, "the filter is hostile")
    return len(sent)


def test_the_listener_is_not_heard():
    """Only what the action's filter is about; and no subsystem in vain."""
    place = relaying("smtp+notls://127.0.0.1:{sink}")
    place.record.wait(r"register\|ready")
    place.send("a@example.net")
    place.relayed()
    place.record.wait("smtp-out.*tx-reset")
    expect_equal(place.record.sessions("smtp-in"), [], "smtp-in")
    expect("< config|subsystem|smtp-out" in place.record.lines(), "subsystem")


def test_tls_and_secrets():
    folder = tempfile.mkdtemp(prefix="holdfast-out.")
    try:
        authority = Authority(folder)
        password = "very secret"
        for mechanism in ("PLAIN", "LOGIN"):
            hop = MailServer(authority.issue("localhost"), auth={
                "joe": password}, offers=mechanism)
            place = relaying(
                "smtp+tls://lab@localhost:%d" % hop.port, "ca mine auth <secrets>",
                'ca mine cert "%s"\ntable secrets { lab = "joe:%s" }\n' % (
                    authority.cert, password))
            place.record.wait(r"register\|ready")
            place.send("a@example.net")
            wait_for(hop.messages, 20, "the message\n" +
                     place.server.log_tail())
            lines = place.record.wait("smtp-out.*tx-commit").session_with(
                "smtp-out", r"\|tx-commit\|")
            expect(any(re.search(r"\|link-tls\|\w+\|TLSv1\.\d:\w[\w-]*:\d+$",
                                 line) for line in lines), "link-tls", lines)
            commands = [line.split("|")[6] for line in lines
                        if "|protocol-client|" in line]
            expect_equal(commands[:3], ["EHLO " + HOST, "STARTTLS",
                                        "EHLO " + HOST], "commands")
            expect(any(re.match(r"AUTH %s\b" % mechanism, one)
                       for one in commands), "AUTH", commands)
            text = "\n".join(lines)
            for secret in (password, base64.b64encode(
                    password.encode()).decode(), base64.b64encode(
                    ("\0joe\0" + password).encode()).decode()):
                expect(secret not in text, mechanism + ": masked", text)
            place.server.stop()
            hop.close()
    finally:
        shutil.rmtree(folder)


def test_lmtp():
    place = relaying("lmtp://127.0.0.1:{sink}")
    place.record.wait(r"register\|ready")
    place.send("a@example.net")
    place.relayed()
    lines = place.record.wait("smtp-out.*tx-commit").session_with(
        "smtp-out", r"\|tx-commit\|")
    expect(any(line.endswith("|LHLO|" + HOST) for line in lines), "LHLO",
           lines)


def test_nobody_there():
    place = relaying("smtp+notls://127.0.0.1:%d" % free_port())
    place.record.wait(r"register\|ready")
    place.send("a@example.net")
    place.log("mta error reason=.*Connection refused")
    seen = [events(place.record.of(session))
            for session in place.record.sessions("smtp-out")]
    expect(all(one in ([], ["link-connect", "link-disconnect"],
                       ["link-disconnect"]) for one in seen), "events", seen)


def test_a_deaf_filter_holds_up_nobody():
    place = relaying("smtp+notls://127.0.0.1:{sink}", filters="""\
proc bad "{filters}/hostile.py {folder}/done deaf link-connect" timeout 1h
filter f proc bad
""")
    sent = until_done(place)
    session = place.smtp()
    for number in range(200):
        session.message("s@example.com", ["a%d@example.net" % number],
                        b"Subject: %d\r\n\r\n" % number)
        if number % 50 == 49:
            session.quit()
            session = place.smtp()
    place.relayed(sent + 200)
    place.server.wait_empty()


def test_its_process_dies():
    place = relaying("smtp+notls://127.0.0.1:{sink}", filters="""\
proc bad "{filters}/hostile.py {folder}/done exit tx-mail"
filter f proc bad
""")
    place.relayed(until_done(place))
    place.log("lost processor: bad")
    place.server.wait_empty()


if __name__ == "__main__":
    sys.exit(run_tests([value for name, value in list(globals().items())
                        if name.startswith("test_")]))
