#!/usr/bin/env python3
"""Local mail as three articles set it up (testdata/config/ok/article-*), from
sendmail to programs that read it: cron's mail and root's alias, an mbox read by
s-nail, a Maildir read by mutt, procmail as `mda`, `virtual` with a catch-all
and with lists.  Runs in a mount namespace with users and a mail folder of its
own."""
import mailbox
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from holdfast import (NOBODY, Server, Skip, Smtp, expect,      # noqa: E402
                      expect_equal, peer, run_tests, wait_for)

USERS = {"foo": 64970, "bar": 64971}
MAIL = "/var/mail"
CRON = b"""\
Subject: Cron <root@mx> run-parts
To: root
Auto-Submitted: auto-generated

From the daily jobs
.
done
"""


def home(user):
    return os.path.join(os.environ["HOLDFAST_INSIDE"], "home", user)


class Place:
    def __init__(self, rules, aliases=""):
        for name in os.listdir(MAIL):
            subprocess.run(["rm", "-rf", os.path.join(MAIL, name)], check=True)
        for user, number in USERS.items():
            subprocess.run(["rm", "-rf", home(user)], check=True)
            os.makedirs(home(user), 0o700)
            os.chown(home(user), number, number)
        self.server = Server(
            "listen on socket\nlisten on 127.0.0.1 port {port} hostname "
            "mx.holdfast.example\ntable aliases file:{folder}/aliases\n" +
            rules)
        with open(os.path.join(self.server.folder, "aliases"), "w") as f:
            f.write(aliases)
        self.server.start()

    def smtp(self, to, text=b"Subject: x\r\n\r\nText\r\n"):
        session = Smtp(self.server.port)
        session.expect("EHLO client.example", "250")
        reply = session.message("s@out.example", [to], text)
        session.quit()
        return reply

    def delivered(self, count):
        def all_of_them():
            return re.findall(r" mda delivery .* user=(\S+) .* result=Ok "
                              "stat=Delivered$", self.server.log_text(), re.M)
        wait_for(lambda: len(all_of_them()) >= count, 30,
                 "%d deliveries\n%s" % (count, self.server.log_tail()))
        return sorted(all_of_them())

    def write(self, user, name, text):
        path = os.path.join(home(user), name)
        with open(path, "w") as f:
            f.write(text)
        os.chown(path, USERS[user], USERS[user])


def as_user(user, words, **options):
    return subprocess.run(
        ["setpriv", "--reuid", user, "--regid", user, "--init-groups"] + words,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
        env={"HOME": home(user), "PATH": "/usr/bin:/bin", "TERM": "vt100",
             "USER": user, "LOGNAME": user}, **options)


def test_cron_and_the_alias_of_root():
    """Arch, "Local mail only"; OpenBSD, the alias of root."""
    p = Place('action "local" mbox alias <aliases>\n'
              'match for local action "local"\n', "root: foo\n")
    p.server.sendmail("-FCronDaemon", "-i", "-odi", "-oem", "-oi", "-t",
                      data=CRON)
    p.server.sendmail("-i", "bar", data=b"Subject: second\n\nx\n", user=NOBODY)
    expect_equal(p.delivered(2), ["bar", "foo"], "users")
    box = mailbox.mbox(os.path.join(MAIL, "foo"))
    expect_equal(len(box), 1, "messages")
    expect_equal(box[0]["Subject"], "Cron <root@mx> run-parts", "subject")
    expect(box[0].get_payload().rstrip("\n").endswith(
        ">From the daily jobs\n.\ndone"), "text", box[0].get_payload())
    p.server.wait_empty()


def test_mbox_by_s_nail():
    nail = os.path.join(os.environ["HOLDFAST_INSIDE"], "s-nail")
    shutil.copy2(peer("s-nail", "usr/bin/s-nail"), nail)
    p = Place('action "local" mbox alias <aliases>\n'
              'match for local action "local"\n')
    for i in range(3):
        p.server.sendmail("-i", "foo", data=b"Subject: number %d\n\nFrom a\n\n"
                          b"From b\n" % i, user=NOBODY)
    p.delivered(3)
    box = os.path.join(MAIL, "foo")
    shown = as_user("foo", [nail, "-:/", "-R", "-H", "-f", box],
                    stdin=subprocess.DEVNULL).stdout.decode()
    for i in range(3):
        expect("number %d" % i in shown, "headers", shown)
    expect_equal(shown.count("number"), 3, "headers in\n" + shown)
    shown = as_user("foo", [nail, "-:/", "-R", "-f", box],
                    input=b"print 2\nexit\n").stdout.decode()
    expect("From a" in shown and "From b" in shown and "number 1" in shown,
           "a letter", shown)


def mutt(maildir, out):
    """Opens a Maildir, as its reader, and pipes all of it to a file."""
    # Its own place is closed to users.
    program = os.path.join(os.environ["HOLDFAST_INSIDE"], "mutt")
    shutil.copy2(peer("mutt", "usr/bin/mutt"), program)
    rc = os.path.join(home("foo"), "muttrc")
    with open(rc, "w") as f:
        f.write("set folder=~\nset wait_key=no\nset pipe_split=no\nset quit=yes\n"
                "set mark_old=no\nset confirmappend=no\n"
                'folder-hook . \'push "<tag-pattern>~A<enter><tag-prefix>'
                "<pipe-message>cat > %s<enter><exit>\"'\n" % out)
    pid, terminal = pty.fork()
    if pid == 0:
        os.setgid(USERS["foo"])
        os.setuid(USERS["foo"])
        os.execve(program, [program, "-n", "-R", "-F", rc, "-f", maildir],
                  {"HOME": home("foo"), "TERM": "vt100",
                   "PATH": "/usr/bin:/bin"})
    shown = b""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                shown += os.read(terminal, 65536)
            except OSError:
                break
    else:
        os.kill(pid, 9)
    os.waitpid(pid, 0)
    os.close(terminal)
    expect(os.path.exists(out), "mutt's output", shown[-2000:])
    with open(out, "rb") as f:
        return f.read()


def test_maildir_by_mutt():
    """Arch: a Maildir where most mail programs look for mail."""
    p = Place('action "local" maildir "%s/%%{rcpt.user}" alias <aliases>\n'
              'match for local action "local"\n' % MAIL)
    for i in range(3):
        p.server.sendmail("-i", "foo", data=b"Subject: number %d\n\n.text %d\n"
                          % (i, i), user=NOBODY)
    p.delivered(3)
    text = mutt(os.path.join(MAIL, "foo"), os.path.join(home("foo"), "out"))
    for i in range(3):
        expect(b"Subject: number %d\n" % i in text and
               b".text %d\n" % i in text, "what mutt reads", text)


def test_procmail():
    """Arch: procmail as `mda`, with a catch-all."""
    if not os.path.exists("/usr/bin/procmail"):
        raise Skip("no procmail")
    p = Place('action "local" mda "procmail -f -" virtual <aliases>\n'
              'match from any for any action "local"\n', "@ foo\n")
    p.write("foo", ".procmailrc", "MAILDIR=$HOME/Mail\nDEFAULT=$MAILDIR/in/\n"
            ":0\n* ^Subject: list\nlist/\n"
            ":0\n* ^Subject: refuse\n{\nEXITCODE=67\nHOST\n}\n"
            ":0\n* ^Subject: later\n{\nEXITCODE=75\nHOST\n}\n")
    os.mkdir(os.path.join(home("foo"), "Mail"), 0o700)
    os.chown(os.path.join(home("foo"), "Mail"), USERS["foo"], USERS["foo"])
    for subject in (b"plain", b"list", b"refuse", b"later"):
        expect(p.smtp("any%s@some.example" % subject.decode(),
                      b"Subject: %s\r\n\r\n.x\r\nFrom y\r\n" %
                      subject).startswith("250"), "accepted")
    expect_equal(p.delivered(2), ["foo", "foo"], "users")
    for folder, subject in (("in", b"plain"), ("list", b"list")):
        new = os.path.join(home("foo"), "Mail", folder, "new")
        (name,) = os.listdir(new)
        with open(os.path.join(new, name), "rb") as f:
            text = f.read()
        expect(b"Subject: %s\n" % subject in text and
               text.endswith(b"\n\n.x\nFrom y\n") and
               b"Return-Path: <s@out.example>\n" in text and
               b"Delivered-To: any%s@some.example\n" % subject in text,
               folder, text)
    wait_for(lambda: len(re.findall(r"result=(?:PermFail|TempFail)",
                                    p.server.log_text())) >= 2, 30, "failures")
    log = p.server.log_text()
    expect(re.search(r"to=<anyrefuse@some.example> .*result=PermFail "
                     r"stat=Error \(user unknown: ", log), "67", log[-2000:])
    expect(re.search(r"to=<anylater@some.example> .*result=TempFail "
                     r"stat=Error \(temporary failure: ", log), "75",
           log[-2000:])


def test_virtual_users_with_lists():
    """Ubuntu: <vdoms> and <vusers>, with lists and a catch-all."""
    p = Place('table vdoms { "one.example", "two.example" }\n'
              'action receive mbox virtual <aliases>\n'
              'match from any for domain <vdoms> action receive\n',
              "list@one.example foo, bar\n"
              "all@one.example list@one.example, foo@two.example\n"
              "foo@two.example foo\n"
              "@two.example bar\n")
    for to, users in (("list@one.example", ["bar", "foo"]),
                      ("all@one.example", ["bar", "foo", "foo"]),
                      ("foo@two.example", ["foo"]),
                      ("whoever@two.example", ["bar"])):
        before = len(p.delivered(0))
        expect(p.smtp(to).startswith("250"), "accepted", to)
        after = p.delivered(before + len(users))
        expect_equal(len(after), before + len(users), to)
    expect_equal(p.delivered(7), ["bar"] * 3 + ["foo"] * 4, "users")
    session = Smtp(p.server.port)
    session.expect("EHLO client.example", "250")
    session.expect("MAIL FROM:<s@out.example>", "250")
    session.expect("RCPT TO:<nobody@one.example>", "5")
    session.quit()
    p.server.wait_empty()


def test_nothing_of_a_message_is_run():
    """CVE-2020-7247 and its kin: through MAIL, RCPT, aliases, ~/.forward."""
    p = Place('action "mda" mda "cat > /dev/null; echo %{sender} '
              '%{rcpt.user:raw} >> $HOME/said" virtual <aliases>\n'
              'action "pipe" maildir alias <aliases>\n'
              'match from any for domain "mda.example" action "mda"\n'
              'match from any for local action "pipe"\n',
              "@ foo\npiped: \"|cat > /dev/null; echo %{sender} %{rcpt}\"\n")
    p.write("bar", ".forward", "|cat > /dev/null; echo %{sender} "
            "%{rcpt.user} >> said\n")
    made = os.path.join(home("foo"), "made"), os.path.join(home("bar"), "made")
    parts = [part.replace("%", run) for run in
             ["touch${IFS}%s" % path for path in made] +
             ["touch %s" % path for path in made]
             for part in (";%;", "$(%)", "`%`", "|%|", "&%&", "'$(%)'",
                          "\\\";%;\\\"", "x;%;#", "\\$(%)")]
    answers = set()
    for part in parts:
        quoted = '"%s"' % part
        for sender, to in (
                ("<%s>" % part, "<foo@mda.example>"),
                ("<%s@out.example>" % quoted, "<foo@mda.example>"),
                ("<%s@out.example>" % quoted, "<bar@localhost>"),
                ("<s@out.example>", "<%s@mda.example>" % quoted),
                ("<s@out.example>", "<%s@mda.example>" % part),
                ("<s@out.example>", "<bar+%s@localhost>" % part)):
            session = Smtp(p.server.port)
            session.expect("EHLO client.example", "250")
            answer = session.command("MAIL FROM:" + sender)
            if answer.startswith("250"):
                answer = session.command("RCPT TO:" + to)
            if answer.startswith("250"):
                session.expect("DATA", "354")
                answer = session.command("Subject: x\r\n\r\n%s\r\n." % part)
                expect(answer.startswith("250"), "accepted", answer)
            answers.add(answer[:3])
            session.quit()
    expect("250" in answers and "553" in answers or "501" in answers,
           "some are mail, some are not", answers)
    p.server.wait_empty(120)
    for path in made:
        expect(not os.path.exists(path), "something was run", path)
    expect(os.path.exists(os.path.join(home("foo"), "said")), "mda was run")
    expect(os.path.exists(os.path.join(home("bar"), "said")), ".forward")


def enter():
    """Runs this script again in a mount namespace of its own."""
    if os.geteuid() != 0 or subprocess.run(
            ["unshare", "-m", "true"]).returncode != 0:
        print("SKIP test_local.py: needs root and namespaces")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        os.environ["HOLDFAST_INSIDE"] = folder
        return subprocess.run(["unshare", "-m", sys.executable] +
                              sys.argv).returncode


def furnish(folder):
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    for kind in ("passwd", "group"):
        with open("/etc/" + kind) as f:
            text = f.read()
        for name, number in USERS.items():
            text += "%s:x:%d:" % (name, number) + (
                "\n" if kind == "group" else
                "%d::%s:/bin/sh\n" % (number, home(name)))
        path = os.path.join(folder, kind)
        with open(path, "w") as f:
            f.write(text)
        subprocess.run(["mount", "--bind", path, "/etc/" + kind], check=True)
    mail = os.path.join(folder, "mail")
    os.makedirs(mail)
    os.makedirs(os.path.join(folder, "home"))
    subprocess.run(["chgrp", "mail", mail], check=True)
    # As Maildirs there are made by their users, everybody may.
    os.chmod(mail, 0o3777)
    subprocess.run(["mount", "--bind", mail, MAIL], check=True)


if __name__ == "__main__":
    if "HOLDFAST_INSIDE" not in os.environ:
        sys.exit(enter())
    furnish(os.environ["HOLDFAST_INSIDE"])
    sys.exit(run_tests([value for name, value in list(globals().items())
                        if name.startswith("test_")]))
