#!/usr/bin/env python3
"""Where mail goes: aliases, virtual tables, ~/.forward of users of the system,
included lists, commands and files, SRS there and back, `smtpctl explain`.  Runs
in a mount namespace with users of its own."""
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading

sys.dont_write_bytecode = True
from holdfast import (Server, Smtp, expect, expect_equal,      # noqa: E402
                      free_port, run_tests, tool, wait_for)

USERS = {"joe": 61001, "jim": 61002, "ann": 61003}
HERE = "mx.holdfast.example"
CONF = """\
listen on 127.0.0.1 port {port} hostname %(here)s tag ext
table aliases file:{folder}/aliases
table virt { "ann@v.example" = ann, "far@v.example" = "x@far.example", \
"@v.example" = joe }
srs key sesame
action "local" maildir alias <aliases>
action "virt" maildir virtual <virt>
action "lists" expand-only alias <aliases>
action "fwd" forward-only
action "out" relay host smtp+notls://127.0.0.1:%(sink)d srs
match from any for domain "%(here)s" action "local"
match from any for domain "v.example" action "virt"
match from any for domain "lists.example" action "lists"
match from any for domain "fwd.example" action "fwd"
match from local for any action "out"
"""
ALIASES = """\
boss: manager
manager: joe, jim
crew: :include:{folder}/crew
gone: error:550 5.1.1 gone away
later: error:450 come back
loop1: loop2
loop2: loop1
deep: d1@%(here)s
d1: deep@%(here)s
away: bob@far.example
joe+list: ann
box: {folder}/pub/box
pipe: "|cat > {folder}/pub/piped; id -un >> {folder}/pub/piped"
""" % {"here": HERE}
PROBLEM = "524 5.2.4 Mailing list expansion problem"
PROBLEM_NOW = "424 4.2.4 Mailing list expansion problem"


class Sink:
    """A next hop that remembers (sender, recipients) of each message."""

    def __init__(self):
        self.port = free_port()
        self.got = []
        self.listening = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            connection, _ = self.listening.accept()
            threading.Thread(target=self.serve, args=(connection,),
                             daemon=True).start()

    def serve(self, connection):
        with connection, connection.makefile("rwb", buffering=0) as f:
            f.write(b"220 sink.example\r\n")
            sender, recipients = None, []
            for line in f:
                word = line[:4].upper()
                answer = b"250 ok\r\n"
                if word == b"MAIL":
                    sender = line[line.index(b"<") + 1:line.index(b">")]
                    recipients = []
                elif word == b"RCPT":
                    recipients.append(
                        line[line.index(b"<") + 1:line.index(b">")].decode())
                elif word == b"DATA":
                    f.write(b"354 go on\r\n")
                    for text in f:
                        if text == b".\r\n":
                            break
                    self.got.append((sender.decode(), recipients))
                elif word == b"QUIT":
                    f.write(b"221 bye\r\n")
                    return
                f.write(answer)


class Place:
    def __init__(self):
        self.sink = Sink()
        for name, uid in USERS.items():
            home = self.home(name)
            shutil.rmtree(home, ignore_errors=True)
            os.mkdir(home, 0o700)
            os.chown(home, uid, uid)
        self.server = Server(CONF % {"here": HERE, "sink": self.sink.port})
        self.write("aliases", ALIASES.replace("{folder}", self.server.folder))
        self.write("crew", "# all of them\njoe, jim\nx@far.example\n"
                   "this line # is lost\n")
        pub = os.path.join(self.server.folder, "pub")
        os.mkdir(pub)
        os.chmod(pub, 0o777)
        self.server.start()

    def home(self, name):
        return pwd.getpwnam(name).pw_dir

    def write(self, name, text):
        with open(os.path.join(self.server.folder, name), "w") as f:
            f.write(text)

    def forward(self, user, text, mode=0o644, owner=None):
        path = os.path.join(self.home(user), ".forward")
        if os.path.lexists(path):
            os.unlink(path)
        with open(path, "w") as f:
            f.write(text)
        os.chown(path, USERS[owner or user], USERS[owner or user])
        os.chmod(path, mode)

    def rcpt(self, to, sender="s@sender.example"):
        session = Smtp(self.server.port)
        session.expect("EHLO client.example", "250")
        session.expect("MAIL FROM:<%s>" % sender, "250")
        reply = session.command("RCPT TO:<%s>" % to)
        session.quit()
        return reply

    def send(self, to, sender="s@sender.example"):
        session = Smtp(self.server.port)
        session.expect("EHLO client.example", "250")
        reply = session.message(sender, [to], b"Subject: x\r\n\r\nhello\r\n")
        expect(reply.startswith("250"), "accepted", reply)
        session.quit()
        self.server.wait_empty()

    def boxes(self):
        """How many messages each user has got."""
        return {name: count for name in USERS for count in [self.server.count(
            os.path.join(self.home(name), "Maildir"))] if count}


def logged(p, *lines):
    """A reply may be there before the line that says why."""
    for line in lines:
        wait_for(lambda: line in p.server.log_text(), 10, "logged: " + line)


def refusal(p, to, wanted, **more):
    local = to if "@" in to else "%s@%s" % (to, HERE)
    expect_equal(p.rcpt(local, **more), "%s: <%s>" % (wanted, local), to)


def test_aliases_and_lists():
    p = Place()
    p.send("boss@" + HERE)
    expect_equal(p.boxes(), {"joe": 1, "jim": 1}, "of a chain")
    p.send("crew@" + HERE)
    expect_equal(p.boxes(), {"joe": 2, "jim": 2}, "of a list")
    expect_equal(p.sink.got[-1][1], ["x@far.example"], "relayed of a list")
    p.send("joe+list@" + HERE)
    p.send("joe+other@" + HERE)
    expect_equal(p.boxes(), {"joe": 3, "jim": 2, "ann": 1}, "sub-addresses")
    refusal(p, "gone", "550 5.1.1 gone away")
    refusal(p, "later", "450 come back")
    refusal(p, "loop1", PROBLEM)
    refusal(p, "deep", PROBLEM)
    refusal(p, "nobody-of-that-name", "550 Invalid recipient")
    refusal(p, '"j oe"@' + HERE, "550 Invalid recipient")
    os.unlink(os.path.join(p.server.folder, "crew"))
    refusal(p, "crew", "550 Invalid recipient")
    logged(p, "warn: failed to open include file")
    p.server.check_clean()


def test_virtual():
    p = Place()
    p.send("ann@v.example")
    p.send("Ann+tag@V.example")
    p.send("whoever@v.example")
    expect_equal(p.boxes(), {"ann": 2, "joe": 1}, "users")
    p.send("far@v.example")
    expect_equal(p.sink.got[-1][1], ["x@far.example"], "relayed")


def test_expand_only_and_forward_only():
    p = Place()
    p.send("away@lists.example")
    expect_equal(p.sink.got[-1][1], ["bob@far.example"], "expanded")
    refusal(p, "joe@lists.example", PROBLEM)
    refusal(p, "joe@fwd.example", PROBLEM_NOW)
    p.forward("joe", "joe@far.example\n")
    p.send("joe@fwd.example")
    expect_equal(p.sink.got[-1][1], ["joe@far.example"], "forwarded")
    p.forward("joe", "|/bin/true\n")
    refusal(p, "joe@fwd.example", "451 Temporary failure")


def test_forward():
    p = Place()
    p.forward("joe", "# to my brother\njim\n", mode=0o600)
    p.send("joe@" + HERE)
    expect_equal(p.boxes(), {"jim": 1}, "forwarded")
    p.forward("joe", "\\joe, \\\n  x@far.example\n")
    p.send("joe@" + HERE)
    expect_equal(p.boxes(), {"joe": 1, "jim": 1}, "kept a copy")
    expect_equal(p.sink.got[-1][1], ["x@far.example"], "and sent one")
    # Each names the other: one of them has it.
    p.forward("joe", "jim\n")
    p.forward("jim", "joe\n")
    p.send("joe@" + HERE)
    expect_equal(p.boxes(), {"joe": 1, "jim": 2}, "a loop")
    for text in ("", "# nothing\n", ":include:/etc/passwd\n"):
        p.forward("ann", text)
        p.send("ann@" + HERE)
    expect_equal(p.boxes()["ann"], 3, "nothing in it")
    p.forward("ann", "joe@%s\njim, error:550 moved\n" % HERE)
    refusal(p, "ann", "550 moved")
    p.forward("ann", "this is no list\n")
    refusal(p, "ann", PROBLEM_NOW)
    p.forward("ann", "x@far.example\n" + "#" * 4090)
    refusal(p, "ann", PROBLEM_NOW)
    p.forward("ann", "".join("u%d@far.example\n" % i for i in range(120)))
    refusal(p, "ann", PROBLEM_NOW)
    logged(p, "info: forward file is empty",
           "info: parse error in forward file",
           "info: forward file exceeds max size",
           "info: forward file expanded too many nodes")


def test_forward_that_others_may_write():
    p = Place()
    home = p.home("joe")
    path = os.path.join(home, ".forward")
    for mode in (0o664, 0o646):
        p.forward("joe", "jim\n", mode=mode)
        refusal(p, "joe", PROBLEM)
    p.forward("joe", "jim\n", owner="ann")
    refusal(p, "joe", PROBLEM)
    logged(p, "warn: smtpd: %s: insecure file" % path)
    p.forward("joe", "jim\n")
    os.chmod(home, 0o770)
    refusal(p, "joe", PROBLEM)
    os.chmod(home, 0o1700)
    refusal(p, "joe", PROBLEM_NOW)
    logged(p, "%s is sticky" % home)
    os.chmod(home, 0o700)
    os.unlink(path)
    os.symlink("/etc/passwd", path)
    refusal(p, "joe", PROBLEM)
    logged(p, "cannot follow symbolic links")
    os.unlink(path)
    os.mkfifo(path)
    refusal(p, "joe", PROBLEM)
    # What root alone may read is not read for others.
    os.unlink(path)
    with open(path, "w") as f:
        f.write("jim\n")
    os.chmod(path, 0o600)
    expect(p.rcpt("joe@" + HERE).startswith("4"), "root's file")
    os.unlink(path)
    shutil.rmtree(home)
    expect(p.rcpt("joe@" + HERE).startswith("250"), "without a home")


def test_commands_and_files():
    p = Place()
    home = p.home("joe")
    p.forward("joe", '"|cat > $HOME/piped; id -un >> $HOME/piped", %s/box\n'
              % home)
    p.send("joe+tag@" + HERE)
    with open(os.path.join(home, "piped")) as f:
        piped = f.read()
    expect(piped.startswith("Return-Path: <s@sender.example>\n") and
           piped.endswith("hello\njoe\n"), "a command of joe's", piped)
    with open(os.path.join(home, "box")) as f:
        expect(f.read().startswith("From s@sender.example "), "a file")
    expect_equal(os.stat(os.path.join(home, "box")).st_uid, USERS["joe"],
                 "whose file")
    p.send("pipe@" + HERE)
    p.send("box@" + HERE)
    with open(os.path.join(p.server.folder, "pub/piped")) as f:
        expect(f.read().endswith("hello\n_smtpd\n"), "a command of an alias")
    expect(os.path.exists(os.path.join(p.server.folder, "pub/box")), "a file")
    logged(p, "info: commands executed from aliases run with _smtpd "
           "privileges")


def test_srs():
    p = Place()
    p.send("away@" + HERE, sender="ann@sender.example")
    sender, recipients = p.sink.got[-1]
    expect_equal(recipients, ["bob@far.example"], "forwarded")
    expect(re.fullmatch(r"SRS0=[A-Za-z0-9_-]{4}=[A-Z2-7]{2}="
                        r"sender\.example=ann@" + re.escape(HERE), sender),
           "rewritten", sender)
    # A report comes back.
    p.send(sender, sender="")
    expect_equal(p.sink.got[-1], ("", ["ann@sender.example"]), "returned")
    # Mail that is no report does not; nor do forgeries.
    refusal(p, sender, "550 Invalid recipient")
    forged = sender.replace("=ann@", "=eve@")
    refusal(p, forged, "550 Invalid recipient", sender="")
    logged(p, "SRS failed to decode: " + forged)
    # What is not forwarded keeps its sender.
    p.send("carl@elsewhere.example", sender="ann@sender.example")
    expect_equal(p.sink.got[-1], ("ann@sender.example",
                                  ["carl@elsewhere.example"]), "unchanged")
    # The second forwarder of a chain.
    p.send("away@" + HERE,
           sender="SRS0=abcd=XY=origin.example=dan@first.example")
    expect(re.fullmatch(r"SRS1=....=first\.example==abcd=XY=origin\.example"
                        r"=dan@" + re.escape(HERE), p.sink.got[-1][0]),
           "the second", p.sink.got[-1])


def test_explain():
    p = Place()
    p.forward("joe", "\\joe\njoe@far.example\n")
    before = p.server.ctl("show", "stats")
    text = p.server.ctl("explain", "boss@" + HERE, "from",
                        "ann@sender.example", "via", "ext", "src",
                        "203.0.113.9")
    for part in ("recipient  <boss@%s>\n" % HERE,
                 "    yes    from any", "  user boss\n",
                 "    alias boss: manager\n",
                 "named in the user's own .forward\n",
                 "envelope 1: action \"local\", delivered here to ",
                 "reply: 250 2.1.5 Destination address valid: Recipient ok\n"):
        expect(part in text, part, text)
    # It is what a client would hear.
    for to in ("gone@" + HERE, "loop1@" + HERE, "joe@nowhere.example",
               "joe@" + HERE):
        text = p.server.ctl("explain", to, "src", "127.0.0.1", "from",
                            "s@sender.example")
        expect_equal(text.splitlines()[-1].removeprefix("reply: "),
                     p.rcpt(to).splitlines()[-1], "explain " + to)
    expect_equal(p.boxes(), {}, "nothing was sent")
    expect_equal(p.server.queue(), [], "nothing is queued")
    expect("scheduler.delivery" not in before, "no delivery before")
    for words in (["explain"], ["explain", "joe", "why"],
                  ["explain", "joe", "via", "nowhere"]):
        run = subprocess.run(
            [tool("smtpctl"), "--spool", p.server.spool] + words,
            capture_output=True, timeout=60)
        expect(run.returncode != 0 and run.stderr, "a mistake is an error",
               run)


def enter():
    """Runs this script again in a mount namespace of its own."""
    if os.geteuid() != 0 or subprocess.run(
            ["unshare", "-m", "true"]).returncode != 0:
        print("SKIP test_expansion.py: needs root and namespaces")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HOLDFAST_INSIDE"] = folder
        return subprocess.run(["unshare", "-m", sys.executable] +
                              sys.argv).returncode


def furnish(folder):
    """Our users beside those of the system."""
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    os.chmod(folder, 0o755)
    for name, line in (("passwd", "%s:x:%d:%d::%s/%s:/bin/sh\n"),
                       ("group", "%s:x:%d:\n")):
        path = os.path.join(folder, name)
        shutil.copyfile("/etc/" + name, path)
        os.chmod(path, 0o644)
        with open(path, "a") as f:
            for user, uid in USERS.items():
                f.write(line % ((user, uid, uid, folder, user)
                                if name == "passwd" else (user, uid)))
        subprocess.run(["mount", "--bind", path, "/etc/" + name], check=True)


if __name__ == "__main__":
    if "HOLDFAST_INSIDE" not in os.environ:
        sys.exit(enter())
    furnish(os.environ["HOLDFAST_INSIDE"])
    sys.exit(run_tests([value for name, value in list(globals().items())
                        if name.startswith("test_")]))
