#!/usr/bin/env python3
"""`filter NAME milter SOCKET`: what a milter of the tests' own hears, every
change and every refusal, and one that fails in every phase."""
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import milter                                                  # noqa: E402
from certificates import Authority                             # noqa: E402
from filter_places import HOST, RECORDER, Place                # noqa: E402
from holdfast import (Smtp, expect, expect_equal, run_tests,   # noqa: E402
                      wait_for)
from milter import Milter, reply                               # noqa: E402
from milter_places import (LETTER, STAMPS, below_received,     # noqa: E402
                           place, sent)


# --- what it hears


def test_hears_all_of_a_session():
    one = Milter()
    there = place(one)
    session = there.smtp()
    session.expect("MAIL FROM:<s@example.com> SIZE=100 BODY=8BITMIME", "250")
    session.expect("RCPT TO:<a@box.example>", "250")
    session.expect("RCPT TO:<b@box.example>", "250")
    session.expect("DATA", "354")
    session.send(b"Subject: one\r\n two\r\nTo: x\r\n\r\nhi\r\n..dot\r\n.\r\n")
    expect(session.reply().startswith("250"), "accepted")
    session.quit()
    heard = one.ended(len(one.conversations) - 1)
    expect_equal(heard.commands(),
                 ["negotiate", "connect", "helo", "mail", "rcpt", "rcpt",
                  "data", "header", "header", "eoh", "body", "eom", "quit"],
                 "commands")
    connect = heard.last("connect")
    expect(re.fullmatch(rb"(localhost|\[127\.0\.0\.1\])\x004..127.0.0.1\0",
                        connect, re.S), "connect", connect)
    expect_equal(heard.last("helo"), b"c2\0", "helo")
    expect_equal(heard.last("mail"),
                 b"<s@example.com>\0SIZE=100\0BODY=8BITMIME\0", "mail")
    expect_equal([d for c, d in heard.told if c == "rcpt"],
                 [b"<a@box.example>\0", b"<b@box.example>\0"], "rcpt")
    # Not our own Received.
    expect_equal(heard.headers(), [(b"Subject", b"one\n two"), (b"To", b"x")],
                 "headers")
    expect_equal(heard.body(), b"hi\r\n.dot\r\n", "body")
    macros = heard.macros["connect"]
    expect_equal(macros["{client_addr}"], "127.0.0.1", "client_addr")
    expect_equal(macros["{daemon_port}"], str(there.server.port), "port")
    expect("j" in macros and "_" in macros, "macros", macros)
    expect_equal(heard.macros["rcpt"]["{rcpt_addr}"], "b@box.example", "rcpt")
    expect_equal(heard.macros["mail"]["{mail_addr}"], "s@example.com", "mail")
    expect("i" in heard.macros["eom"], "the id", heard.macros)


def test_hears_of_tls_and_auth():
    keys = tempfile.mkdtemp(prefix="holdfast-keys.")
    authority = Authority(keys)
    cert, key = authority.issue(HOST)
    hashed = subprocess.run(["openssl", "passwd", "-6", "secret"], check=True,
                            stdout=subprocess.PIPE, text=True).stdout.strip()
    one = Milter()
    there = place(one, listen='pki mine cert "%s"\npki mine key "%s"\n'
                  'table users { joe = "%s" }\nlisten on 127.0.0.1 port {port} '
                  'hostname %s tls pki mine auth-optional <users> filter f\n' %
                  (cert, key, hashed, HOST))
    session = there.smtp()
    session.expect("STARTTLS", "220")
    context = ssl.create_default_context(cafile=authority.cert)
    session.socket = context.wrap_socket(session.socket, server_hostname=HOST)
    session.file = session.socket.makefile("rb")
    session.expect("EHLO c2", "250")
    session.expect("AUTH PLAIN AGpvZQBzZWNyZXQ=", "235")
    got = session.message("s@example.com", ["me@box.example"], LETTER)
    expect(got.startswith("250"), "accepted", got)
    session.quit()
    heard = one.ended(len(one.conversations) - 1)
    expect_equal(heard.commands().count("helo"), 2, "before and after TLS")
    expect_equal(heard.macros["mail"]["{auth_authen}"], "joe", "user")
    expect(heard.macros["helo"]["{tls_version}"].startswith("TLSv1"),
           "version", heard.macros)
    expect("{cipher}" in heard.macros["helo"], "cipher", heard.macros)
    shutil.rmtree(keys)


def test_one_connection_for_all_messages_of_a_session():
    one = Milter()
    there = place(one)
    before = len(one.conversations)
    session = there.smtp()
    for number in range(3):
        got = session.message("s@example.com", ["me@box.example"], LETTER)
        expect(got.startswith("250"), "accepted", got)
    session.expect("MAIL FROM:<s@example.com>", "250")
    session.expect("RSET", "250")
    session.expect("MAIL FROM:<s@example.com>", "250")
    session.quit()
    heard = one.ended(before)
    expect_equal(len(one.conversations), before + 1, "connections")
    expect_equal(heard.commands().count("eom"), 3, "messages")
    expect_equal([c for c in heard.commands()[-5:] if c != "data"],
                 ["mail", "abort", "mail", "abort", "quit"], "the end")
    there.letters(3)


def test_unix_socket_macros_by_name_and_leading_space():
    folder = tempfile.mkdtemp(prefix="holdfast-milter.")
    one = Milter(steps=milter.LEADING_SPACE | 0x1 | 0x2, path=folder + "/m",
                 macros=b"\0\0\0\2{mail_addr}\0\0\0\0\5j\0",
                 answers={"eom": milter.add_header("X-New", "\tyes") +
                          milter.ACCEPT})
    letter = sent(place(one))
    expect(b"\nX-New:\tyes\n" in letter, "as it was given", letter)
    heard = one.conversations[-1]
    expect_equal(heard.commands()[:2], ["negotiate", "mail"], "commands")
    expect_equal(heard.headers()[2], (b"Subject", b" test"), "with its blank")
    expect_equal(heard.macros["mail"], {"{mail_addr}": "sender@example.com"},
                 "macros that it named")
    expect_equal(list(heard.macros["eom"]), ["j"], "macros that it named")
    shutil.rmtree(folder)


def test_one_that_wants_nothing_and_answers_nothing():
    quiet = Milter(steps=milter.NO_ANSWERS)
    letter = below_received(sent(place(quiet)))
    expect_equal(letter, LETTER.replace(b"\r\n", b"\n"), "unchanged")
    expect("header" in quiet.conversations[-1].commands(), "told")
    deaf = Milter(steps=0x37f)
    letter = below_received(sent(place(deaf)))
    expect_equal(letter, LETTER.replace(b"\r\n", b"\n"), "unchanged")
    expect_equal(deaf.ended(len(deaf.conversations) - 1).commands(),
                 ["negotiate", "eom", "quit"], "commands")


def test_an_old_one():
    old = Milter(version=2, actions=0x3f, steps=0)
    sent(place(old))
    expect("data" not in old.conversations[-1].commands(), "no DATA before 4")


# --- what it changes


def test_changes_of_the_text():
    one = Milter(answers={"eom": milter.PROGRESS +
                          milter.add_header("X-Added", "a\n\tb") +
                          milter.insert_header(0, "X-Top", "t") +
                          milter.insert_header(2, "X-Second", "s") +
                          milter.change_header(1, "Subject", "changed") +
                          milter.change_header(1, "X-Bad", "") +
                          milter.change_header(2, "x-bad", "") +
                          milter.change_header(1, "X-None", "n") +
                          milter.replace_body(b"new\r\n.body\r\n") +
                          milter.CONTINUE})
    letter = sent(place(one))
    expect(letter.startswith(b"X-Top: t\nReceived: "), "above ours", letter)
    expect_equal(below_received(letter[len(b"X-Top: t\n"):]),
                 b"X-Second: s\n" + STAMPS.replace(b"\r\n", b"\n") +
                 b"Subject: changed\nTo: x@y.example\n"
                 b"X-Added: a\n\tb\nX-None: n\n\nnew\n.body\n", "the rest")


def test_changes_of_the_envelope():
    one = Milter(answers={"eom": milter.change_sender("<new@example.com>") +
                          milter.add_recipient("<add@example.net>") +
                          milter.add_recipient("add2@example.net",
                                               "NOTIFY=NEVER") +
                          milter.remove_recipient("<b@example.net>") +
                          milter.ACCEPT})
    there = place(one)
    got = there.send("a@example.net", "b@example.net")
    expect(got.startswith("250"), "accepted", got)
    wait_for(lambda: sum(len(m[1]) for m in there.sink.messages) >= 3, 20,
             "three recipients")
    expect_equal(sorted(r for m in there.relayed() for r in m[1]),
                 ["a@example.net", "add2@example.net", "add@example.net"],
                 "recipients")
    expect_equal({m[0] for m in there.relayed()}, {"new@example.com"},
                 "sender")


def test_changes_that_leave_nobody_or_make_no_sense():
    one = Milter(answers={"eom": milter.remove_recipient("<a@example.net>") +
                          milter.remove_recipient("<who@else.example>") +
                          milter.CONTINUE})
    there = place(one)
    got = there.send("a@example.net")
    expect(got.startswith("250"), "taken, for nobody", got)
    there.server.wait_empty()
    one.answers = {"eom": milter.add_recipient("<no address>") +
                   milter.change_sender("<@@>") + milter.CONTINUE}
    got = there.send("b@example.net")
    expect(got.startswith("451"), "not to be done", got)
    there.log("warn: .*a filter gave a bad sender: <@@>")
    expect_equal([m[1] for m in there.sink.messages if "a@" in m[1][0]], [],
                 "nothing for whom it took away")


def test_quarantine_holds():
    one = Milter(answers={"eom": milter.quarantine("odd\x1b[1m") +
                          milter.CONTINUE})
    there = place(one)
    got = there.send("me@box.example")
    expect(got.startswith("250"), "accepted", got)
    # What is not held comes, though later.
    one.answers.clear()
    there.send("me@box.example", data=b"Subject: second\r\n\r\n")
    letter, = there.letters()
    expect(b"Subject: second" in letter, "only the second", letter)
    wait_for(lambda: len(there.server.queue()) == 1, 10, "one is held")
    log = there.log("odd")
    expect("\x1b" not in there.server.log_text(), "escaped", log)
    expect_equal(len(there.letters()), 1, "still")
    there.server.ctl("queue", "release", "--yes", "all")
    there.letters(2)
    there.server.wait_empty()


def test_discard():
    there = None
    for at in ("mail", "rcpt", "data", "header", "eoh", "body", "eom"):
        one = Milter(answers={at: milter.DISCARD})
        there = place(one)
        got = there.send("me@box.example")
        expect(got.startswith("250"), "said to be taken", at, got)
        one.answers.clear()
        there.send("me@box.example", data=b"Subject: second\r\n\r\n")
        letter, = there.letters()
        expect(b"Subject: second" in letter, "only the second", at, letter)
        there.server.wait_empty()
        expect_equal(len(there.letters()), 1, "letters in the end")


# --- what it refuses


COMMAND = {"mail": ("MAIL FROM:<s@example.com>", "250"),
           "rcpt": ("RCPT TO:<me@box.example>", "250"),
           "data": ("DATA", "354")}


def refusals(at, there):
    """The reply to what the milter refuses in phase `at`."""
    session = Smtp(there.server.port)
    if at == "connect":
        return session.banner
    if at == "helo":
        return session.command("EHLO c2")
    session.expect("EHLO c2", "250")
    for step, (command, good) in COMMAND.items():
        if at == step:
            return session.command(command)
        session.expect(command, good)
    session.send(LETTER.replace(b"\r\n.dot", b"\r\n..dot") + b".\r\n")
    return session.reply()


def test_refusals_in_each_phase():
    one = Milter()
    there = place(one)
    default = "550 5.7.1 Command rejected"
    later = "451 4.7.1 Please try again later"
    for at in ("connect", "helo", "mail", "rcpt", "data", "header", "eoh",
               "body", "eom"):
        connect = at == "connect"
        for answer, wanted in (
                (milter.REJECT, "554" + default[3:] if connect else default),
                (milter.TEMPFAIL, "421" + later[3:] if connect else later),
                (reply("571 5.7.0 100%% no"), "571 5.7.0 100% no"),
                (reply("550-5.7.0 two\r\n550 5.7.0 lines"),
                 "550 5.7.0 two lines"),
                (reply("450 4.2.0 not now"), "450 4.2.0 not now"),
                (reply("421 4.2.0 go away"), "421 4.2.0 go away"),
                (milter.SHUTDOWN, "421 4.7.0 Service not available"),
                (milter.CONN_FAIL, "421 4.7.0 Service not available")):
            one.answers = {at: answer}
            got = refusals(at, there)
            # A banner has the name of the server behind its code.
            expect(got == wanted or connect and got[:3] == wanted[:3],
                   "refused at " + at, got, "wanted: " + wanted,
                   there.server.log_tail())
    expect_equal(there.server.queue(), [], "nothing was taken")
    one.answers = {}
    sent(there)


def test_a_session_refused_at_helo_stays_refused():
    one = Milter(answers={"helo": reply("550 5.7.1 not you")})
    there = Place('filter f milter "%s"\n' % one.socket)
    session = Smtp(there.server.port)
    session.expect("EHLO c2", "550 5.7.1 not you")
    session.expect("HELO other", "550 5.7.1 not you")
    session.command("MAIL FROM:<s@example.com>")
    session.quit()


def test_one_recipient_only():
    one = Milter(answers={"rcpt": lambda c: milter.REJECT
                          if b"bad" in c.last("rcpt") else milter.CONTINUE})
    there = place(one)
    session = there.smtp()
    session.expect("MAIL FROM:<s@example.com>", "250")
    session.expect("RCPT TO:<bad@box.example>", "550")
    session.expect("RCPT TO:<me@box.example>", "250")
    session.expect("DATA", "354")
    session.send(b"Subject: x\r\n\r\n.\r\n")
    expect(session.reply().startswith("250"), "accepted")
    session.quit()
    there.letters()


# --- when it fails


def test_hostile_in_each_phase():
    phases = ("negotiate", "connect", "helo", "mail", "rcpt", "data", "header",
              "eoh", "body", "eom")
    one = Milter()
    closing = {"close": "close", "garbage": b"HTTP/1.1 400 Bad Request\r\n\r\n",
               "too long": b"\x7f\xff\xff\xffc", "empty": b"\0\0\0\0",
               "twice": milter.CONTINUE * 2, "unknown": milter.packet("z"),
               "unasked": milter.add_header("X-Late", "x") + milter.CONTINUE,
               "half": b"\0\0\0\5y4"}
    there = place(one, "timeout 1s")
    accepted = 0
    for at in phases:
        for name, answer in list(closing.items()) + [("hang", "hang")]:
            if name == "unasked" and at == "eom" or \
                    name == "hang" and at not in ("negotiate", "rcpt", "eom"):
                continue
            one.answers = {at: answer}
            if name == "half":
                one.answers = {at: lambda _: (b"\0\0\0\5y4")}
            got = refusals(at if at != "negotiate" else "connect", there)
            expect(got.startswith("421") or got.startswith("451") or
                   name == "twice", "%s at %s" % (name, at), got,
                   there.server.log_tail())
            # What is said behind a verdict does not take it back.
            accepted += at == "eom" and got.startswith("250")
    one.answers = {}
    expect(there.send("me@box.example", data=LETTER).startswith("250"), "then")
    there.letters(accepted + 1)
    there.server.wait_empty()
    expect(re.search(r"warn: filter f: it does not answer",
                     there.server.log_text()), "in the log",
           there.server.log_tail())


def test_on_failure_accept_in_each_phase():
    one = Milter()
    there = place(one, "on-failure accept timeout 1s")
    wanted = LETTER.replace(b"\r\n", b"\n")
    number = 0
    for at in ("negotiate", "connect", "helo", "mail", "rcpt", "data",
               "header", "eoh", "body", "eom"):
        for answer in ("close", b"HTTP/1.1 400 Bad Request\r\n\r\n") + \
                (("hang",) if at in ("connect", "eom") else ()):
            one.answers = {at: answer}
            got = there.send("me@box.example", data=LETTER)
            expect(got.startswith("250"), "%s at %s" % (answer, at), got,
                   there.server.log_tail())
            number += 1
    # Changes that it asked for before it broke are not made.
    one.answers = {"eom": milter.add_header("X-Late", "x") +
                   milter.replace_body(b"gone") + b"\0\0\0\0"}
    expect(there.send("me@box.example", data=LETTER).startswith("250"), "eom")
    for letter in there.letters(number + 1):
        expect(letter.endswith(wanted), "unchanged", letter)


def test_not_there():
    one = Milter()
    one.close()
    there = place(one, start=False)
    there.server.start(wait=0)
    wait_for(lambda: "smtp server ready" in there.server.log_text() or
             there.server.process.poll() is None, 20, "it runs")

    def refused():
        try:
            session = Smtp(there.server.port)
        except OSError:
            return None
        return session.banner
    banner = wait_for(refused, 20, "a banner")
    expect(banner.startswith("421"), "refused for now", banner)
    there.log(r"warn: filter f: cannot connect to inet:\d+@127.0.0.1: "
              "Connection refused")
    without = place(one, "on-failure accept")
    sent(without)


def test_progress_extends_the_time():
    one = Milter(answers={"eom": [milter.PROGRESS] * 4 + [milter.CONTINUE]})
    sent(place(one, "timeout 1s"))


def test_the_client_goes_away():
    one = Milter(answers={"eom": "hang"})
    there = place(one)
    session = there.smtp()
    session.expect("MAIL FROM:<s@example.com>", "250")
    session.expect("RCPT TO:<me@box.example>", "250")
    session.expect("DATA", "354")
    session.send(LETTER + b".\r\n")
    heard = one.conversations[-1]
    wait_for(lambda: "eom" in heard.commands(), 10, "the end of the message")
    session.close()
    one.answers = {}
    one.released.set()
    wait_for(lambda: heard.closed, 10, "the milter is let go")
    sent(there)


# --- size


def spool(there):
    return os.path.join(there.server.spool, "filters")


def peak(there):
    pid, = there.server.room_pids("smtpd-filters")
    with open("/proc/%d/status" % pid) as f:
        return int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1)) * 1024


def test_large_messages_wait_in_files():
    one = Milter(answers={"eom": milter.add_header("X-Seen", "yes") +
                          milter.CONTINUE})
    there = place(one)
    sent(there, data=b"Subject: small\r\n\r\nx\r\n")
    before = peak(there)
    data = b"Subject: large\r\n\r\n" + b"0123456789" * 7 + b"\r\n"
    data += b"".join(b"line %d\r\n" % i for i in range(2000000))
    heard = []
    one.answers["eom"] = lambda c: heard.append(os.listdir(spool(there))) or \
        milter.add_header("X-Seen", "yes") + milter.CONTINUE
    got = there.send("me@box.example", data=data)
    expect(got.startswith("250"), "accepted", got)
    letters = there.letters(2)
    large = max(letters, key=len)
    expect(large.endswith(data.split(b"\r\n\r\n", 1)[1].replace(
        b"\r\n", b"\n")), "all of it")
    expect(b"\nX-Seen: yes\n" in large[:3000], "changed", large[:1000])
    expect(one.conversations[-1].body() == data.split(b"\r\n\r\n", 1)[1],
           "the milter has seen all of it")
    expect_equal(heard, [[]], "names in the folder")
    grown = peak(there) - before
    expect(grown < 8 << 20, "memory for %d MB" % (len(data) >> 20), grown)


def test_no_room_for_the_text():
    one = Milter()
    there = place(one, start=False)
    folder = spool(there)
    os.mkdir(folder)
    run = subprocess.run(["mount", "-t", "tmpfs", "-o",
                          "size=1m,uid=_smtpq,mode=700", "none", folder])
    expect_equal(run.returncode, 0, "a small file system")
    try:
        there.server.start()
        got = there.send("me@box.example", data=b"Subject: large\r\n\r\n" +
                         b"0123456789\r\n" * 200000)
        expect(got.startswith("452 4.3.1"), "no room", got,
               there.server.log_tail())
        there.log("cannot store the text of a message: write: No space left")
        sent(there)
    finally:
        there.server.stop()
        subprocess.run(["umount", folder])


# --- beside others


def test_in_a_chain_with_processes():
    one = Milter(answers={"eom": milter.insert_header(0, "X-Milter", "m") +
                          milter.change_header(1, "X-First", "changed") +
                          milter.CONTINUE})
    two = Milter(answers={"eom": milter.add_header("X-Two", "2") +
                          milter.add_recipient("<add@box.example>") +
                          milter.CONTINUE})
    there = Place(
        (RECORDER % " 'text=header:X-First: p'").replace("filter f", "filter p")
        + 'proc again "{filters}/recorder.sh {folder}/record2"\n'
        'filter q proc again\nfilter m milter "%s"\nfilter n milter "%s"\n'
        'filter b phase rcpt-to match rcpt-to { "no@box.example" } reject '
        '"550 5.7.1 Not here"\n'
        'filter f chain { p, m, b, n, q }\n' % (one.socket, two.socket))
    session = there.smtp()
    session.expect("MAIL FROM:<s@example.com>", "250")
    session.expect("RCPT TO:<no@box.example>", "550 5.7.1 Not here")
    session.expect("RCPT TO:<me@box.example>", "250")
    session.expect("DATA", "354")
    session.send(b"Subject: x\r\n\r\nhi\r\n.\r\n")
    expect(session.reply().startswith("250"), "accepted",
           there.server.log_tail())
    session.quit()
    for letter in there.letters(2):
        for field in (b"X-Milter: m\n", b"X-First: changed\n", b"X-Two: 2\n"):
            expect(field in letter, "fields of all", field, letter)
    expect((b"X-Milter", b"m") in two.conversations[-1].headers(),
           "the second sees what the first has done",
           two.conversations[-1].headers())
    expect(not any(name == b"Received"
                   for name, _ in two.conversations[-1].headers()),
           "not our own Received", two.conversations[-1].headers())


def test_reports_pass_the_milter_of_the_socket():
    one = Milter(answers={"eom": milter.add_header("X-Seen", "yes") +
                          milter.CONTINUE})
    there = place(one, listen=Place.LISTEN.replace(" filter f", "") +
                  "listen on socket filter f\n")
    got = there.send("perm@example.net", sender="me@box.example")
    expect(got.startswith("250"), "accepted", got)
    letter, = there.letters()
    expect(b"\nX-Seen: yes\n" in letter, "a report, changed", letter)
    heard = one.conversations[-1]
    expect_equal(heard.last("mail").split(b"\0")[0], b"<>", "its sender")
    expect(heard.last("connect").startswith(b"localhost\0"), "from here",
           heard.last("connect"))


if __name__ == "__main__":
    sys.exit(run_tests([value for name, value in list(globals().items())
                        if name.startswith("test_")]))
