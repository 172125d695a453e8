#!/usr/bin/env python3
"""What people and their scripts do with sendmail, mailq, newaliases and makemap:
old shell habits, mutt and s-nail sending, maps beside those of Debian's
OpenSMTPD, and what users may and may not do to the offline folder."""
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from holdfast import (NOBODY, Server, Skip, as_user, expect,   # noqa: E402
                      expect_equal, peer, run_tests, tool, wait_for)

CONF = """\
listen on socket
listen on 127.0.0.1 port {port} hostname mx.holdfast.example
table aliases db:{folder}/aliases.db
table boxes { "@" = nobody }
action "box" maildir "{folder}/Maildir" virtual <boxes>
action "names" maildir "{folder}/Maildir" alias <aliases>
action "out" relay host smtp://127.0.0.1:1
match from any for domain "box.example" action "box"
match from any for domain "names.example" action "names"
match from any for domain "far.example" action "out"
"""
LIMIT = 100    # kMaxOfflineFiles


class Place:
    def __init__(self):
        if os.geteuid() != 0:
            raise Skip("needs root")
        self.server = Server(CONF)
        self.maildir = self.server.maildir()
        self.folder = self.server.folder
        self.offline = os.path.join(self.server.spool, "offline")

    def write(self, name, text, mode=0o644):
        path = os.path.join(self.folder, name)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def run(self, words, user=None, check=True, **options):
        run = subprocess.run(
            as_user(user) + words, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=120, text=True, cwd="/",
            env={"PATH": os.path.dirname(tool("sendmail")) +
                 ":/usr/sbin:/usr/bin:/sbin:/bin", "TERM": "dumb",
                 "SMTPD_SPOOL": self.server.spool, "HOME": self.folder},
            **options)
        if check:
            expect_equal(run.returncode, 0, "%s\n%s" % (words, run.stderr))
        return run

    def shell(self, line, **options):
        return self.run(["sh", "-c", line], **options).stdout

    def aliases(self, text="postmaster: nobody\n"):
        self.write("aliases", text)
        self.run([tool("makemap"), "-t", "aliases", self.folder + "/aliases"])

    def start(self):
        if not os.path.exists(self.folder + "/aliases.db"):
            self.aliases()
        self.server.start()
        return self

    def letters(self, count):
        wait_for(lambda: self.server.count(self.maildir) >= count, 30,
                 "%d letters\n%s" % (count, self.server.log_tail()))
        self.server.wait_empty()
        texts = []
        for name in os.listdir(self.maildir + "/new"):
            with open(os.path.join(self.maildir, "new", name)) as f:
                texts.append(f.read())
        expect_equal(len(texts), count, "letters")
        return texts

    def queued(self, count):
        wait_for(lambda: len(self.server.queue()) == count, 20,
                 "%d envelopes" % count)


def test_habits_of_scripts():
    p = Place().start()
    expect_equal(p.shell("mailq | wc -l").strip(), "0", "mailq | wc -l")
    letter = p.write("letter", "From: Ann <ann@box.example>\n"
                     "To: one@far.example, two@far.example\n"
                     "Bcc: three@far.example\nSubject: x\n\nx\n.\ny\n")
    p.shell("sendmail -t < " + letter)
    p.shell("sendmail -t -oi -f bounce@box.example four@far.example < " +
            letter, user=NOBODY)
    p.queued(7)
    expect_equal(p.shell("mailq | wc -l").strip(), "7", "mailq | wc -l")
    expect_equal(p.shell("mailq -v -Ac | wc -l").strip(), "7",
                 "mailq with arguments")
    rows = p.shell("smtpctl show queue | awk -F'|' '{print $2, $3, $5, $6, "
                   "$12}' | sort").splitlines()
    expect_equal(rows, sorted(
        "local mta %s %s@far.example pending" % (sender, to)
        for sender, names in (
            ("ann@box.example", ("one", "two", "three")),
            ("bounce@box.example", ("one", "two", "three", "four")))
        for to in names), "awk")
    ids = p.shell("smtpctl show queue | awk -F'|' '$5 ~ /^bounce@/ {print $1}'"
                  ).split()
    for evpid in ids:
        expect_equal(p.shell("smtpctl remove " + evpid),
                     "1 envelope removed\n", "remove")
    expect_equal(p.shell("mailq | cut -d'|' -f5 | sort -u"),
                 "ann@box.example\n", "what is left")
    p.shell("mailq | cut -c1-8 | sort -u | xargs -n1 smtpctl remove")
    expect_equal(p.shell("mailq"), "", "an empty queue")


def test_who_may_what():
    p = Place().start()
    for words in (["mailq"], ["smtpctl", "show", "queue"],
                  ["smtpctl", "monitor"], ["smtpctl", "pause", "smtp"],
                  ["newaliases", "-f", p.server.conf]):
        run = p.run([tool(words[0])] + words[1:], user=NOBODY, check=False)
        expect_equal((run.returncode, run.stdout, run.stderr),
                     (1, "", words[0] + ": need root privileges\n"),
                     " ".join(words))
    p.server.stop()
    for words, status, text in (
            (["smtpctl", "show", "stats"], 1,
             "smtpctl: smtpd doesn't seem to be running\n"),
            (["smtpctl", "show", "nothing"], 255, None),
            (["smtpctl", "sh", "st"], 255, None),
            (["smtpctl", "sh", "stats", "x"], 255, "invalid command\n"),
            (["smtpctl", "show", "queue"], 0, ""),
            (["mailq"], 0, "")):
        run = p.run([tool(words[0])] + words[1:], check=False)
        expect_equal(run.returncode, status, "exit of " + " ".join(words))
        if text is not None:
            expect_equal(run.stderr, text, " ".join(words))
        else:
            expect(run.stderr.startswith("possibilities are:\nshow "),
                   "possibilities", run.stderr)


USAGE = "usage: sendmail [-tv] [-f from] [-F name] to ...\n"


def test_every_flag():
    """Each option of sendmail: what it does, or that it does no harm."""
    p = Place().start()
    p.server.ctl("pause", "mta")
    letter = "From: Ann <ann@box.example>\nSubject: x\n\nx\n"
    to = ["to@far.example"]

    def send(*words, data=letter, status=0, err=""):
        for row in p.server.queue():
            p.server.ctl("remove", row[0])
        run = p.run([tool("sendmail")] + list(words), check=False, input=data)
        expect_equal((run.returncode, run.stderr), (status, err),
                     "sendmail " + " ".join(words))
        return run.stdout, p.server.queue()

    for words in (["-A", "x"], ["-Ac"], ["-B", "8BITMIME"], ["-B7BIT"],
                  ["-bm"], ["-bs"], ["-bp"], ["-bt"], ["-bd"], ["-b", "m"],
                  ["-E"], ["-Ex"], ["-em"], ["-e", "q"], ["-i"], ["-L", "tag"],
                  ["-Ltag"], ["-m"], ["-o", "i"], ["-oi"], ["-om"], ["-odb"],
                  ["-oem"], ["-oQ/x"], ["-p", "smtp"], ["-x"], ["-S"],
                  ["-im"], ["--"]):
        _, rows = send(*words, *to)
        expect_equal([(r[4], r[5]) for r in rows],
                     [("ann@box.example", "to@far.example")], words)
        if words[0].startswith("-b"):
            out, rows = send(*words, status=70,
                             err="sendmail: no recipients\n")
            expect_equal((out, rows), ("", []), "%s alone" % words)
    for words, sender in ((["-f", "s@h.example"], "s@h.example"),
                          (["-fs@h.example"], "s@h.example"),
                          (["-r", "s@h.example"], "s@h.example"),
                          (["-f", "<s@h.example>"], "s@h.example"),
                          (["-f", ""], "@"), (["-f", "<>"], "@"),
                          (["-r<>"], "@")):
        _, rows = send(*words, *to)
        expect_equal([r[4] for r in rows], [sender], words)
    _, rows = send("-f", "s@h.example", "-F", "A Name", *to,
                   data="Subject: x\n\nx\n")
    text = p.server.ctl("show", "message", rows[0][0])
    expect(re.search(r"^From: \"?A Name\"? <s@h.example>$", text, re.M), "-F",
           text)
    _, rows = send("-t", *to, data="To: a@far.example, B <b@far.example>\n"
                   "Cc: c@far.example\nBcc: d@far.example\n" + letter)
    expect_equal(sorted(r[5] for r in rows),
                 [n + "@far.example" for n in ("a", "b", "c", "d", "to")],
                 "-t")
    out, _ = send("-v", "-N", "success,failure", "-R", "hdrs", "-V", "id1",
                  *to)
    for line in ("<<< 220 ", ">>> EHLO localhost",
                 ">>> MAIL FROM:<ann@box.example> RET=hdrs ENVID=id1",
                 ">>> RCPT TO:<to@far.example> NOTIFY=success,failure",
                 ">>> DATA", ">>> QUIT"):
        expect(line in out, "-v", line, out)
    _, rows = send("-N", "never", "-Rfull", *to)
    text = p.server.ctl("show", "envelope", rows[0][0])
    expect("\ndsn-ret: FULL\n" in text, "-R", text)
    for words in (["-q"], ["-q1h"], ["-qf"], ["-qRfar"]):
        expect(words in (["-q"],) or send(*words, status=70) == ("", []),
               words)
    send("-q", "1h", status=70)
    send("-J", *to, status=1, err=USAGE)
    for letter_ in "CdGhIlnOUXzZ":
        send("-" + letter_, *to, status=1,
             err="sendmail: invalid option -- '%s'\n%s" % (letter_, USAGE))
    for letter_ in "ABbeFfLNoprRV":
        send("-" + letter_, status=1, err="sendmail: option requires an "
             "argument -- '%s'\n%s" % (letter_, USAGE))
    send("-f", "<s@h.example", *to, status=1,
         err="sendmail: leading < but no trailing >\n")
    send("a@@b", status=1, err="sendmail: syntax error in address\n")
    send(status=70, err="sendmail: no recipients\n")
    send("nobody@nowhere@", status=1,
         err="sendmail: syntax error in address\n")
    dead = os.path.join(pwd.getpwuid(0).pw_dir, "dead.letter")
    if os.path.exists(dead):
        os.unlink(dead)
    run = p.run([tool("sendmail"), "x@names.example"], check=False,
                input=letter)
    expect_equal((run.returncode, run.stderr),
                 (70, "sendmail: command failed: 550 Invalid recipient: "
                  "<x@names.example>\n\n"), "refused")
    with open(dead) as f:
        expect(f.read().endswith("\n\nx\n"), "dead.letter")
    os.unlink(dead)

    # By its other name, and as another.
    link = os.path.join(p.folder, "send-mail")
    os.symlink(tool("smtpctl"), link)
    run = p.run([link, "-oi"] + to, input=letter)
    expect_equal(len(p.server.queue()), 1, "send-mail")
    p.write("aliases", "one: nobody\n")
    run = p.run([tool("sendmail"), "-oi", "-bi", "-f", p.server.conf])
    expect_equal(run.stdout, p.folder + "/aliases: 1 aliases\n", "-bi")


def program(package, path):
    """A program of a peer, where users may run it."""
    copy = os.path.join(tempfile.mkdtemp(prefix="holdfast-e2e."),
                        os.path.basename(path))
    shutil.copy2(peer(package, path), copy)
    os.chmod(os.path.dirname(copy), 0o755)
    return copy


def test_mutt_sends():
    mutt = program("mutt", "usr/bin/mutt")
    p = Place().start()
    rc = p.write("muttrc", 'set sendmail="%s -oem -oi"\nset copy=no\n'
                 'set from="Ann <ann@box.example>"\nset use_from=yes\n'
                 'set use_envelope_from=yes\nset realname="Ann"\n'
                 'set charset=utf-8\nset send_charset="utf-8"\n' %
                 tool("sendmail"))
    part = p.write("part", "attached\n")
    p.run([mutt, "-n", "-F", rc, "-s", "Gr\u00fc\u00dfe", "-a", part, "-c",
           "two@box.example", "-b", "three@box.example", "--",
           "one@box.example"], user=NOBODY, input="Text\n.\nmore\n")
    texts = p.letters(3)
    for text in texts:
        expect("Return-Path: <ann@box.example>" in text and
               "Subject: =?utf-8?" in text and "attached" in text and
               "\n.\nmore" in text and "three@" not in
               text.split("Received:", 1)[1].split("\tfor", 1)[0] and
               "\nBcc:" not in text, "what mutt sent", text)
    shutil.rmtree(os.path.dirname(mutt))


def test_s_nail_sends():
    nail = program("s-nail", "usr/bin/s-nail")
    p = Place().start()
    p.run([nail, "-:/", "-S", "mta=" + tool("sendmail"), "-S",
           "from=ann@box.example", "-S", "ttycharset=utf-8", "-s", "a subject",
           "-r", "ann@box.example", "-b", "two@box.example",
           "one@box.example"], user=NOBODY, input="Text\n.\nmore\n")
    for text in p.letters(2):
        expect("Return-Path: <ann@box.example>" in text and
               "Subject: a subject\n" in text and "\nText\n" in text and
               "\nBcc:" not in text, "what s-nail sent", text)
    shutil.rmtree(os.path.dirname(nail))


def their_makemap(p, *words):
    """Debian's, which wants a group of its own."""
    theirs = peer("opensmtpd", "usr/sbin/makemap")
    with open("/etc/group") as f:
        p.write("group", "opensmtpq:x:64994:\n" + f.read())
    with open("/etc/passwd") as f:
        p.write("passwd", "opensmtpd:x:64993:64993::/:/bin/false\n"
                "opensmtpq:x:64994:64994::/:/bin/false\n" +
                f.read())
    run = p.run(["unshare", "-m", "sh", "-c", "mount --make-rprivate / && "
                 "mount --bind %s/group /etc/group && "
                 "mount --bind %s/passwd /etc/passwd && "
                 'exec setpriv --regid 64994 --clear-groups "$@"' %
                 (p.folder, p.folder), "sh", theirs] + list(words),
                check=False)
    if "unshare" in run.stderr or "mount" in run.stderr:
        raise Skip(run.stderr.strip())
    return run


def test_makemap_beside_debians():
    p = Place()
    p.run(["chmod", "777", p.folder])
    many = "".join("User%d: ann%d, b@c.example\n" % (i, i)
                   for i in range(3000))
    for words, text in (
            (["-t", "aliases"], "# x\npostmaster: root\nRoot:\tann, bob\n" +
             many),
            ([], "key value of it\nB.example:x\n\n"),
            (["-t", "set"], "a.example\nB.example\n"),
            (["-d", "btree"], "a b\nc d\n")):
        path = p.write("map", text)
        p.run([tool("makemap")] + words + ["-o", p.folder + "/ours", path])
        run = their_makemap(p, *words, "-o", p.folder + "/theirs", path)
        expect_equal(run.returncode, 0, "theirs\n" + run.stderr)
        kind = words if "-d" in words else []
        dumps = [sorted(p.run([tool("makemap"), "-U"] + kind +
                              [p.folder + "/" + name]).stdout.splitlines())
                 for name in ("ours", "theirs")]
        expect(len(dumps[0]) >= 2, "a dump", dumps[0])
        expect_equal(dumps[0], dumps[1], "%s, dumped by ours" % words)
        theirs = their_makemap(p, "-U", *kind, p.folder + "/ours").stdout
        expect_equal(sorted(theirs.splitlines()), dumps[0],
                     "%s, ours dumped by theirs" % words)
    for words, text in ((["-t", "aliases"], "a: b,,c\n"), ([], "a\n"),
                        ([], "a b\nA c\n"), (["-t", "x"], ""),
                        (["-d", "x"], "")):
        path = p.write("map", text)
        run = p.run([tool("makemap")] + words + [path], check=False)
        theirs = their_makemap(p, *words, path)
        expect_equal((run.returncode, theirs.returncode), (1, 1),
                     "exits for %s %r" % (words, text))
        expect_equal(os.path.exists(path + ".db"), False, "no map")
    run = p.run([tool("makemap"), p.write("map", "")], check=False)
    expect_equal((run.returncode, run.stderr),
                 (0, "makemap: warning: empty map created: %s/map.db\n" %
                  p.folder), "an empty map")
    p.shell("cd %s && echo a: b | makemap hash out" % p.folder)
    expect_equal(p.shell("makemap -U %s/out.db" % p.folder), "a\tb\n",
                 "sendmail's way")


def test_newaliases():
    """The first map needs no map; a running server uses the new one at once."""
    p = Place()
    p.write("aliases", "one: nobody\n")
    run = p.run([tool("newaliases"), "-f", p.server.conf])
    expect_equal((run.stdout, run.stderr),
                 (p.folder + "/aliases: 1 aliases\n", ""), "newaliases")
    p.start()
    p.server.sendmail("one@names.example", data=b"Subject: x\n\nx\n")
    p.letters(1)
    run = p.server.sendmail("two@names.example", data=b"x\n", check=False)
    expect_equal(run.returncode, 70, "unknown as yet")
    p.write("aliases", "one: nobody\ntwo: nobody\n")
    run = p.run([tool("sendmail"), "-bi", "-f", p.server.conf])
    expect_equal(run.stdout, p.folder + "/aliases: 2 aliases\n",
                 "sendmail -bi")
    p.server.sendmail("two@names.example", data=b"Subject: x\n\nx\n")
    p.letters(2)
    with open(p.folder + "/aliases.db", "rb") as f:
        before = f.read()
    p.write("aliases", "one: nobody\nbad: a,,b\n")
    run = p.run([tool("newaliases"), "-f", p.server.conf], check=False)
    expect_equal((run.returncode, run.stderr),
                 (1, "newaliases: %s/aliases:2: invalid entry\n" % p.folder),
                 "a broken file")
    with open(p.folder + "/aliases.db", "rb") as f:
        expect(f.read() == before, "the map stays")
    other = p.write("other", "x: y\n")
    run = p.run([tool("sendmail"), "-bi", "-O", "AliasFile=" + other, "-f",
                 p.server.conf])
    expect_equal(run.stdout, other + ": 1 aliases\n", "AliasFile")


def test_users_and_the_offline_folder():
    """Nobody's file becomes mail but by its owner's sendmail; nobody fills the
    disk."""
    p = Place().start()
    p.server.stop()
    nobody = pwd.getpwnam(NOBODY)
    expect_equal(oct(os.stat(p.offline).st_mode & 0o7777), oct(0o3733), "mode")
    secret = "smtpd-offline-1|nobody@box.example\nSubject: root's\n\nx\n"

    # A file of root's in a folder of a user, who moves it.
    theirs = os.path.join(p.folder, "theirs")
    os.mkdir(theirs)
    os.chown(theirs, nobody.pw_uid, nobody.pw_gid)
    for name, mode in (("1.roots", 0o600), ("1.open", 0o644)):
        with open(os.path.join(theirs, name), "w") as f:
            f.write(secret)
        os.chmod(os.path.join(theirs, name), mode)
        p.run(["mv", os.path.join(theirs, name), p.offline + "/"], user=NOBODY)
    # The same in a folder that has the group because it was made there.
    p.shell("mkdir {0}/d && mv {0}/d {1}/d".format(p.offline, theirs),
            user=NOBODY)
    with open(os.path.join(theirs, "d", "1.group"), "w") as f:
        f.write("root:secret\n" + secret)
    os.chmod(os.path.join(theirs, "d", "1.group"), 0o600)
    p.run(["mv", os.path.join(theirs, "d", "1.group"), p.offline + "/"],
          user=NOBODY)
    # Links to what others own.
    p.shell("ln -s /etc/shadow {0}/1.link; ln {1} {0}/1.hard; true".format(
        p.offline, p.server.conf), user=NOBODY)
    run = p.run(["ls", p.offline], user=NOBODY, check=False)
    expect(run.returncode != 0, "the folder can't be read", run.stdout)
    letters = 30
    for i in range(letters):
        run = p.server.sendmail("good@box.example", user=NOBODY, check=False,
                                data=b"Subject: good\n\nx\n")
        expect_equal((run.returncode, run.stderr), (75, b""), "sendmail")
    mine = [n for n in os.listdir(p.offline) if not n.startswith("1.")]
    expect_equal(len(mine), letters, "left")
    st = os.stat(os.path.join(p.offline, mine[0]))
    expect_equal((st.st_uid, st.st_gid, st.st_mode & 0o7777),
                 (nobody.pw_uid, os.stat(p.offline).st_gid, 0o600), "a file")
    other = p.run(["rm", "-f", os.path.join(p.offline, mine[0])],
                  user="daemon", check=False)
    expect(other.returncode != 0, "another user can't remove it")
    p.server.start()
    texts = p.letters(letters)
    expect(all("root's" not in text for text in texts), "only the good ones")
    for name in ("1.roots", "1.open", "1.group", "1.link"):
        expect(os.path.lexists(os.path.join(p.offline, name)), name)
        expect("offline/%s; smtpctl " % name in p.server.log_text(),
               name + " is named", p.server.log_tail())

    # Too much, too many, and where a scan would not look, while it runs.
    p.shell("cd %s && for i in $(seq %d); do echo junk > 3.$i; done; "
            "truncate -s 0 3.0; mkdir .h .h/i; echo x > .h/i/x; "
            "head -c 110000000 /dev/zero > 3.big" % (p.offline, LIMIT + 50),
            user=NOBODY)
    end = time.monotonic() + 150

    def usage():
        names = os.listdir(p.offline)
        own = [n for n in names if n.startswith("3.")]
        return len(own) <= LIMIT and ".h" not in names and \
            "3.big" not in names
    wait_for(usage, max(1, end - time.monotonic()), "the limits\n" +
             str(sorted(os.listdir(p.offline))[:10]))
    expect(re.search(r"offline: \d+ removed that were uid %d's" %
                     nobody.pw_uid, p.server.log_text()), "a word of it",
           p.server.log_tail())
    p.server.sendmail("good@box.example", user=NOBODY,
                      data=b"Subject: good\n\nx\n")
    p.letters(letters + 1)


if __name__ == "__main__":
    sys.exit(run_tests([value for name, value in list(globals().items())
                        if name.startswith("test_")]))
