#!/usr/bin/env python3
"""The main job, as root and as an ordinary user: accept, deliver, relay, defer,
report, look into the queue, restart, stop."""
import os
import re
import signal
import sys
import time

sys.dont_write_bytecode = True
from holdfast import (NOBODY, Blackhole, Server, Skip, Smtp,   # noqa: E402
                      descendants, expect, expect_equal, run_tests, wait_for)

CONF = """\
listen on 127.0.0.1 port {port} hostname mx.holdfast.example
table boxes { "@" = nobody }
action "box" maildir "{folder}/Maildir" virtual <boxes> user nobody
action "out" relay host smtp+notls://127.0.0.1:%(sink)d
action "bad" relay host smtp+notls://127.0.0.1:%(bad)d
match from local for domain "inside.example" action "box"
match from local for domain "bad.example" action "bad"
match from local for any action "out"
"""
TEXT = b"From: <a@outside.example>\r\nTo: <b@inside.example>\r\n" \
       b"Subject: hello\r\n\r\nHello.\r\n.A dot.\r\n"


class Setting:
    """A server with a sink and a refusing sink beside it."""

    def __init__(self, user, *bad_options):
        if user is not None and os.geteuid() != 0:
            raise Skip("not root: runs as the ordinary user it is")
        self.server = Server("", user=user)
        folder = self.server.folder
        self.sink = Blackhole(folder, name="sink")
        self.bad = Blackhole(folder, *bad_options, name="bad")
        conf = CONF % {"sink": self.sink.port, "bad": self.bad.port}
        if os.geteuid() != 0:
            import getpass
            conf = conf.replace("nobody", getpass.getuser())
        with open(self.server.conf, "w") as f:
            f.write('spool "%s"\n' % self.server.spool)
            f.write(conf.replace("{port}", str(self.server.port))
                    .replace("{folder}", folder))
        self.maildir = self.server.maildir()
        self.server.start()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.server.close()
        self.sink.stop()
        self.bad.stop()

    def send(self, *recipients, sender="a@outside.example"):
        session = Smtp(self.server.port)
        session.expect("EHLO client.example", "250")
        reply = session.message(sender, recipients, TEXT)
        expect(re.match(r"250 2\.0\.0 [0-9a-f]{8} Message accepted for delivery",
                        reply), "the reply to a message", reply)
        session.quit()
        return reply.split()[2]


def main_job(user):
    with Setting(user, "--answer", "rcpt=451") as it:
        s = it.server
        it.send("b@inside.example")
        wait_for(lambda: s.count(it.maildir) == 1, 20,
                 "a message in the Maildir\n" + s.log_tail())
        new = os.path.join(it.maildir, "new")
        with open(os.path.join(new, os.listdir(new)[0]), "rb") as f:
            text = f.read()
        expect(text.endswith(b"\n\nHello.\n.A dot.\n"), "the body", text)
        expect(b"Delivered-To: b@inside.example\n" in text, "Delivered-To",
               text)

        it.send("c@outside.example", "d@outside.example")
        wait_for(lambda: it.sink.stats()["recipients"] == 2, 20,
                 "two recipients at the sink\n" + s.log_tail())
        expect_equal(it.sink.stats()["messages"], 1,
                     "transactions for two recipients of one message")
        s.wait_empty(20)

        msgid = it.send("x@bad.example")
        wait_for(lambda: [row for row in s.queue()
                          if row[11] == "pending" and row[13]], 20,
                 "a deferred message\n" + s.log_tail())
        row = s.queue()[0]
        expect_equal(row[0][:8], msgid, "message id in show queue")
        expect_equal(row[1:3], ["inet4", "mta"], "origin and kind")
        expect_equal(row[4:7], ["a@outside.example", "x@bad.example",
                                "x@bad.example"], "addresses")
        expect_equal(row[10], "1", "tries")
        expect(row[13].startswith("451 "), "the error", row[13])
        expect_equal(s.ctl("schedule", row[0]).strip(),
                     "1 envelope scheduled", "schedule")
        wait_for(lambda: s.queue()[0][10] == "2", 20, "a second try")
        message = s.ctl("show", "message", msgid)
        expect("\nSubject: hello\n" in message, "show message", message)
        expect_equal(s.ctl("remove", msgid).strip(), "1 envelope removed",
                     "remove")
        s.wait_empty(5)
        s.check_clean()
        expect_equal(s.stop(), 0, "exit status after SIGTERM")


def test_main_job_as_root():
    if os.geteuid() != 0:
        raise Skip("needs root")
    main_job(None)


def test_main_job_as_ordinary_user():
    main_job(NOBODY if os.geteuid() == 0 else None)


def test_refusal_is_reported_once():
    with Setting(None, "--answer", "rcpt=550") as it:
        s = it.server
        it.send("x@bad.example", "y@bad.example", sender="a@inside.example")
        wait_for(lambda: s.count(it.maildir) == 1, 20,
                 "a report in the Maildir\n" + s.log_tail())
        s.wait_empty(20)
        new = os.path.join(it.maildir, "new")
        expect_equal(len(os.listdir(new)), 1, "reports for one message")
        with open(os.path.join(new, os.listdir(new)[0]), "rb") as f:
            text = f.read()
        for wanted in (b"Auto-Submitted: auto-replied", b"multipart/report",
                       b"x@bad.example", b"y@bad.example", b"550 5.7.1"):
            expect(wanted in text, "%r in the report" % wanted, text)
        expect(not text.startswith(b"Return-Path: <a@"), "null sender", text)
        # Nobody is told of a report that can't be delivered.
        it.send("z@bad.example", sender="")
        s.wait_empty(20)
        time.sleep(1.5)    # longer than reports are gathered
        expect_equal(s.count(it.maildir), 1, "reports to the null sender")
        s.check_clean()


def test_smtp_dialogue():
    with Setting(None) as it:
        session = Smtp(it.server.port)
        expect(session.banner.startswith("220 mx.holdfast.example "),
               "the banner", session.banner)
        expect("Holdfast" in session.banner and "OpenSMTPD" not in
               session.banner, "the banner's name", session.banner)
        offered = session.expect("EHLO client.example", "250")
        for word in ("PIPELINING", "SIZE 36700160", "8BITMIME", "CHUNKING",
                     "ENHANCEDSTATUSCODES"):
            expect(word in offered, word + " offered", offered)
        session.expect("EHLO again.example", "250")
        session.expect("DATA", "503")
        session.expect("RCPT TO:<b@inside.example>", "503")
        session.expect("MAIL FROM:<a@outside.example> SIZE=99999999", "552")
        session.expect("MAIL FROM:<a@outside.example> SIZE=10", "250")
        session.expect("RCPT TO:<b@inside.example>", "250")
        session.expect("RSET", "250")
        session.expect("NOOP", "250")
        expect("Holdfast" in session.expect("HELP", "214"), "HELP's name")
        session.expect("VRFY b@inside.example", "252")
        session.expect("MAIL FROM:<a@outside.example>", "250")
        session.expect("RCPT TO:<b@inside.example>", "250")
        session.send(b"BDAT %d\r\n" % len(TEXT) + TEXT)
        expect(session.reply().startswith("250"), "BDAT")
        session.send(b"BDAT 6 LAST\r\nlast\r\n")
        expect(session.reply().startswith("250"), "BDAT LAST")
        # A bare line feed: read to the true end, refused, and the session
        # goes on.
        session.expect("MAIL FROM:<a@outside.example>", "250")
        session.expect("RCPT TO:<b@inside.example>", "250")
        session.expect("DATA", "354")
        session.send(b"Subject: x\r\n\r\nab\n.\r\nMAIL FROM:<evil@x>\r\n.\r\n")
        expect(session.reply().startswith("550 5.6.0"), "a bare line feed")
        # Everything of a transaction in one write.
        session.send(b"MAIL FROM:<a@outside.example>\r\n"
                     b"RCPT TO:<b@inside.example>\r\n"
                     b"RCPT TO:<c@inside.example>\r\nDATA\r\n")
        expect_equal([session.reply()[:3] for _ in range(4)],
                     ["250", "250", "250", "354"], "replies to a group")
        session.send(TEXT.replace(b"\r\n.", b"\r\n..") + b".\r\nQUIT\r\n")
        expect(session.reply().startswith("250"), "a pipelined message")
        expect(session.reply().startswith("221"), "QUIT")
        wait_for(lambda: it.server.count(it.maildir) == 3, 20,
                 "three messages\n" + it.server.log_tail())


def test_killed_rooms_come_back():
    with Setting(None) as it:
        s = it.server
        rooms = sorted({name for name in s.pids().values()
                        if name.startswith("smtpd-")})
        expect({"smtpd-queue", "smtpd-receive", "smtpd-relay",
                "smtpd-deliver", "smtpd-lookup", "smtpd-keys"} <= set(rooms),
               "the rooms", rooms)
        tried = []
        for room in rooms:
            for pid in s.room_pids(room):
                os.kill(pid, signal.SIGKILL)
            wait_for(lambda: s.room_pids(room) or
                     room in ("smtpd-auth", "smtpd-agent"), 10,
                     room + " is back")
            wait_for(s.ready, 10, "a banner after " + room)

            def accepted():
                tried.append(room)
                try:
                    it.send("b@inside.example", "c@outside.example")
                    return True
                except Exception:    # 421 and 451 are right while it restarts
                    return False
            wait_for(accepted, 15, "mail accepted after " + room + "\n" +
                     s.log_tail())
        s.wait_empty(60)
        # All that was acknowledged, and of the rest no more than was sent: who
        # hears 451 or nothing while `queue` dies may have been taken.
        for count, where in ((s.count(it.maildir), "in the Maildir"),
                             (it.sink.stats()["messages"], "at the sink")):
            expect(len(rooms) <= count <= len(tried), where,
                   "%d acknowledged, %d sent, %d there" % (
                       len(rooms), len(tried), count))
        s.check_clean()


def test_restart_keeps_the_queue():
    with Setting(None) as it:
        s = it.server
        s.ctl("pause", "mta")
        msgids = {it.send("x%d@outside.example" % i) for i in range(20)}
        s.kill_all()
        s.options = ["-P", "mta"]
        s.start()
        expect_equal({row[0][:8] for row in s.queue()}, msgids,
                     "the queue after kill -9")
        s.ctl("resume", "mta")
        s.wait_empty(30)
        expect_equal(it.sink.stats()["messages"], 20, "at the sink")
        expect_equal(it.sink.stats()["repeated"], 0, "repeated")


def test_sendmail_while_down_goes_offline():
    if os.geteuid() != 0:
        raise Skip("needs root")
    with Setting(None) as it:
        s = it.server
        s.stop()
        run = s.sendmail("-f", "a@outside.example", "b@inside.example",
                         data=b"Subject: later\n\nhello\n", check=False)
        expect_equal(run.returncode, 75, "exit of sendmail while down")
        s.start()
        wait_for(lambda: s.count(it.maildir) == 1, 20,
                 "the offline message\n" + s.log_tail())


def test_nothing_remains_after_the_end():
    with Setting(None) as it:
        everyone = [pid for pid, _, _ in descendants(it.server.process.pid)]
        expect_equal(it.server.stop(), 0, "exit status")
        expect_equal([pid for pid in everyone
                      if os.path.exists("/proc/%d" % pid)], [],
                     "processes left")


if __name__ == "__main__":
    sys.exit(run_tests([
        test_main_job_as_root, test_main_job_as_ordinary_user,
        test_refusal_is_reported_once, test_smtp_dialogue,
        test_killed_rooms_come_back, test_restart_keeps_the_queue,
        test_sendmail_while_down_goes_offline,
        test_nothing_remains_after_the_end]))
