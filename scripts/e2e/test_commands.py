#!/usr/bin/env python3
"""Deliveries by commands and into files: `mda`, wrappers, "|command" and
"/file" of aliases, and what becomes of their ends."""
import os
import re
import sys

sys.dont_write_bytecode = True
from holdfast import (Server, Skip, Smtp, expect, expect_equal,  # noqa: E402
                      run_tests, wait_for)

CONF = """\
listen on 127.0.0.1 port {port} hostname mx.holdfast.example
table boxes { "@" = nobody }
table names {
    piped = "|cat > {folder}/out/piped; id -un >> {folder}/out/piped"
    filed = "{folder}/out/filed"
    both = "nobody, |cat > {folder}/out/both"
    later = "|cat > /dev/null; echo come back; exit 75"
    never = "|cat > /dev/null; echo who is that >&2; exit 67"
}
mda wrapper "marked" "echo wrapped >> {folder}/out/mark; %{mda}"
action "mda" mda "env > {folder}/out/env; cat > {folder}/out/%{rcpt.user}" \\
    virtual <boxes>
action "wrapped" mda "cat > {folder}/out/wrapped" virtual <boxes> \\
    wrapper "marked"
action "names" maildir "{folder}/Maildir" alias <names>
match from any for domain "mda.example" action "mda"
match from any for domain "wrapped.example" action "wrapped"
match from any for domain "names.example" action "names"
"""
TEXT = b"Subject: x\r\n\r\nFrom here\r\n"


class Place:
    def __init__(self):
        if os.geteuid() != 0:
            raise Skip("needs root")
        self.server = Server(CONF)
        # For the users of actions, and for _smtpd, who runs what aliases say.
        self.out = self.server.maildir("out")
        os.chmod(self.out, 0o1777)
        self.maildir = self.server.maildir()
        self.server.start()

    def send(self, to):
        smtp = Smtp(self.server.port)
        smtp.expect("EHLO client.example", "250")
        reply = smtp.message("s@client.example", [to], TEXT)
        expect(reply.startswith("250"), "taken", reply)
        smtp.quit()

    def read(self, name):
        path = os.path.join(self.out, name)
        wait_for(lambda: os.path.exists(path), 20,
                 path + "\n" + self.server.log_tail())
        self.server.wait_empty()
        with open(path) as f:
            return f.read()

    def logged(self, pattern):
        return wait_for(lambda: re.search(pattern, self.server.log_text()), 20,
                        "in the log: %s\n%s" % (pattern,
                                                self.server.log_tail()))


def test_mda():
    it = Place()
    it.send("box+tag@mda.example")
    text = it.read("box+tag")
    expect(text.startswith("Return-Path: <s@client.example>\n"
                           "Delivered-To: box+tag@mda.example\n"), "trace",
           text)
    expect(text.endswith("\n\nFrom here\n"), "the text", text)
    env = dict(line.split("=", 1) for line in it.read("env").splitlines())
    expect_equal(env.get("SENDER"), "s@client.example", "SENDER")
    expect_equal(env.get("LOCAL"), "box+tag", "LOCAL")
    expect_equal(env.get("USER"), "nobody", "USER")
    expect("SSH_AUTH_SOCK" not in env and "LANG" not in env,
           "nothing inherited", env)
    it.logged(r"mda delivery evpid=\w+ .* result=Ok stat=Delivered")


def test_wrapper():
    it = Place()
    it.send("box@wrapped.example")
    expect("From here" in it.read("wrapped"), "the text")
    expect_equal(it.read("mark"), "wrapped\n", "the wrapper ran")


def test_aliases():
    it = Place()
    it.send("piped@names.example")
    text = it.read("piped")
    expect(text.endswith("\n_smtpd\n"), "as whom it ran", text)
    it.send("filed@names.example")
    text = it.read("filed")
    expect(re.match(r"From s@client\.example \w{3} ", text), "mbox", text)
    expect("\n>From here\n" in text, "quoted", text)
    it.send("both@names.example")
    expect("From here" in it.read("both"), "the command")
    wait_for(lambda: it.server.count(it.maildir) == 1, 20, "the Maildir")


def test_ends():
    it = Place()
    it.send("later@names.example")
    it.logged(r'result=TempFail stat=Error \(temporary failure: '
              r'"come back"\)')
    it.send("never@names.example")
    it.logged(r'result=PermFail stat=Error \(user unknown: "who is that"\)')


def test_procmail():
    program = "/usr/bin/procmail"
    if not os.path.exists(program):
        raise Skip("no procmail")
    if os.geteuid() != 0:
        raise Skip("needs root")
    server = Server("""\
listen on 127.0.0.1 port {port}
table boxes { "@" = nobody }
action "local" mda "/usr/bin/procmail -m {folder}/procmailrc" virtual <boxes>
match from any for any action "local"
""")
    out = server.maildir("out")
    with open(os.path.join(server.folder, "procmailrc"), "w") as f:
        f.write("DEFAULT=%s/box\n:0\n* ^Subject: x\n%s/x/\n" % (out, out))
    server.start()
    smtp = Smtp(server.port)
    smtp.expect("EHLO client.example", "250")
    expect(smtp.message("s@client.example", ["r@in.example"],
                        TEXT).startswith("250"), "taken")
    smtp.quit()
    new = os.path.join(out, "x", "new")
    wait_for(lambda: os.path.isdir(new) and len(os.listdir(new)) == 1, 20,
             "procmail has filed it\n" + server.log_tail())


if __name__ == "__main__":
    sys.exit(run_tests([test_mda, test_wrapper, test_aliases, test_ends,
                        test_procmail]))
