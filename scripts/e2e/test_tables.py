#!/usr/bin/env python3
"""Tables in the built programs: every backend and kind of comparison, db files
made by Debian's makemap, what `smtpctl update table` does to good, broken and
secret files, a million entries, and users who are in a table only."""
import contextlib
import os
import socket
import subprocess
import sys
import time

sys.dont_write_bytecode = True
from holdfast import (Blackhole, Server, Skip, Smtp,   # noqa: E402
                      expect, expect_equal, peer, run_tests, tool, wait_for)

HEAD = "listen on 127.0.0.1 port {port} hostname mx.holdfast.example\n"
TEXT = b"Subject: x\r\n\r\nA line.\r\n"
VUID, VGID = 64777, 64778    # nobody's in the system
MILLION = 1000000
# The same client may well ask for ten thousand strangers.
MANY = "smtp limit max-bad-rcpt 0\nsmtp limit max-rcpt 100000\n"


def as_root(test):
    def run():
        if os.geteuid() != 0:
            raise Skip("needs root")
        test()
    run.__name__ = test.__name__
    return run


def write(path, text, mode=0o644):
    """In one step, as an editor or makemap would."""
    with open(path + ".new", "w") as f:
        f.write(text)
    os.chmod(path + ".new", mode)
    os.rename(path + ".new", path)


def makemap(source, target):
    """OpenSMTPD's own, in a namespace where it has its group."""
    program = peer("opensmtpd", "usr/sbin/makemap")
    group = target + ".group"
    with open("/etc/group") as f:
        lines = [line for line in f if not line.startswith("opensmtpq:")]
    with open(group, "w") as f:
        f.write("".join(lines) + "opensmtpq:x:64994:\n")
    run = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-ec",
         "mount --bind %s /etc/group; exec setpriv --egid 64994 "
         "--keep-groups %s -o %s %s" % (group, program, target, source)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    expect_equal(run.returncode, 0, "makemap: %s" % run.stdout)


def update(server, name):
    """(exit status, standard output, standard error) of `update table`."""
    run = subprocess.run(
        [tool("smtpctl"), "--spool", server.spool, "update", "table", name],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, timeout=120)
    return run.returncode, run.stdout.decode(), run.stderr.decode()


class From(Smtp):
    """A client with an address of its own."""

    def __init__(self, port, source):
        self.socket = socket.create_connection(
            ("127.0.0.1", port), 60, source_address=(source, 0))
        self.file = self.socket.makefile("rb")
        self.banner = self.reply()


def answers(server, *recipients, sender="a@out.example", source="127.0.0.1"):
    """The first three digits of each RCPT's reply."""
    with contextlib.closing(From(server.port, source)) as client:
        client.expect("EHLO client.example", "250")
        client.expect("MAIL FROM:<%s>" % sender, "250")
        return [client.command("RCPT TO:<%s>" % r)[:3] for r in recipients]


def send(server, recipient):
    with contextlib.closing(Smtp(server.port)) as client:
        client.expect("EHLO client.example", "250")
        reply = client.message("a@out.example", [recipient], TEXT)
        expect(reply.startswith("250"), "accepted", reply)


def resident(pid):
    with open("/proc/%d/status" % pid) as f:
        for line in f:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) << 10
    return 0


@as_root
def test_db_aliases():
    server = Server(HEAD + """\
table aliases db:{folder}/aliases.db
action "box" maildir "{folder}/Maildir" alias <aliases>
match from any for domain "db.example" action "box"
""")
    maildir = server.maildir()
    source = os.path.join(server.folder, "aliases")
    db = source + ".db"
    # A value that does not fit on one page, too.
    write(source, "Joe: nobody\nteam: %s\n" %
          ", ".join(["nobody"] * 150 + ["joe"]))
    makemap(source, db)
    os.chmod(db, 0o600)    # only root may read it
    server.start()
    expect_equal(answers(server, "joe@db.example", "JOE@db.example",
                         "team@db.example", "jim@db.example"),
                 ["250", "250", "250", "550"], "aliases of the db")
    send(server, "joe@db.example")
    wait_for(lambda: server.count(maildir) == 1, 20, "delivered")

    # makemap puts a new file in the place of the old one; nobody is told.
    write(source, "jim: nobody\n")
    makemap(source, db)
    wait_for(lambda: answers(server, "jim@db.example", "joe@db.example") ==
             ["250", "550"], 20, "the new file is used")

    # Half of it: the old contents stay.
    with open(db, "rb") as f:
        data = f.read()
    with open(db + ".new", "wb") as f:
        f.write(data[:len(data) // 2])
    os.rename(db + ".new", db)
    wait_for(lambda: "its old contents stay" in server.log_text(), 20,
             "a line about the broken file")
    expect_equal(answers(server, "jim@db.example"), ["250"], "the old contents")
    status, out, error = update(server, "aliases")
    expect_equal((status, out), (1, "command failed\n"), "update")
    expect("aliases.db: damaged Berkeley DB file: shorter than it says" in
           error, "why", error)
    # A lookup that starts again has what was good, not what is there now.
    lookup = server.room_pids("smtpd-lookup")[0]
    os.kill(lookup, 9)
    wait_for(lambda: server.room_pids("smtpd-lookup") not in ([], [lookup]),
             20, "another lookup")
    wait_for(lambda: answers(server, "jim@db.example") == ["250"], 20,
             "still the old contents")
    makemap(source, db)
    expect_equal(update(server, "aliases")[0], 0, "the good file again")


@as_root
def test_update():
    server = Server(HEAD + """\
table domains file:{folder}/domains
table secret file:{folder}/secret
table inline { "inline.example" }
table users getpwnam
action "box" maildir "{folder}/Maildir" user nobody userbase <users>
match from any for domain <domains> action "box"
match from any for domain <secret> action "box"
match from any for domain <inline> action "box"
""")
    domains = os.path.join(server.folder, "domains")
    secret = os.path.join(server.folder, "secret")
    write(domains, "one.example\n")
    write(secret, "hidden.example\n", 0o600)
    server.start()
    asked = ["nobody@one.example", "nobody@two.example",
             "nobody@hidden.example", "nobody@other.example"]
    expect_equal(answers(server, *asked), ["250", "550", "250", "550"],
                 "at the start")
    write(domains, "two.example\n")
    expect_equal(answers(server, *asked), ["250", "550", "250", "550"],
                 "nothing is read without being told")
    expect_equal(update(server, "domains"), (0, "command succeeded\n", ""),
                 "update")
    expect_equal(answers(server, *asked), ["550", "250", "250", "550"],
                 "the new domains")
    write(secret, "other.example\n", 0o600)
    expect_equal(update(server, "secret")[0], 0, "only root may read it")
    expect_equal(answers(server, *asked), ["550", "250", "550", "250"],
                 "the new secret")
    expect('info: Table "secret" successfully updated' in server.log_text(),
           "a line about it", server.log_tail())

    for text, why in (("a: b\nbroken\n", ":2 invalid map entry"),
                      (None, ": No such file or directory")):
        if text is None:
            os.unlink(domains)
        else:
            write(domains, text)
        status, out, error = update(server, "domains")
        expect_equal((status, out), (1, "command failed\n"), "update")
        expect_equal(error, "smtpctl: %s%s\n" % (domains, why), "why")
        expect_equal(answers(server, *asked), ["550", "250", "550", "250"],
                     "the old domains")
    expect('info: Failed to update table "domains"' in server.log_text(),
           "a line about it", server.log_tail())
    for name, why in (("inline", 'table "inline" is not in a file of its own'),
                      ("users", 'table "users" is not in a file of its own'),
                      ("none", "no such table: none")):
        status, _, error = update(server, name)
        expect_equal((status, error), (1, "smtpctl: %s\n" % why), name)
    # While lookup is away, and after it is back.
    write(domains, "three.example\n")
    lookup = server.room_pids("smtpd-lookup")[0]
    os.kill(lookup, 9)
    wait_for(lambda: update(server, "domains")[0] == 0, 20, "update")
    wait_for(lambda: answers(server, "nobody@three.example") == ["250"], 20,
             "the new domains")


@as_root
def test_update_of_bad_aliases():
    """An address that is none is an error with its line, and never somebody
    else; the old aliases stay."""
    server = Server(HEAD + """\
table aliases file:{folder}/aliases
action "box" maildir "{folder}/Maildir" alias <aliases>
match from any for domain "a.example" action "box"
""")
    aliases = os.path.join(server.folder, "aliases")
    write(aliases, "postmaster: nobody\njoe: nobody\n")
    server.start()
    write(aliases, "postmaster: nobody\n\njim: nobody@out_side.example\n")
    status, out, error = update(server, "aliases")
    expect_equal((status, out), (1, "command failed\n"), "update")
    expect_equal(error, "smtpctl: %s:3: invalid entry for jim\n" % aliases,
                 "why")
    expect_equal(answers(server, "joe@a.example", "jim@a.example"),
                 ["250", "550"], "the old aliases")


@as_root
def test_a_million_entries():
    server = Server(HEAD + MANY + """\
table big file:{folder}/big
action "box" maildir "{folder}/Maildir" user nobody
match from any for domain <big> action "box"
""")
    big = os.path.join(server.folder, "big")
    write(big, "".join("%sd%d.example\n" % ("*." if i % 10 == 0 else "", i)
                       for i in range(MILLION)))
    begin = time.monotonic()
    server.start(wait=60)
    seconds = time.monotonic() - begin
    expect_equal(
        answers(server, "nobody@d1.example", "nobody@d999999.example",
                "nobody@mx.d999990.example", "nobody@d999990.example",
                "nobody@d1000001.example", "nobody@a.mx.d10.example"),
        ["250", "250", "250", "550", "550", "550"], "domains")
    lookup = server.room_pids("smtpd-lookup")[0]
    memory = resident(lookup)
    parent = resident(server.process.pid)
    print("     started in %.1f s; lookup %d MB, parent %d MB" %
          (seconds, memory >> 20, parent >> 20))
    expect(memory < 150 << 20, "memory of lookup", memory)
    write(big, "new.example\n" + "".join("e%d.example\n" % i
                                         for i in range(MILLION)))
    with contextlib.closing(Smtp(server.port)) as client:
        client.expect("EHLO client.example", "250")
        client.expect("MAIL FROM:<a@out.example>", "250")
        update_run = subprocess.Popen(
            [tool("smtpctl"), "--spool", server.spool, "update", "table",
             "big"], stdout=subprocess.DEVNULL)
        worst = 0
        while update_run.poll() is None:
            begin = time.monotonic()
            client.expect("RCPT TO:<nobody@none.example>", "550")
            worst = max(worst, time.monotonic() - begin)
        expect_equal(update_run.returncode, 0, "update")
        print("     slowest answer while it was read again: %.0f ms" %
              (worst * 1000))
        client.expect("RCPT TO:<nobody@new.example>", "250")
        client.expect("RCPT TO:<nobody@d1.example>", "550")


@as_root
def test_users_of_a_table():
    server = Server(HEAD + """\
table vusers file:{folder}/vusers
table vdb db:{folder}/vdb.db
table vdoms { "virtual.example" }
action "v" maildir userbase <vusers>
action "d" maildir "~/Mail" userbase <vdb>
match from any for domain <vdoms> action "v"
match from any for domain "db.example" action "d"
""")

    def home(name):
        path = os.path.join(server.folder, "homes", name)
        os.makedirs(path)
        os.chown(path, VUID, VGID)
        return path

    def delivered(folder):
        new = os.path.join(folder, "new")
        files = os.listdir(new) if os.path.isdir(new) else []
        return [os.stat(os.path.join(new, name)) for name in files]

    vusers = os.path.join(server.folder, "vusers")
    vdb = os.path.join(server.folder, "vdb")
    line = "%s %d:%d:" % ("%s", VUID, VGID)
    joe, jim = home("joe"), home("jim")
    write(vusers, line % "joe" + joe + "\nroot 0:0:/root\nbad 1:x:/\n", 0o600)
    write(vdb, line % "dora" + jim + "\n")
    makemap(vdb, vdb + ".db")
    server.start()
    expect_equal(answers(server, "joe@virtual.example", "JOE@virtual.example",
                         "joe+tag@virtual.example", "nobody@virtual.example",
                         "bad@virtual.example", "dora@db.example",
                         "joe@db.example"),
                 ["250", "250", "250", "550", "451", "250", "550"],
                 "who is a user")
    send(server, "joe@virtual.example")
    found = wait_for(lambda: delivered(os.path.join(joe, "Maildir")), 20,
                     "delivered below the user's home")
    expect_equal([(s.st_uid, s.st_gid) for s in found], [(VUID, VGID)],
                 "owner")
    send(server, "dora@db.example")
    found = wait_for(lambda: delivered(os.path.join(jim, "Mail")), 20,
                     "delivered to the user of the db")
    expect_equal([(s.st_uid, s.st_gid) for s in found], [(VUID, VGID)],
                 "owner")
    # The table may not make anybody root.
    send(server, "root@virtual.example")
    wait_for(lambda: " result=PermFail" in server.log_text(), 20,
             "no Maildir as root")
    # A user who comes with an update gets mail, for parent knows him, too.
    jack = home("jack")
    write(vusers, line % "jack" + jack + "\n", 0o600)
    expect_equal(update(server, "vusers")[0], 0, "update")
    expect_equal(answers(server, "jack@virtual.example", "joe@virtual.example"),
                 ["250", "550"], "who is a user now")
    send(server, "jack@virtual.example")
    wait_for(lambda: delivered(os.path.join(jack, "Maildir")), 20, "delivered")


@as_root
def test_comparisons():
    server = Server(HEAD + """\
table nets file:{folder}/nets
table people file:{folder}/people
table froms { "@good.example", "boss@*.example" }
table patterns file:{folder}/patterns
action "box" maildir "{folder}/Maildir" user nobody
match from src <nets> for domain "net.example" action "box"
match from any for domain "people.example" rcpt-to <people> action "box"
match from any for domain "sender.example" mail-from <froms> action "box"
match from any for domain "regex.example" mail-from regex <patterns> \\
    action "box"
match from any for domain "user.example" action "box"
""")
    write(os.path.join(server.folder, "nets"),
          "192.0.2.0/24\n127.0.0.8/30\n[2001:db8::/32]\n10\n")
    write(os.path.join(server.folder, "people"),
          "nobody@people.example\npostmaster\nroot@*.example\n")
    write(os.path.join(server.folder, "patterns"), "^\\S+@Any\\.\n^@$\n(\n")
    server.start()
    net = "nobody@net.example"
    for source, code in (("127.0.0.1", "550"), ("127.0.0.7", "550"),
                         ("127.0.0.8", "250"), ("127.0.0.11", "250"),
                         ("127.0.0.12", "550")):
        expect_equal(answers(server, net, source=source), [code], source)
    expect_equal(
        answers(server, "nobody@people.example", "nobody+x@people.example",
                "root@people.example", "daemon@people.example"),
        ["250", "250", "250", "550"], "mailaddr of recipients")
    for sender, code in (("x@good.example", "250"), ("boss@a.example", "250"),
                         ("boss@a.b.example", "550"), ("x@bad.example", "550")):
        expect_equal(answers(server, "nobody@sender.example", sender=sender),
                     [code], sender)
    for sender, code in (("x@any.example", "250"), ("x@many.example", "550"),
                         ("", "250")):
        expect_equal(answers(server, "nobody@regex.example", sender=sender),
                     [code], "<%s>" % sender)
    expect_equal(answers(server, "nobody@user.example", "none@user.example"),
                 ["250", "550"], "getpwnam")


@as_root
def test_smarthost_moves():
    """What queue and relay see of a table follows an update, too."""
    server = Server(HEAD + """\
table hosts file:{folder}/hosts
action "out" relay host <hosts>
match from any for any action "out"
""")
    hosts = os.path.join(server.folder, "hosts")
    first = Blackhole(server.folder, name="first")
    second = Blackhole(server.folder, name="second")
    write(hosts, "# @list\nsmtp+notls://127.0.0.1:%d\n" % first.port)
    server.start()

    def got(sink):
        with open(sink.ledger, "rb") as f:
            return len(f.readlines())
    send(server, "a@far.example")
    wait_for(lambda: got(first) == 1, 20, "the first smarthost")
    write(hosts, "# @list\nsmtp+notls://127.0.0.1:%d\n" % second.port)
    expect_equal(update(server, "hosts")[0], 0, "update")
    send(server, "b@far.example")
    wait_for(lambda: got(second) == 1, 20, "the second smarthost")
    expect_equal(got(first), 1, "mail at the first")


if __name__ == "__main__":
    sys.exit(run_tests([value for name, value in list(globals().items())
                        if name.startswith("test_")]))
