#!/usr/bin/env python3
"""Debian's filters for OpenSMTPD as they are: filter-dkimsign signs, and
OpenDKIM verifies what arrives at the next hop; filter-rspamd asks a running
rspamd, which adds headers, refuses GTUBE and marks junk for the junk folder."""
import atexit
import os
import re
import shutil
import sys
import tempfile

sys.dont_write_bytecode = True
import dkim                                                    # noqa: E402
from filter_places import Place                                # noqa: E402
from holdfast import (expect, expect_equal, peer,              # noqa: E402
                      programs, run_tests)
from rspamd import GTUBE, Rspamd                               # noqa: E402

DKIMSIGN = "opensmtpd-filter-dkimsign", \
    "usr/libexec/opensmtpd/filter-dkimsign"
RSPAMD = "opensmtpd-filter-rspamd", "usr/libexec/opensmtpd/filter-rspamd"
HEAD = b"Date: Mon, 02 Mar 2026 10:00:00 +0000\r\nFrom: s@example.com\r\n" \
       b"Message-ID: <1@example.com>\r\nTo: ok@example.net\r\n"
LETTERS = {
    "plain": HEAD + b"Subject: test\r\n\r\nhi\r\n",
    "no body": HEAD + b"Subject: test\r\n\r\n",
    "blank lines at the end": HEAD + b"Subject: test\r\n\r\nhi\r\n\r\n\r\n",
    "dots": HEAD + b"Subject: test\r\n\r\n.\r\n..\r\n.one\r\n...\r\nend.\r\n",
    "eight bits": HEAD + b"Subject: \xc3\xa9\r\n\r\n\xff\xfe|\x80||\r\n",
    "folded": HEAD + b"Subject: one\r\n\ttwo\r\n   three \r\n\r\n \t \r\nx \r"
              b"\n",
    "bars": HEAD + b"Subject: |a|b|\r\n\r\n|\r\n||\r\n|x|\r\n",
    "long": HEAD + b"Subject: long\r\n\r\n" + b"0123456789abcdef" * 60 +
            b"\r\n" + b"line after line\r\n" * 100000,
}


def shared():
    """A folder that every user can read."""
    folder = tempfile.mkdtemp(prefix="holdfast-real.")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.chmod(folder, 0o755)
    return folder


def real(which):
    """The program, where every user can run it."""
    folder = shared()
    path = os.path.join(folder, os.path.basename(which[1]))
    shutil.copy2(peer(*which), path)
    return path


def header(message, name):
    head = re.sub(rb"\r?\n[ \t]+", b" ", message.split(b"\r\n\r\n", 1)[0])
    return [line.split(b":", 1)[1].strip() for line in head.splitlines()
            if line.split(b":", 1)[0].lower() == name.lower()]


def holds(message, *keys):
    good, said = dkim.verify(message, *keys)
    expect(good, "the signature verifies", said, message[:3000])


def signing(options="", more=""):
    """(place, key) with filter-dkimsign on the listener and the socket."""
    program = real(DKIMSIGN)
    key = dkim.Key(os.path.dirname(program))
    return Place('filter f proc-exec "%s -d example.com -s sel -k %s%s" '
                 'user nobody group nogroup\nlisten on socket filter f\n%s' % (
                     program, key.path, options, more)), key


# --- filter-dkimsign


def test_dkimsign_signs():
    place, key = signing()
    for number, (name, letter) in enumerate(LETTERS.items()):
        reply = place.send(data=letter)
        expect(reply.startswith("250"), name, reply, place.server.log_tail())
        _, _, text = place.relayed(number + 1)[number]
        signature = header(text, b"DKIM-Signature")
        expect_equal(len(signature), 1, name + ": signatures")
        expect(b"d=example.com" in signature[0] and
               b"a=rsa-sha256" in signature[0], name, signature)
        expect(text.startswith(b"DKIM-Signature:") or
               text.startswith(b"Received:"), name, text[:300])
        holds(text, key)
        good, _ = dkim.verify(text.replace(b"Subject: ", b"Subject: not ", 1),
                              key)
        expect(not good, name + ": what was changed does not verify")


def test_dkimsign_relaxed_with_time():
    place, key = signing(" -c relaxed/relaxed -t -x 3600 -z")
    place.send(data=LETTERS["folded"])
    _, _, text = place.relayed()[0]
    signature = header(text, b"DKIM-Signature")[0]
    for word in (b"c=relaxed/relaxed", b"t=", b"x=", b"z="):
        expect(word in signature, "in the signature", word, signature)
    holds(text, key)


def test_dkimsign_of_sendmail():
    """What people sign: their own mail, from the local socket."""
    place, key = signing()
    place.server.sendmail("-f", "s@example.com", "ok@example.net",
                          data=LETTERS["plain"].replace(b"\r\n", b"\n"))
    _, _, text = place.relayed()[0]
    holds(text, key)


def test_dkimsign_many_messages_in_a_session_and_many_sessions():
    place, key = signing()
    sessions = [place.smtp() for _ in range(8)]
    for number in range(5):
        for which, session in enumerate(sessions):
            session.expect("MAIL FROM:<s@example.com>", "250")
            if number == 2:
                session.expect("RSET", "250")
                continue
            session.expect("RCPT TO:<ok@example.net>", "250")
            session.expect("DATA", "354")
            session.send(HEAD + b"Subject: %d of %d\r\n\r\n" % (number, which))
        if number == 2:
            continue
        for which, session in enumerate(sessions):
            session.send(b"text %d %d\r\n.\r\n" % (number, which))
        for session in sessions:
            reply = session.reply()
            expect(reply.startswith("250"), "accepted", reply)
    for session in sessions:
        session.quit()
    texts = [text for _, _, text in place.relayed(32)]
    subjects = sorted(header(text, b"Subject")[0] for text in texts)
    expect_equal(subjects, sorted(b"%d of %d" % (n, s) for n in (0, 1, 3, 4)
                                  for s in range(8)), "messages")
    for text in texts[::5]:
        holds(text, key)


def test_dkimsign_two_keys():
    """The chain of Debian's README: an RSA and an Ed25519 signature."""
    program = real(DKIMSIGN)
    folder = os.path.dirname(program)
    rsa = dkim.Key(folder)
    ed = dkim.Key(folder, selector="ed", algorithm="ed25519")
    place = Place("""\
filter dkimsign_rsa proc-exec "%s -d example.com -s sel -k %s" \\
	user nobody group nogroup
filter dkimsign_ed25519 proc-exec "%s -a ed25519-sha256 -d example.com \\
	-s ed -k %s" user nobody group nogroup
filter f chain { dkimsign_rsa, dkimsign_ed25519 }
""" % (program, rsa.path, program, ed.path))
    place.send(data=LETTERS["plain"])
    _, _, text = place.relayed()[0]
    signatures = header(text, b"DKIM-Signature")
    expect_equal(sorted(re.search(rb"a=([^;]*)", one).group(1)
                        for one in signatures),
                 [b"ed25519-sha256", b"rsa-sha256"], "algorithms")
    holds(text, rsa, ed)


def test_dkimsign_by_its_name():
    """A name without a slash is looked for beside our own programs."""
    libexec = os.path.join(programs(), "ctl")
    program = shutil.copy2(peer(*DKIMSIGN), libexec)
    try:
        key = dkim.Key(shared())
        place = Place('filter "dkimsign" proc-exec "filter-dkimsign '
                      '-d example.com -s sel \\\n\t-k %s" user nobody '
                      'group nogroup\nfilter f chain { dkimsign }\n' % key.path)
        place.send(data=LETTERS["plain"])
        _, _, text = place.relayed()[0]
        holds(text, key)
    finally:
        os.unlink(program)


def test_dkimsign_without_its_key():
    """It ends at once; mail is refused for now, and the log says why."""
    program = real(DKIMSIGN)
    place = Place('filter f proc-exec "%s -d example.com -s sel -k /none" '
                  'user nobody group nogroup\n' % program, start=False)
    place.server.start(wait=0)
    place.log("lost processor: f exited abnormally")
    place.log("f: .*(/none|[Cc]an't|No such)")


# --- filter-rspamd


def checking(more=""):
    checker = Rspamd()
    place = Place('filter rspamd proc-exec "%s -url %s"%s\n'
                  'filter f chain { rspamd }\nlisten on socket filter f\n' % (
                      real(RSPAMD), checker.url, more))
    return place, checker


def test_rspamd():
    place, checker = checking()
    reply = place.send("me@box.example", data=LETTERS["plain"])
    expect(reply.startswith("250"), "clean", reply, place.server.log_tail())
    letter, = place.letters()
    expect(b"X-Spam" not in letter, "not marked", letter)

    reply = place.send("me@box.example", data=LETTERS["plain"].replace(
        b"Subject: test", b"Subject: cheap pills"))
    expect(reply.startswith("250"), "marked", reply)
    letter, = place.letters(1, ".Junk/new")
    crlf = letter.replace(b"\n", b"\r\n")
    expect_equal(header(crlf, b"X-Spam"), [b"yes"], "X-Spam")
    expect_equal(header(crlf, b"X-Spam-Score"), [b"7 / 15"], "score")
    expect(header(crlf, b"X-Spam-Status")[0].startswith(
        b"Yes, score=7.000 required=15.000 tests=[PILLS=7.000]"), "status",
        letter)

    reply = place.send("me@box.example", data=LETTERS["plain"].replace(
        b"\r\n\r\nhi", b"\r\n\r\n" + GTUBE))
    expect_equal(reply, "550 Gtube pattern", "GTUBE")
    reply = place.send("me@box.example", data=LETTERS["dots"])
    expect(reply.startswith("250"), "after GTUBE", reply)
    letter = next(one for one in place.letters(2) if b".one\n" in one)
    expect(b"\n\n.\n..\n.one\n...\nend.\n" in letter, "text", letter)
    text = checker.text()
    expect("ip: 127.0.0.1" in text and "from: <sender@example.com>" in text,
           "rspamd was told of the session", text[-2000:])


def test_rspamd_of_sendmail():
    place, _ = checking()
    place.server.sendmail("me@box.example",
                          data=b"Subject: cheap pills\n\nx\n")
    letter, = place.letters(1, ".Junk/new")
    expect(b"X-Spam: yes\n" in letter, "marked", letter)


def test_rspamd_goes_and_comes_back():
    place, checker = checking()
    checker.stop()
    reply = place.send_anyway("me@box.example", LETTERS["plain"])
    expect(reply.startswith("421"), "without rspamd", reply)
    checker.start()
    reply = place.send("me@box.example", data=LETTERS["plain"])
    expect(reply.startswith("250"), "with it", reply)
    place.letters()
    expect(not re.search("lost processor", place.server.log_text()),
           "its filter lives", place.server.log_tail())


def test_rspamd_and_dkimsign_in_a_chain():
    checker = Rspamd()
    program = real(DKIMSIGN)
    key = dkim.Key(os.path.dirname(program))
    place = Place("""\
filter rspamd proc-exec "%s -url %s"
filter dkimsign proc-exec "%s -d example.com -s sel -k %s" user nobody
filter f chain { rspamd, dkimsign }
""" % (real(RSPAMD), checker.url, program, key.path))
    reply = place.send(data=LETTERS["plain"].replace(
        b"Subject: test", b"Subject: cheap pills"))
    expect(reply.startswith("250"), "accepted", reply, place.server.log_tail())
    _, _, text = place.relayed()[0]
    expect_equal(header(text, b"X-Spam"), [b"yes"], "checked")
    holds(text, key)
    session = place.smtp()
    reply = session.message("s@example.com", ["ok@example.net"],
                            HEAD + b"\r\n" + GTUBE)
    expect_equal(reply, "550 Gtube pattern", "GTUBE")
    expect(session.message("s@example.com", ["ok@example.net"],
                           LETTERS["plain"]).startswith("250"), "and on")
    session.quit()
    holds(place.relayed(2)[1][2], key)


if __name__ == "__main__":
    sys.exit(run_tests([value for name, value in list(globals().items())
                        if name.startswith("test_")]))
