#!/usr/bin/env python3
"""What a sender is told: reports of failure, delay and success as they lie in
his mailbox, their words from a file, and a sender for each recipient (VERP)."""
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True
from holdfast import (Smtp, expect, expect_equal, programs,    # noqa: E402
                      run_tests, wait_for)
from reports import (REASON, TEXT, WORDS, Report, Setting,     # noqa: E402
                     fields)


# --- failures

def test_one_and_many_recipients():
    with Setting() as it:
        it.send("<alice@sender.example>", "<no1@hop.example>",
                "<yes@hop.example>", "<no2@hop.example>")
        report = it.report().check("failed")
        blocks = sorted(report.blocks()[1:], key=lambda b:
                        b["Final-Recipient"])
        expect_equal([fields(b) for b in blocks],
                     [{"Final-Recipient": "rfc822; no%d@hop.example" % n,
                       "Action": "failed", "Status": "5.1.1",
                       "Diagnostic-Code":
                       "smtp; " + REASON} for n in (1, 2)], "recipients")
        for block in blocks:
            expect("Last-Attempt-Date" in block and "Remote-MTA" in block,
                   "who said so and when", block)
        expect("\n    the following list of recipients:\n\n" in report.words(),
               "the words", report.words())
        for n in (1, 2):
            expect("\nno%d@hop.example: %s\n" % (n, REASON) in report.words(),
                   "a line for each", report.words())
        expect_equal(report.quoted.get_content_type(), "text/rfc822-headers",
                     "quoted")
        quoted = report.quoted.as_string()
        expect("\nSubject: hello\n" in quoted, "its header", quoted)
        expect("Body text" not in quoted, "not its body", quoted)
        expect_equal(len(it.hop.messages), 1, "messages of the hop")
        expect("from=<> to=<alice@sender.example>" in it.server.log_text(),
               "the null sender", it.server.log_tail())
        it.done()


def test_sendmail():
    with Setting() as it:
        it.server.sendmail("-f", "alice@sender.example", "-V", "QQ+2B314",
                           "-N", "failure,delay", "-R", "full",
                           "no@hop.example", data=TEXT.replace(b"\r\n", b"\n"))
        report = it.report()
        expect_equal(report.blocks()[0]["Original-Envelope-Id"], "QQ+314",
                     "ENVID")
        expect_equal(report.quoted.get_content_type(), "message/rfc822",
                     "quoted")
        it.done()


def test_the_whole_message_comes_back():
    with Setting() as it:
        body = b".a dot\r\nGr\xc3\xbc\xc3\x9fe\r\n\r\n" \
               b"--1/mx.holdfast.example\r\n"
        body += b"".join(b"%d %s\r\n" % (i, b"x" * 60) for i in range(5000))
        data = TEXT.replace(b"Body text.\r\n", body)
        it.send("<alice@sender.example> RET=FULL ENVID=x+3Dy",
                "<no@hop.example> ORCPT=rfc822;no+2Bx@list.example", data=data)
        report = it.report().check("failed")
        expect_equal(report.quoted.get_content_type(), "message/rfc822",
                     "quoted")
        expect(("\n\n" + body.decode().replace("\r\n", "\n") + "\n--") in
               report.text, "every octet of the body")
        expect_equal(report.blocks()[0]["Original-Envelope-Id"], "x=y", "ENVID")
        expect_equal(report.blocks()[1]["Original-Recipient"],
                     "rfc822; no+x@list.example", "ORCPT")
        # RET=HDRS.
        it.send("<alice@sender.example> RET=HDRS", "<no@hop.example>",
                data=data)
        report = it.report().check("failed")
        expect_equal(report.quoted.get_content_type(), "text/rfc822-headers",
                     "quoted")
        it.done()


def test_a_list_becomes_one_report():
    with Setting() as it:
        it.words(WORDS)
        conf = open(it.server.conf).read().replace(
            '"a@hop.example, b@hop.example"',
            '"no1@hop.example, no2@hop.example"')
        it.server.stop()
        with open(it.server.conf, "w") as f:
            f.write(conf)
        it.server.start()
        it.send("<alice@sender.example>",
                "<list@list.example> ORCPT=rfc822;list@list.example")
        report = it.report().check("failed")
        expect_equal(sorted(b["Final-Recipient"] for b in report.blocks()[1:]),
                     ["rfc822; no1@hop.example", "rfc822; no2@hop.example"],
                     "recipients")
        for block in report.blocks()[1:]:
            expect_equal(block["Original-Recipient"],
                         "rfc822; list@list.example", "ORCPT")
        it.done()


def test_nobody_to_tell():
    with Setting() as it:
        it.send("<>", "<no@hop.example>")
        it.none()
        expect("warn: queue: no return path!" in it.server.log_text(),
               "it is logged", it.server.log_tail())
        # A report that is refused itself.
        it.send("<no-alice@hop.example>", "<no@hop.example>")
        wait_for(lambda: "warn: queue: double bounce!" in it.server.log_text(),
                 30, "a double bounce\n" + it.server.log_tail())
        it.none()
        it.done()


def test_expiry_says_why():
    with Setting("queue ttl 3s") as it:
        it.send("<alice@sender.example>", "<later@hop.example>")
        report = it.report().check("failed")
        block = report.blocks()[1]
        expect_equal(block["Status"], "5.4.7", "Status")
        expect_equal(block["Diagnostic-Code"],
                     "x-holdfast; Envelope expired (451 4.2.1 Try later)",
                     "the reason")
        expect("stat=Envelope expired\n" in it.server.log_text(),
               "the log is the reference's", it.server.log_tail())
        it.done()


def test_a_failure_of_tls_is_named():
    with Setting("queue ttl 4s\nbounce warn-interval 2s") as it:
        it.send("<alice@sender.example>", "<yes@tls.example>")
        why = "TLS required but not supported by remote host"
        report = it.report().check("delayed")
        expect(why in report.words() and
               why in report.blocks()[1]["Diagnostic-Code"], "the warning",
               report.text)
        report = it.report().check("failed")
        expect("Envelope expired (" in report.words() and
               why in report.words(), "the end", report.words())
        expect_equal(it.hop.messages, [], "messages")
        it.done()


# --- who is told of what (RFC 3461 section 4.1)

def test_notify_failure_and_never():
    with Setting() as it:
        it.send("<alice@sender.example>", "<no1@hop.example> NOTIFY=NEVER",
                "<no2@hop.example> NOTIFY=SUCCESS",
                "<no3@hop.example> NOTIFY=DELAY,SUCCESS")
        it.none()
        it.send("<alice@sender.example>", "<no1@hop.example> NOTIFY=NEVER",
                "<no2@hop.example> NOTIFY=FAILURE")
        report = it.report().check("failed")
        expect_equal([b["Final-Recipient"] for b in report.blocks()[1:]],
                     ["rfc822; no2@hop.example"], "recipients")
        session = Smtp(it.server.port)
        session.expect("EHLO client.example", "250")
        session.expect("MAIL FROM:<alice@sender.example> RET=ALL", "501")
        session.expect("MAIL FROM:<alice@sender.example> ENVID=a+0Ab", "501")
        session.expect("MAIL FROM:<alice@sender.example>", "250")
        for junk in ("NOTIFY=junk", "NOTIFY=", "NOTIFY=SUCCESS,,DELAY"):
            session.expect("RCPT TO:<no@hop.example> " + junk, "501")
        session.expect("RCPT TO:<no@hop.example> NOTIFY=NEVER,DELAY", "553")
        session.expect("RCPT TO:<no@hop.example> ORCPT=rfc822", "553")
        session.expect("RCPT TO:<no@hop.example> ORCPT=rfc822;a+0Ab", "553")
        session.quit()
        it.done()


def test_success():
    with Setting() as it:
        everyone = ["<yes@hop.example>", "<yes@dsn.example>",
                    "<owner@sender.example>"]
        it.send("<alice@sender.example>",
                *[r + " NOTIFY=SUCCESS ORCPT=rfc822;x@y.example"
                  for r in everyone])
        texts = it.mails(3)
        mails = [t for t in texts if b"multipart/report" not in t]
        expect_equal(len(mails), 1, "the mail itself")
        reports = {r.blocks()[1]["Action"]: r for r in
                   (Report(t) for t in texts if b"multipart/report" in t)}
        expect_equal(sorted(reports), ["delivered", "relayed"], "reports")
        for action, final in (("delivered", "owner@sender.example"),
                              ("relayed", "yes@hop.example")):
            report = reports[action].check(action)
            block = report.blocks()[1]
            expect_equal(block["Original-Recipient"], "rfc822; x@y.example",
                         action)
            expect_equal(block["Final-Recipient"], "rfc822; " + final, action)
            expect(re.fullmatch(r"2\.\d\.\d", block["Status"]), "Status", block)
        # Who can tell himself is asked to.
        expect_equal([line for line in it.dsn.lines if "RCPT" in line],
                     ["RCPT TO:<yes@dsn.example> NOTIFY=SUCCESS "
                      "ORCPT=rfc822;x@y.example"], "passed on")
        # Who did not ask hears nothing.
        it.send("<alice@sender.example>", "<yes@hop.example> NOTIFY=FAILURE",
                "<yes2@hop.example>", "<yes3@hop.example> NOTIFY=NEVER")
        it.none()
        it.done()


def test_success_and_delay_by_sendmail():
    with Setting("bounce warn-interval 2s") as it:
        it.server.sendmail("-f", "alice@sender.example", "-N", "SUCCESS,DELAY",
                           "yes@hop.example", "later@hop.example",
                           data=TEXT.replace(b"\r\n", b"\n"))
        # The local socket has the machine's name.
        report = it.report()
        name = report.blocks()[0]["Reporting-MTA"].replace("dns; ", "")
        report.check("relayed", smtpname=name)
        expect_equal(report.blocks()[1]["Final-Recipient"],
                     "rfc822; yes@hop.example", "relayed")
        report = it.report().check("delayed", smtpname=name)
        expect_equal(report.blocks()[1]["Final-Recipient"],
                     "rfc822; later@hop.example", "delayed")
        # Of its end nobody wanted to hear.
        it.server.ctl("remove", "all")
        it.none()
        it.done()


def test_delay():
    with Setting("bounce warn-interval 2s") as it:
        it.send("<alice@sender.example>", "<later1@hop.example>",
                "<later2@hop.example> NOTIFY=SUCCESS,DELAY",
                "<later3@hop.example> NOTIFY=FAILURE",
                "<later4@hop.example> NOTIFY=NEVER")
        report = it.report().check("delayed")
        blocks = report.blocks()[1:]
        expect_equal(sorted(b["Final-Recipient"] for b in blocks),
                     ["rfc822; later%d@hop.example" % n for n in (1, 2)],
                     "recipients")
        for block in blocks:
            expect_equal(block["Diagnostic-Code"], "smtp; 451 4.2.1 Try later",
                         "the reason")
            expect(block["Status"].startswith("4."), "Status", block)
            expect("Will-Retry-Until" in block, "until when", block)
        words = report.words()
        expect("    A message is delayed for more than 2 seconds for the "
               "following\n    list of recipients:\n" in words, "words", words)
        expect("up to 4 days.\n    You DO NOT NEED to re-send" in words,
               "the real ttl", words)
        it.server.ctl("remove", "all")
        it.none()
        it.done()


# --- words from a file

def test_words():
    with Setting() as it:
        it.send("<alice@sender.example> ENVID=QQ314", "<no1@words.example>",
                "<no2@words.example>")
        report = it.report()
        expect_equal(report.mail["Subject"],
                     "Unzustellbar \u2013 mx.holdfast.example", "Subject")
        expect_equal(report.people.get_content_charset(), "utf-8", "charset")
        words = report.words()
        lines = ["no%d@words.example: %s" % (n, REASON) for n in (1, 2)]
        expect(words.startswith("Guten Tag,\n\nf\u00fcr Ihre Nachricht an\n\n"),
               "the words", words)
        expect_equal(sorted(words.split("\n\n")[2].splitlines()), lines,
                     "recipients")
        expect(words.rstrip().endswith("gilt (QQ314): " + REASON), "variables",
               words)
        expect_equal(len(report.blocks()), 3, "for programs as ever")
        # Other actions have theirs, as have local ones.
        it.send("<alice@sender.example>", "<no1@hop.example>")
        it.report().check("failed")
        it.send("<alice@sender.example>", "<joe@exec.example>")
        report = it.report()
        expect("Guten Tag," in report.words(), "a local action",
               report.words())
        # A start is all a change needs.
        expect_equal(it.server.stop(), 0, "exit status")
        it.words("[failed]\nKurz: %{reason}\n")
        it.server.start()
        it.send("<alice@sender.example>", "<no1@words.example>")
        report = it.report().check("failed")
        expect_equal(report.words().strip(), "Kurz: " + REASON, "the new words")
        it.done()


def test_words_are_checked():
    with Setting() as it:
        path = os.path.join(it.server.folder, "words")
        smtpd = os.path.join(programs(), "server/smtpd")

        def check():
            run = subprocess.run([smtpd, "-n", "-f", it.server.conf],
                                 capture_output=True, text=True)
            return run.returncode, run.stderr
        expect_equal(check()[0], 0, "good words")
        for text, what in (
                ("[failed]\nHello\n\n%{recipient}\n",
                 ":4: unknown variable %{recipient}"),
                ("[bounced]\nHello\n", ":1: unknown section [bounced]"),
                ("[failed]\n" + "x" * 501, ":2: line longer than 500 octets"),
                ("[failed]\nx\n" * 2, ":3: second section [failed]")):
            it.words(text)
            code, said = check()
            expect_equal(code, 1, "exit status of " + what)
            expect(path + what in said, what, said)
        os.remove(path)
        code, said = check()
        expect("cannot read bounce-text %s: No such file" % path in said,
               "a file that is missing", said)
        expect_equal(it.server.stop(), 0, "exit status")


# --- VERP

def test_verp():
    with Setting() as it:
        it.send("<owner@sender.example>", "<b1@verp.example>",
                "<b2+x@verp.example>", "<%s@verp.example>" % ("c" * 60),
                "<no@verp.example>")
        wait_for(lambda: len(it.hop.messages) == 3, 30,
                 "three messages\n" + it.server.log_tail())
        got = {rcpts[0].split("<")[1].split("@")[0]: mail.split("<")[1].split(
            ">")[0] for mail, rcpts, _ in it.hop.messages}
        expect_equal(got, {"b1": "owner+b1=verp.example@sender.example",
                           "b2+x": "owner+b2+x=verp.example@sender.example",
                           "c" * 60: "owner@sender.example"}, "senders")
        for _, rcpts, _ in it.hop.messages:
            expect_equal(len(rcpts), 1, "recipients")
        # What is refused while we talk is told to the sender himself.
        it.report().check("failed", to="owner@sender.example")
        # What comes back later finds him, too.
        it.send("<>", "<owner+b1=verp.example@sender.example>")
        text = it.mails(1)[0]
        expect(b"Delivered-To: " in text, "it came", text)
        it.send("<>", "<b1@verp.example>", "<b2@verp.example>")
        wait_for(lambda: len(it.hop.messages) == 4, 30, "the null sender's")
        mail, rcpts, _ = it.hop.messages[3]
        expect(mail.startswith("MAIL FROM:<>"), "the null sender", mail)
        expect_equal(len(rcpts), 2, "its recipients")
        told = it.server.ctl("explain", "b1@verp.example", "from",
                             "owner@sender.example")
        expect("sender becomes <owner+b1=verp.example@sender.example>" in told,
               "explain", told)
        it.done()


# --- internationalized senders (RFC 6533)

def test_internationalized_senders():
    with Setting() as it:
        # The next hop has no SMTPUTF8.  A domain alone is no obstacle ...
        it.send("<joe@b\u00fccher.example> SMTPUTF8", "<no@hop.example>")
        wait_for(lambda: it.hop.messages, 30,
                 "the report\n" + it.server.log_tail())
        mail, rcpts, text = it.hop.messages[0]
        expect_equal(rcpts, ["RCPT TO:<joe@xn--bcher-kva.example>"], "RCPT")
        expect("SMTPUTF8" not in mail, "MAIL", mail)
        expect(b"\nTo: joe@xn--bcher-kva.example\r\n" in text, "To", text)
        header = text.partition(b"\r\n\r\n")[0]
        expect(all(c < 128 for c in header), "the header is ASCII", header)
        # ... a local part is: nobody is left to tell.
        it.send("<j\u00f6rg@b\u00fccher.example> SMTPUTF8", "<no@hop.example>")
        wait_for(lambda: "warn: queue: double bounce!" in it.server.log_text(),
                 30, "a double bounce\n" + it.server.log_tail())
        it.server.wait_empty(30)
        expect_equal(len(it.hop.messages), 1, "messages")
        expect("Next hop does not support internationalized mail" in
               it.server.log_text(), "why", it.server.log_tail())
        it.done()


if __name__ == "__main__":
    sys.exit(run_tests([f for n, f in list(globals().items())
                        if n.startswith("test_")]))
