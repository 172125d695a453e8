#!/usr/bin/env python3
"""Milters from Debian as they are: OpenDKIM signs and verifies, ClamAV's
clamav-milter refuses what clamd knows."""
import re
import sys

sys.dont_write_bytecode = True
import dkim                                                    # noqa: E402
from filter_places import HOST, Place                          # noqa: E402
from holdfast import (expect, expect_equal, load, run_tests,   # noqa: E402
                      wait_for)
from milter_places import LETTER, place, sent                  # noqa: E402
from milters import ClamAv, OpenDkim                           # noqa: E402


def test_opendkim_signs():
    signer = OpenDkim("s", selector="sel")
    there = place(signer)
    for data in (LETTER, LETTER.replace(b"hi\r\n", b"line\r\n" * 50000),
                 b"Subject: folded\r\n\t one \r\nFrom: <s@example.com>\r\n\r\n",
                 b"From: s@example.com\r\nSubject: \xc3\xa9\r\n\r\n"
                 b"\xff\xfe ..\r\n\r\n\r\n"):
        if b"From:" not in data:
            data = b"From: s@example.com\r\n" + data
        got = there.send("ok@example.net", data=data, sender="s@example.com")
        expect(got.startswith("250"), "accepted", got,
               there.server.log_tail(), signer.said())
    wait_for(lambda: len(there.sink.messages) == 4, 20, "four messages")
    for _, _, text in there.sink.messages:
        expect(re.search(rb"(?m)^DKIM-Signature: .*d=example\.com;", text),
               "signed", text[:2000], signer.said())
        good, said = dkim.verify(text, signer.key)
        expect(good, "it verifies", said, text[:3000])
        good, _ = dkim.verify(text.replace(b"Subject: ", b"Subject: not ", 1),
                              signer.key)
        expect(not good, "what was changed does not")


def test_opendkim_signs_mail_of_sendmail():
    signer = OpenDkim("s")
    there = place(signer, listen=Place.LISTEN.replace(" filter f", "") +
                  "listen on socket filter f\n")
    there.server.sendmail("-f", "s@example.com", "ok@example.net",
                          data=b"From: s@example.com\nSubject: x\n\nhi\n")
    _, _, text = there.relayed()[0]
    good, said = dkim.verify(text, signer.key)
    expect(good, "it verifies", said, text[:3000], signer.said())


def test_opendkim_and_many_sessions_at_once():
    signer = OpenDkim("s")
    there = place(signer)
    stats = load(there.server.port, "--messages", "2000", "--connections",
                 "300", "--from", "s@example.com", "--domain", "box.example",
                 "--per-connection", "5")
    expect_equal((stats["acknowledged"], stats["temporary"]), (2000, 0),
                 "taken")
    expect("warn: filter f" not in there.server.log_text(), "no failure",
           there.server.log_tail())


def test_opendkim_verifies():
    signer = OpenDkim("s")
    there = place(signer)
    there.send("ok@example.net", data=b"From: s@example.com\r\n" + LETTER,
               sender="s@example.com")
    _, _, signed = there.relayed()[0]
    for name, text in (("pass", signed),
                       ("fail", signed.replace(b"\r\nhi", b"\r\nho"))):
        verifier = OpenDkim("v", key=signer.key)
        place_two = place(verifier)
        # Results that the sender made up are taken out, all of them.
        made_up = b"Authentication-Results: %s; dkim=made-up\r\n" % \
            HOST.encode()
        letter = sent(place_two, made_up * 2 +
                      b"Authentication-Results: other.example; dkim=pass\r\n" +
                      made_up + text)
        results = re.findall(rb"(?m)^Authentication-Results: (.*(?:\n\s.*)*)",
                             letter)
        expect(b"dkim=" + name.encode() in results[0], name, results,
               verifier.said())
        expect_equal(results[1:], [b"other.example; dkim=pass"], "the rest")


def test_clamav():
    scanner = ClamAv()
    there = place(scanner)
    letter = sent(there, b"Subject: clean\r\n\r\nhi\r\n")
    expect(b"X-Virus-Status: Clean" in letter, "scanned", letter,
           scanner.said())
    got = there.send("me@box.example", data=scanner.infected())
    expect(got.startswith("550") or got.startswith("554"), "refused", got,
           scanner.said())
    expect("infected" in got.lower() or "rejected" in got.lower(), "why", got)


if __name__ == "__main__":
    sys.exit(run_tests([value for name, value in list(globals().items())
                        if name.startswith("test_")]))
