#!/usr/bin/env python3
"""The configurations people start with run unchanged but for paths and ports:
OpenBSD's, as its articles show it, and the one that Debian ships."""
import os
import pwd
import re
import sys

sys.dont_write_bytecode = True
from holdfast import (NOBODY, Server, Skip, Smtp, expect,      # noqa: E402
                      peer, run_tests, wait_for)

OPENBSD = """\
#\t$OpenBSD: smtpd.conf,v 1.14 2019/11/26 20:14:38 gilles Exp $

# This is the smtpd server system-wide configuration file.
# See smtpd.conf(5) for more information.

table aliases file:/etc/mail/aliases

# To accept external mail, replace with: listen on all
#
listen on socket
listen on lo

action "local_mail" mbox alias <aliases>
action "outbound" relay

# Uncomment the following to accept external mail for domain "example.org"
#
# match from any for domain "example.org" action "local_mail"
match for local action "local_mail"
match for any action "outbound"
match from local for local action "local_mail"
match from local for any action "outbound"
"""
TEXT = b"Subject: to root\r\n\r\nBy an alias.\r\n"


def adapt(s, text):
    """Paths and ports only."""
    text = re.sub(r"file:/etc/(mail/)?aliases",
                  "file:%s/aliases" % s.folder, text)
    text = re.sub(r"(?m)^(listen on (?:lo|localhost))$",
                  r"\1 port %d" % s.port, text)
    with open(os.path.join(s.folder, "aliases"), "w") as f:
        f.write("root: nobody\npostmaster: root\n")
    with open(s.conf, "w") as f:
        f.write('spool "%s"\n' % s.spool + text)


def local_and_remote(s, folder):
    """Mail to an alias arrives in `folder`'s files; mail to elsewhere waits."""
    s.start()
    session = Smtp(s.port)
    name = session.banner.split()[1]
    session.expect("EHLO client.example", "250")
    reply = session.message("a@outside.example", ["postmaster@" + name], TEXT)
    expect(reply.startswith("250"), "local mail", reply)
    reply = session.message("a@outside.example", ["x@nowhere.invalid"], TEXT)
    expect(reply.startswith("250"), "mail to elsewhere", reply)
    session.quit()
    wait_for(folder, 20, "local mail\n" + s.log_tail())
    log = s.log_text()
    expect("to=<x@nowhere.invalid>" in log or
           any(row[5] == "x@nowhere.invalid" for row in s.queue()),
           "mail to elsewhere is tried", s.log_tail())
    s.sendmail("-f", "a@outside.example", "root", data=b"Subject: s\n\nhi\n")


def test_openbsd_start():
    if os.geteuid() != 0:
        raise Skip("mbox needs root")
    mbox = "/var/mail/" + NOBODY
    existed = os.path.exists(mbox)
    before = os.path.getsize(mbox) if existed else 0
    s = Server("")
    try:
        adapt(s, OPENBSD)

        def arrived():
            if not os.path.exists(mbox) or os.path.getsize(mbox) <= before:
                return False
            with open(mbox, "rb") as f:
                f.seek(before)
                return b"By an alias." in f.read()
        local_and_remote(s, arrived)
    finally:
        s.close()
        if existed:
            os.truncate(mbox, before)
        elif os.path.exists(mbox):
            os.unlink(mbox)


def test_debian_default():
    if os.geteuid() != 0:
        raise Skip("delivery to a home needs root")
    with open(peer("opensmtpd", "etc/smtpd.conf")) as f:
        text = f.read()
    expect('action "local" maildir alias <aliases>' in text,
           "Debian's configuration is the one that is known", text)
    home = pwd.getpwnam(NOBODY).pw_dir
    s = Server("")
    try:
        adapt(s, text)
        # The user of the alias has a home that can be written.
        user = "holdfast-e2e"
        home = os.path.join(s.folder, "home")
        os.system("useradd --system --home-dir %s --no-create-home "
                  "--shell /usr/sbin/nologin %s" % (home, user))
        entry = pwd.getpwnam(user)
        os.mkdir(home)
        os.chown(home, entry.pw_uid, entry.pw_gid)
        with open(os.path.join(s.folder, "aliases"), "w") as f:
            f.write("root: %s\npostmaster: root\n" % user)
        try:
            local_and_remote(
                s, lambda: os.path.isdir(home + "/Maildir/new") and
                os.listdir(home + "/Maildir/new"))
        finally:
            s.close()
            os.system("userdel " + user)
    finally:
        s.close()


if __name__ == "__main__":
    sys.exit(run_tests([test_openbsd_start, test_debian_default]))
