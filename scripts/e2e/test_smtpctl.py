#!/usr/bin/env python3
"""Every command of smtpctl in the built program: what it prints, its exit
status, who may use it, `--json`, completion, and what it says beside the
smtpctl of Debian's OpenSMTPD."""
import grp
import json
import os
import pwd
import re
import subprocess
import sys

sys.dont_write_bytecode = True
from holdfast import (NOBODY, Server, Skip, as_user, expect,   # noqa: E402
                      expect_equal, run_tests, tool, wait_for)
from peers import OpenSmtpd   # noqa: E402

CONF = """\
listen on socket
listen on 127.0.0.1 port {port} hostname mx.holdfast.example
table names file:{folder}/names
action "box" maildir "{folder}/Maildir" virtual <names>
action "out" relay host smtp://127.0.0.1:1
match from any for domain "box.example" action "box"
match from any for any action "out"
"""
LETTER = b"Subject: x\n\none\n.two\n"
NEED_ROOT = "smtpctl: need root privileges\n"
MISSING = "smtpctl: fopen: No such file or directory\n"
ID = "0123456789abcdef"
# What they print depends on nothing; all want root.
COMMANDS = (
    "discover " + ID, "explain x@far.example", "history " + ID, "log brief",
    "monitor", "pause envelope all", "pause mda", "pause mta",
    "pause mta from [] for a.example", "pause smtp", "profile imsg",
    "queue check", "queue list", "queue list tag = x", "remove all",
    "resume envelope all", "resume mda", "resume mta",
    "resume mta from [] for a.example", "resume route 1", "resume smtp",
    "schedule all", "show doubt", "show envelope " + ID, "show hosts",
    "show hoststats", "show ledger", "show message " + ID, "show mta paused",
    "show queue", "show queue 01234567", "show relays", "show routes",
    "show stats", "show status", "trace smtp", "unprofile imsg",
    "untrace smtp", "update table names", "enable route 1", "disable route 1")
# The keys of the manual that are there when something is going on.
KEYS = {"scheduler.envelope", "scheduler.ramqueue.envelope",
        "scheduler.ramqueue.message", "smtp.session.local", "control.session",
        "mta.host", "mta.route", "uptime", "uptime.human",
        "scheduler.envelope.removed"}


class Place:
    def __init__(self, start=True):
        self.server = Server(CONF)
        self.server.maildir()
        self.write("names", "joe: nobody\n")
        if start:
            self.server.start()

    def write(self, name, text):
        with open(os.path.join(self.server.folder, name), "w") as f:
            f.write(text)

    def run(self, words, user=None, data=None):
        words = words.split(" ") if isinstance(words, str) else words
        run = subprocess.run(
            as_user(user) + [tool("smtpctl"), "--spool", self.server.spool] +
            words, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            timeout=120, text=True)
        return run.returncode, run.stdout, run.stderr

    def says(self, words, out, status=0, err="", **options):
        expect_equal(self.run(words, **options), (status, out, err),
                     "smtpctl " + words)

    def out(self, words, **options):
        status, out, err = self.run(words, **options)
        expect_equal((status, err), (0, ""), "smtpctl " + words)
        return out

    def queue(self, *recipients):
        """Sends to far.example; the ids."""
        self.server.sendmail("-f", "ann@here.example",
                             *(r + "@far.example" for r in recipients),
                             data=LETTER)
        wait_for(lambda: all(row[10] == "0" and row[11] == "pending" and
                             row[13] for row in self.server.queue()), 20,
                 "a failure\n" + self.server.log_tail())
        return sorted(row[0] for row in self.server.queue())

    def logged(self, pattern):
        return wait_for(lambda: re.search(pattern, self.server.log_text()), 20,
                        "in the log: %s\n%s" % (pattern,
                                                self.server.log_tail()))


def test_envelopes():
    p = Place()
    ids = p.queue("one", "two", "three")
    message = ids[0][:8]
    p.says("pause mta", "command succeeded\n")    # nothing is in flight
    p.says("discover " + ids[0], "1 envelope discovered\n")
    p.says("discover " + message, "3 envelopes discovered\n")
    p.says("discover " + ID, "0 envelopes discovered\n")
    p.says("pause envelope " + ids[0], "1 envelope paused\n")
    p.says("pause envelope " + message, "2 envelopes paused\n")
    p.says("pause envelope all", "0 envelope paused\n")
    expect(all("suspend" in row[3] for row in p.server.queue()), "suspended")
    p.says("resume envelope " + message, "3 envelopes resumed\n")
    p.says("resume envelope " + ID, "0 envelope resumed\n")
    p.says("schedule " + ids[1], "1 envelope scheduled\n")
    p.says("schedule all", "3 envelopes scheduled\n")
    p.says("schedule 01234567", "0 envelope scheduled\n")
    p.says("remove " + ids[0], "1 envelope removed\n")
    p.says("remove " + ids[0], "0 envelope removed\n")
    p.says("remove all", "2 envelopes removed\n")
    for words in ("show envelope ", "show message "):
        p.says(words + ids[0], "", 1, MISSING)
    p.says("show message " + message, "", 1, MISSING)
    p.says("history " + ids[0], "", 1,
           "smtpctl: nothing is known of that\n")


def test_messages():
    p = Place()
    evpid = p.queue("one")[0]
    whole = p.out("show message " + evpid)
    expect(whole.startswith("Received: ") and
           whole.endswith("\n\none\n.two\n"), "the message", whole)
    expect_equal(p.out("show message " + evpid[:8]), whole, "by message")
    expect_equal(p.out("show message %s --headers" % evpid),
                 whole[:whole.index("\n\n") + 1], "its header")
    raw = subprocess.run([tool("smtpctl"), "--spool", p.server.spool, "show",
                          "message", evpid, "--raw"], stdout=subprocess.PIPE)
    expect_equal(raw.stdout, whole.replace("\n", "\r\n").encode(), "--raw")
    fields = dict(line.split(": ", 1) for line in
                  p.out("show envelope " + evpid).splitlines())
    for name, value in (("version", "3"), ("type", "mta"),
                        ("sender", "ann@here.example"),
                        ("rcpt", "one@far.example"),
                        ("dest", "one@far.example"), ("dispatcher", "out"),
                        ("flags", "authenticated"), ("retry", "0")):
        expect_equal(fields.get(name), value, name)
    row = p.out("show queue").rstrip("\n").split("|")
    expect_equal(len(row), 14, "columns")
    expect_equal(row[:7] + row[10:12],
                 [evpid, "local", "mta", "auth", "ann@here.example",
                  "one@far.example", "one@far.example", "0", "pending"], "row")
    expect(re.search(r"^\d+\|\d+\|0$", "|".join(row[7:10])), "times", row)
    expect(0 < int(row[12]) <= 400, "the next try", row)
    expect_equal(p.out("show queue " + evpid[:8]).split("|")[0], evpid,
                 "one message")
    p.says("show queue 01234567", "")


def test_switches():
    p = Place()
    p.says("show status", "MDA running\nMTA running\nSMTP running\n")
    for what in ("mda", "mta", "smtp"):
        p.says("pause " + what, "command succeeded\n")
        p.says("pause " + what, "command failed\n", 1)
        p.logged("info: %s paused" % what)
    p.says("show status", "MDA paused\nMTA paused\nSMTP paused\n")
    run = p.server.sendmail("x@far.example", data=LETTER, check=False)
    expect_equal((run.returncode, run.stderr),
                 (1, b"sendmail: server disallowed submission request\n"),
                 "sendmail")
    for what in ("mda", "mta", "smtp"):
        p.says("resume " + what, "command succeeded\n")
        p.says("resume " + what, "command failed\n", 1)
        p.logged("info: %s resumed" % what)
    p.says("log verbose", "command succeeded\n")
    p.says("log brief", "command succeeded\n")
    for word in ("imsg io smtp filters mta bounce scheduler lookup stat rules "
                 "mproc expand all").split():
        p.says("trace " + word, "command succeeded\n")
        p.says("untrace " + word, "command succeeded\n")
    for verb in ("trace", "untrace", "profile", "unprofile"):
        p.says(verb + " nix", "", 1, "smtpctl: invalid %s keyword: nix\n" %
               verb.replace("un", ""))
    p.says("profile imsg", "command succeeded\n")
    p.says("profile queue", "command succeeded\n")
    p.queue("one")
    p.logged(r"profile-queue: commit of \d+ 0\.\d{9}")
    p.logged(r"profile-imsg: queue receive \d+ \d+ 0\.\d{9}")
    p.says("unprofile imsg", "command succeeded\n")
    p.says("unprofile queue", "command succeeded\n")
    p.says("update table names", "command succeeded\n")
    p.logged('info: Table "names" successfully updated')
    p.write("names", "a b c: <\n")
    expect_equal(p.run("update table names")[:2], (1, "command failed\n"),
                 "a broken table")
    expect_equal(p.run("update table nope")[:2], (1, "command failed\n"),
                 "no table")


def test_trace_writes_more():
    p = Place()
    p.queue("one")

    def lines(name):
        before = len(p.server.log_text())
        p.queue(name)
        return len(p.server.log_text()[before:].splitlines())

    usual = lines("two")
    # The rooms hear of it after smtpctl has its answer.
    p.says("trace smtp", "command succeeded\n")
    wait_for(lambda: lines("three") > usual, 10, "more lines while it is traced")
    p.says("untrace smtp", "command succeeded\n")
    wait_for(lambda: lines("four") == usual, 10, "as many as before")


def test_relaying():
    p = Place()
    p.queue("one")
    expect(re.fullmatch(r"127\.0\.0\.1 \S+ refcount=1 nconn=0 "
                        r"lastconn=(\d+s|-)\n", p.out("show hosts")), "hosts")
    line = p.out("show routes")
    expect(re.fullmatch(r"1\. \[\] <-> 127\.0\.0\.1 \(\S+\) [N-][D-][Q-][K-] "
                        r"nconn=0 nerror=0 penalty=\d+ timeout=\S+\n", line),
           "routes", line)
    line = p.out("show hoststats")
    expect(re.fullmatch(r"far\.example\|\d{10}\|.*Connection refused\)\n",
                        line), "hoststats", line)
    p.out("show relays")
    p.says("show mta paused", "")
    p.says("pause mta from 192.0.2.1 for a.example", "command succeeded\n")
    p.says("pause mta from [] for b.example", "command succeeded\n")
    p.says("show mta paused", "[] -> b.example\n192.0.2.1 -> a.example\n")
    p.says("pause mta from nowhere for a.example", "command failed\n", 1)
    p.says("resume mta from 192.0.2.1 for a.example", "command succeeded\n")
    p.says("resume mta from [] for b.example", "command succeeded\n")
    p.says("show mta paused", "")
    p.says("disable route 1", "command succeeded\n")
    expect(" ND" in p.out("show routes"), "disabled")
    p.says("enable route 1", "command succeeded\n")
    p.says("resume route 1", "command succeeded\n")
    p.says("resume route 999", "command succeeded\n")
    p.says("enable route 999", "command failed\n", 1)
    p.says("disable route 999", "command failed\n", 1)


def test_stats():
    p = Place()
    p.queue("one", "two", "three")
    p.out("remove " + p.server.queue()[0][0])
    # What happens in the rooms of sessions is told now and then.
    wait_for(lambda: "smtp.session.local=" in p.out("show stats"), 20,
             "the sessions")
    lines = p.out("show stats").splitlines()
    keys = [line.split("=")[0] for line in lines]
    expect_equal(keys, sorted(keys), "sorted by key")
    stats = dict(line.split("=", 1) for line in lines)
    expect_equal(sorted(KEYS - set(stats)), [], "keys")
    expect_equal(stats["scheduler.envelope"], "2", "envelopes")
    expect_equal(stats["scheduler.envelope.removed"], "1", "removed")
    expect_equal(stats["control.session"], "1", "this one")
    expect(re.fullmatch(r"(\d+m)?\d+s", stats["uptime.human"]), "human", stats)
    expect(all(v.isdigit() for k, v in stats.items() if k != "uptime.human"),
           "numbers", stats)


def test_monitor():
    p = Place()
    p.queue("one")
    words = [tool("smtpctl"), "--spool", p.server.spool, "monitor"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as run:
        lines = [run.stdout.readline() for _ in range(4)]
        run.stdout.close()
        expect_equal(run.wait(20), 1, "when nobody reads any more")
    expect_equal(lines[:2], [
        "--- client ---  -- envelope --   ---- relay/delivery --- ------- "
        "misc -------\n",
        "curr conn disc  curr  enq  deq   ok tmpfail prmfail loop expire "
        "remove bounce\n"], "the head")
    for line in lines[2:]:
        expect_equal(len(line.split()), 13, "columns")
        expect_equal(len(line), len(lines[1]) - 0, "as wide as its head")
        expect_equal(line.split()[3], "1", "envelopes")
    with subprocess.Popen(words + ["--json"], stdout=subprocess.PIPE,
                          text=True) as run:
        row = json.loads(run.stdout.readline())
        run.terminate()
    expect_equal(len(row), 13, "names")
    expect_equal(row["envelopes"], 1, "envelopes")


def test_words():
    p = Place()
    for words, out in (("sh sta", None), ("sh stats", True), ("sh ro", True),
                       ("sh status", True), ("d " + ID, True),
                       ("pa mt", True), ("res mt", True), ("l b", True)):
        status = p.run(words)[0]
        expect_equal(status, 255 if out is None else 0, words)
    for words, err in (
            ("show nothing", None), ("monitor x", "invalid command\n"),
            ("log", "possibilities are:\nlog brief\nlog verbose\n"),
            ("remove 123", "possibilities are:\nremove <evpid>\n"
             "remove <msgid>\nremove all\n"),
            ("remove 0000000000000000", None), ("stop", None),
            ("resume route 0", "possibilities are:\nresume route <routeid>\n"),
            ("show message --json " + ID,
             "smtpctl: no --json for this command\n"),
            ("help nothing", "invalid command\n")):
        status, out, got = p.run(words)
        expect_equal((status, out), (255, ""), words)
        if err is None:
            expect(got.startswith("possibilities are:\n"), words, got)
        else:
            expect_equal(got, err, words)
    status, out, err = p.run([])
    expect_equal((status, out, err.splitlines()[0]),
                 (255, "", "possibilities are:"), "no words")
    run = subprocess.run([tool("smtpctl")], executable=tool("smtpctl"),
                         stderr=subprocess.PIPE)
    expect_equal(run.returncode, 255, "by its name")
    run = subprocess.run(["other"], executable=tool("smtpctl"),
                         stderr=subprocess.PIPE)
    expect_equal((run.returncode, run.stderr), (1, b"unsupported mode\n"),
                 "another name")


def test_help():
    p = Place(start=False)
    text = p.out("help", user=NOBODY)
    for words in COMMANDS:
        verb = " ".join(words.split()[:2 if words[0] != "d" else 1])
        expect("\n  " + verb.split(" ")[0] in text, "help of " + words)
    expect("--headers " in p.out("help show message"), "details")
    expect_equal(p.out("help show mess"), p.out("help show message"), "short")
    expect("--group-by" in p.out("help queue list"), "details of list")


def test_json():
    p = Place()
    ids = p.queue("one", "two")

    def rows(words):
        out = p.out(words + " --json")
        expect_equal(p.out("--json " + words) == out or
                     words.startswith(("show stats", "show ho", "queue list",
                                       "show routes", "show queue")), True,
                     "anywhere on the line")
        return [json.loads(line) for line in out.splitlines()]

    expect_equal(sorted(r["id"] for r in rows("show queue")), ids, "queue")
    expect_equal([r["id"] for r in rows("show queue recipient = "
                                        "one@far.example")],
                 [r["id"] for r in rows("queue list recipient = "
                                        "one@far.example")], "by a filter")
    row = rows("show queue " + ids[0][:8])[0]
    expect_equal((row["sender"], row["kind"], row["flags"], row["state"],
                  row["tries"], row["last_try"]),
                 ("ann@here.example", "mta", ["auth"], "pending", 0, None),
                 "a row")
    expect("refused" in row["error"] and 0 < row["seconds"] <= 400 and
           row["expires"] > row["created"], "a row", row)
    expect_equal(sorted(r["id"] for r in rows("queue list domain = "
                                              "far.example")), ids, "list")
    envelope = rows("show envelope " + ids[0])[0]
    expect_equal((envelope["version"], envelope["sender"], envelope["flags"]),
                 (3, "ann@here.example", ["authenticated"]), "envelope")
    expect_equal(rows("show status"),
                 [{"mda": "running", "mta": "running", "smtp": "running"}],
                 "status")
    stats = rows("show stats")[0]
    expect_equal(stats["scheduler.envelope"], 2, "stats")
    expect_equal(rows("show ledger")[0]["balanced"], True, "ledger")
    expect_equal(rows("show hosts")[0]["address"], "127.0.0.1", "hosts")
    route = rows("show routes")[0]
    expect_equal((route["id"], route["source"], route["address"]),
                 (1, "", "127.0.0.1"), "routes")
    stat = rows("show hoststats")[0]
    expect_equal(stat["domain"], "far.example", "hoststats")
    p.out("pause mta from [] for a.example")
    expect_equal(rows("show mta paused"),
                 [{"source": "", "domain": "a.example"}], "blocks")
    expect_equal(rows("show doubt"), [], "doubts")
    rows("show relays")
    expect_equal(rows("queue check"),
                 [{"messages": 1, "envelopes": 2, "problems": 0}], "check")
    expect_equal([r["envelope"] for r in rows("history " + ids[0])],
                 [ids[0]], "history")
    why = rows("explain joe@box.example")[0]
    expect(why["recipient"] == "<joe@box.example>" and
           why["reply"].startswith("250 ") and why["steps"], "explain", why)
    expect_equal(rows("discover " + ids[0]),
                 [{"envelopes": 1, "act": "discovered"}], "discover")
    expect_equal(p.run("pause mta --json")[1], '{"ok":true}\n', "pause")
    expect_equal(p.run("pause mta --json")[:2], (1, '{"ok":false}\n'),
                 "paused already")
    expect_equal(p.run("remove all --json")[1],
                 '{"envelopes":2,"act":"removed"}\n', "remove")
    p.out("resume mta")
    p.queue("one")
    p.server.stop()
    row = rows("show queue")[0]
    expect_equal((row["state"], row["seconds"]), ("offline", None), "offline")
    expect_equal(rows("queue check")[0]["envelopes"], 1, "offline check")
    status, out, err = p.run("show envelope %s --json" % ID)
    expect_equal((status, out, err), (1, "", MISSING), "missing, offline")


def users():
    """Users of every kind: no rights, and the queue's own group."""
    found = [NOBODY]
    for name in ("_smtpd", "_smtpq"):
        try:
            pwd.getpwnam(name)
            found.append(name)
        except KeyError:
            pass
    return found


def test_permissions():
    if os.geteuid() != 0:
        raise Skip("needs root")
    p = Place()
    evpid = p.queue("one")[0]
    for user in users():
        # The user whose process the queue is may ask it all.
        if p.server.room_pids("smtpd-queue") and os.stat(
                "/proc/%d" % p.server.room_pids("smtpd-queue")[0]).st_uid == \
                pwd.getpwnam(user).pw_uid:
            continue
        for words in COMMANDS:
            p.says(words, "", 1, NEED_ROOT, user=user)
        p.says("show message " + evpid, "", 1, NEED_ROOT, user=user)
    expect_equal(len(p.server.queue()), 1, "nothing was done")
    p.says("show status", "MDA running\nMTA running\nSMTP running\n")
    hashed = p.out("encrypt secret", user=NOBODY)
    expect(re.match(r"\$\w+\$", hashed), "encrypt", hashed)
    expect_equal(len(p.out("encrypt", data="a\nb\n",
                           user=NOBODY).splitlines()), 2, "encrypt of lines")
    p.says("spf walk", "", data="", user=NOBODY)
    expect("_smtpctl" in p.out("completion bash", user=NOBODY), "completion")
    p.server.stop()
    for words in ("show queue", "show message " + evpid,
                  "show envelope " + evpid, "show stats", "remove all",
                  "queue check"):
        p.says(words, "", 1, NEED_ROOT, user=NOBODY)


def test_down():
    p = Place()
    evpid = p.queue("one")[0]
    live = p.out("show message " + evpid)
    p.server.stop()
    row = p.out("show queue").rstrip("\n").split("|")
    expect_equal(row[:7] + row[11:13],
                 [evpid, "local", "mta", "auth", "ann@here.example",
                  "one@far.example", "one@far.example", "offline", ""], "row")
    expect_equal(p.out("show message " + evpid), live, "the message")
    expect("\nsender: ann@here.example\n" in p.out("show envelope " + evpid),
           "the envelope")
    p.says("show envelope " + ID, "", 1, MISSING)
    p.says("show message " + ID, "", 1, MISSING)
    for words in COMMANDS:
        if words.split()[0] == "history" or words.startswith((
                "show queue", "show message", "show envelope", "show doubt",
                "show ledger", "queue check")):
            continue
        p.says(words, "", 1,
               "smtpctl: smtpd doesn't seem to be running\n")
    p.server.spool += "/nowhere"
    status, out, err = p.run("show queue")
    expect_equal((status, out), (1, ""), "no spool")
    expect(err.startswith("smtpctl: "), "no spool", err)


def offered(p, shell, *words):
    """What the shell completes behind `smtpctl WORDS`."""
    script = {"bash": """\
source <(smtpctl completion bash)
complete -p smtpctl > /dev/null || exit 1
COMP_WORDS=(smtpctl "$@"); COMP_CWORD=$#
_smtpctl; printf '%s\\n' "${COMPREPLY[@]}"
""", "zsh": """\
autoload -Uz compinit; compinit -u -D
source <(smtpctl completion zsh)
[[ $_comps[smtpctl] == _smtpctl ]] || exit 1
compadd() { print -rl -- ${(M)${(P)@[-1]}:#${words[CURRENT]}*} }
words=(smtpctl "$@"); CURRENT=$(( $# + 1 ))
_smtpctl
"""}[shell]
    run = subprocess.run(
        [shell] + (["-f"] if shell == "zsh" else ["--norc"]) +
        ["-c", script, shell] + list(words), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, timeout=60,
        env={"PATH": os.path.dirname(tool("smtpctl")) + ":/usr/bin:/bin",
             "SMTPD_SPOOL": p.server.spool, "HOME": "/"})
    expect_equal((run.returncode, run.stderr), (0, ""), shell)
    return sorted(set(run.stdout.split()))


def completes(shell):
    p = Place()
    ids = p.queue("one", "two")
    for words, wanted in (
            (["mon"], ["monitor"]), (["log", ""], ["brief", "verbose"]),
            (["show", "ho"], ["hosts", "hoststats"]),
            (["sh", "ro"], ["routes"]),
            (["show", "envelope", ""], ids),
            (["queue", "list", "--l"], ["--limit"]),
            (["remove", ""], sorted(ids + [ids[0][:8], "all"])),
            (["remove", "al"], ["all"]),
            (["resume", "route", ""], ["1"]),
            (["trace", "ml"], []), (["trace", "im"], ["imsg"]),
            (["profile", ""], ["imsg", "queue"]),
            (["queue", "list", "--c"], ["--count"]),
            (["help", "log", ""], ["brief", "verbose"]),
            (["nothing", ""], [])):
        expect_equal(offered(p, shell, *words), wanted,
                     "%s: smtpctl %s" % (shell, words))
    expect(len(offered(p, shell, "")) > 15, "all")


def test_bash_completes():
    completes("bash")


def test_zsh_completes():
    if not os.path.exists("/usr/bin/zsh"):
        raise Skip("no zsh")
    completes("zsh")


def test_beside_debians():
    """What smtpctl of Debian's OpenSMTPD says to the same words."""
    theirs = OpenSmtpd(1)
    p = Place()

    def ask(words):
        run = subprocess.run(
            ["nsenter", "-t", str(theirs.process.pid), "-m", "setpriv",
             "--regid", str(grp_of(theirs)), "--clear-groups",
             "/usr/sbin/smtpctl"] + words.split(" "), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, timeout=60)
        return run.returncode, run.stdout, run.stderr

    if "must be setgid" in ask("show status")[2]:
        raise Skip("its smtpctl can't be run here")
    theirs.send("ann@here.example", ["one@far.example", "two@far.example"],
                LETTER.replace(b"\n", b"\r\n"))
    p.queue("one", "two")

    def column(words):
        status, out, err = words
        return [line.split("|")[0] for line in out.splitlines()]
    mine, other = column(p.run("show queue")), column(ask("show queue"))
    expect_equal((len(mine), len(other)), (2, 2), "queues")
    rows = [set(len(line.split("|")) for line in out.splitlines())
            for out in (p.run("show queue")[1], ask("show queue")[1])]
    expect_equal(rows[0], rows[1], "columns of show queue")
    for words in (
            "show status", "pause mta", "pause mta", "resume mta",
            "resume mta", "pause smtp", "resume smtp", "pause mda",
            "show status", "resume mda", "log verbose", "log brief",
            "trace smtp", "untrace smtp", "trace nix", "profile queue",
            "unprofile queue", "profile nix", "update table nope", "monitor x",
            "log", "pause envelope", "schedule", "remove 123", "resume route",
            "discover " + ID, "pause envelope " + ID, "schedule " + ID,
            "remove " + ID, "resume route 99", "show envelope " + ID,
            "show message " + ID, "show mta paused", "show queue 0",
            "pause envelope {0}", "pause envelope all", "resume envelope {1}",
            "remove {0}", "remove all", "remove all", "show queue"):
        got = p.run(words.format(mine[0], mine[0][:8]))
        wanted = ask(words.format(other[0], other[0][:8]))
        if words in ("update table nope", "show queue 0"):
            # Ours says more of it.
            got, wanted = got[:2] + ("",), wanted[:2] + ("",)
        # There, the order of what is possible varies from verb to verb.
        got, wanted = ((status, out, sorted(err.splitlines()))
                       for status, out, err in (got, wanted))
        expect_equal(got, wanted, "smtpctl " + words)


def grp_of(peer):
    with open(peer.path("group")) as f:
        for line in f:
            if line.startswith("opensmtpq:"):
                return int(line.split(":")[2])
    return grp.getgrnam("root").gr_gid


if __name__ == "__main__":
    sys.exit(run_tests([value for name, value in list(globals().items())
                        if name.startswith("test_")]))
