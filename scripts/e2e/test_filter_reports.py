#!/usr/bin/env python3
"""What filters hear of sessions that go out, over TLS and with AUTH too, and
reports of ours on their way through the filter of the local socket: however
that ends, each comes once."""
import os
import re
import signal
import sys
import time

sys.dont_write_bytecode = True
from filter_places import (LETTER, RECORDER, Deciding, Place,  # noqa: E402
                           Secured)
from filter_streams import HOST                                # noqa: E402
from holdfast import (expect, expect_equal, run_tests,         # noqa: E402
                      wait_for)

LISTEN = """\
listen on 127.0.0.1 port {port} hostname %s
listen on socket filter f
""" % HOST
SENDER = "me@box.example"
REFUSED = "perm@example.net"


def fail(place):
    """A message that the next hop refuses: its sender is to hear of it."""
    expect(place.send(REFUSED, sender=SENDER).startswith("250"), "accepted")


def once(place):
    letters = place.letters()
    time.sleep(2)
    expect_equal(len(place.letters()), 1, "reports")
    expect(b"550 5.1.1 No such user" in letters[0], "what is told", letters)
    return letters[0].decode()


# --- reports


def test_a_report_passes_the_filter_of_the_socket():
    place = Place(RECORDER % " 'text=header:X-Mark: yes'", listen=LISTEN)
    place.record.wait(r"register\|ready")
    fail(place)
    letter = once(place)
    expect("\nX-Mark: yes\n" in letter, "the filter's line", letter)
    lines = place.record.session_with("smtp-in", r"\|mail-from\|")
    said = [re.sub(r"^. \w+\|[^|]*\|[^|]*\|smtp-in\|", "", line)
            for line in lines if line.startswith("< ")]
    expect(re.match(r"link-connect\|[0-9a-f]{16}\|[^|]+\|pass\|unix:[^|]*/"
                    r"smtpd.sock\|unix:", said[0]), "connects", said[0])
    wanted = ["connect", "filter-response", "protocol-server",
              "link-greeting", "protocol-client", "ehlo", "filter-response",
              "link-identify", "protocol-client", "mail-from",
              "filter-response", "tx-begin", "tx-mail", "protocol-client",
              "rcpt-to", "filter-response", "tx-envelope", "tx-rcpt",
              "protocol-client", "data", "filter-response", "tx-data",
              "data-line", "protocol-client", "commit", "filter-response",
              "tx-commit", "tx-reset", "protocol-client", "quit",
              "link-disconnect"]
    for line in said:
        if wanted and line.split("|")[0] == wanted[0]:
            wanted.pop(0)
    expect_equal(wanted, [], "in this order")
    expect(any(re.match(r"tx-rcpt\|.*\|ok\|" + SENDER + "$", line)
               for line in said), "recipient", said)


def refused_for_now(phase, decision):
    place = Deciding(listen=LISTEN)
    place.record.wait(r"register\|ready")
    place.decide(phase, decision)
    fail(place)
    place.log(r"warn: TempFail injecting failure report on message "
              r"[0-9a-f]{8} to <me@box.example> for 1 envelope: 55\d ")
    expect(not os.path.isdir(place.maildir + "/new") or
           not os.listdir(place.maildir + "/new"), "nothing yet")
    place.decide(phase, "proceed")
    once(place)


def test_a_report_that_is_refused_at_its_end_comes_later():
    refused_for_now("commit", "reject|550 5.7.1 Not this one")


def test_a_report_whose_recipient_is_refused_comes_later():
    refused_for_now("rcpt-to", "disconnect|554 5.7.1 Nobody")


def test_the_filter_dies_with_a_report():
    place = Place(RECORDER % " text=late pid={folder}/pid", listen=LISTEN)
    place.record.wait(r"register\|ready")
    with open(place.folder + "/pid") as f:
        pid = int(f.read().split()[0])
    os.kill(pid, signal.SIGSTOP)
    fail(place)
    time.sleep(3)
    os.kill(pid, signal.SIGKILL)
    place.log(r"warn: lost processor: recorder ")
    once(place)


def test_queue_and_filters_die_with_a_report():
    place = Place(RECORDER % " pid={folder}/pid", listen=LISTEN)
    place.record.wait(r"register\|ready")
    with open(place.folder + "/pid") as f:
        pid = int(f.read().split()[0])
    os.kill(pid, signal.SIGSTOP)
    fail(place)
    time.sleep(3)
    for room in ("smtpd-queue", "smtpd-filters"):
        for one in place.server.room_pids(room):
            os.kill(one, signal.SIGKILL)
    once(place)


# --- sessions that go out

AUTH = """\
table secrets {{ lab = "joe:secret" }}
action "out" relay host "%s://lab@127.0.0.1:%d" auth <secrets> \\
    tls no-verify filter f
match from any for any action "out"
"""


def outgoing(protocol):
    there = Secured()
    there.record.wait(r"register\|ready")
    place = Place(RECORDER % "", listen=LISTEN.replace(" filter f", ""),
                  rules=(AUTH % (protocol, there.server.port))
                  .replace("{{", "{").replace("}}", "}"))
    place.record.wait(r"register\|ready")
    expect(place.send("me@box.example").startswith("250"), "accepted")
    there.letters()
    lines = place.record.wait(r"smtp-out\|tx-commit").session_with(
        "smtp-out", r"\|tx-begin\|")
    return [re.sub(r"^< report\|[^|]*\|[^|]*\|smtp-out\|([^|]*)\|[^|]*",
                   r"\1", line) for line in lines]


def test_tls_and_auth_of_sessions_that_go_out():
    said = outgoing("smtp+tls")
    at = [said.index("protocol-client|STARTTLS"),
          next(i for i, line in enumerate(said)
               if re.match(r"link-tls\|TLSv1\.[23]:[A-Z0-9_]+:\d+$", line)),
          said.index("protocol-client|AUTH PLAIN ********"),
          said.index("link-auth|pass|joe"),
          next(i for i, line in enumerate(said)
               if line.startswith("protocol-client|MAIL"))]
    expect_equal(at, sorted(at), "order")
    expect_equal(len([line for line in said
                      if line.startswith("link-identify|EHLO|")]), 2, "EHLOs")
    expect(not any("am9l" in line or "secret" in line for line in said),
           "secrets", said)


def test_a_relay_without_filter_reports_nothing():
    place = Place(RECORDER % "", rules='action "out" relay host '
                  '"smtp+notls://127.0.0.1:{sink}"\n'
                  'action "watched" relay host '
                  '"smtp+notls://127.0.0.1:{sink}" filter f\n'
                  'match from any for domain "watched.example" '
                  'action "watched"\nmatch from any for any action "out"\n')
    place.record.wait(r"register\|ready")
    place.send("ok@example.net", data=LETTER)
    place.relayed(1)
    place.send("ok@watched.example", data=LETTER)
    place.relayed(2)
    place.record.wait(r"smtp-out\|tx-commit")
    expect(not any("ok@example.net" in line for line in place.record.lines()
                   if "|smtp-out|" in line), "the other's", "")
    wait_for(lambda: place.record.count(r"smtp-out\|link-connect") == 1, 5,
             "one session")


if __name__ == "__main__":
    sys.exit(run_tests([value for name, value in list(globals().items())
                        if name.startswith("test_")]))
