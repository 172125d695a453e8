#!/usr/bin/env python3
"""Mail out of a queue and into another one: export, import, --move, backup;
while mail flows, while the daemon is down, and cut short."""
import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time

sys.dont_write_bytecode = True
from holdfast import (Blackhole, Failure, Server, Smtp, expect,  # noqa: E402
                      expect_equal, free_port, run_tests, tool, wait_for)

CONF = """\
listen on 127.0.0.1 port {port} hostname mx.holdfast.example
smtp limit max-rcpt 1000 max-mails 100000
action "out" relay host smtp+notls://127.0.0.1:HOP
match from any for any action "out"
"""
SENDER = "s@inside.example"


def server(hop):
    return Server(CONF.replace("HOP", str(hop)))


class Flow:
    """Sends messages of one recipient each, one after the other; remembers
    which were accepted."""

    def __init__(self, port, prefix, size=200):
        self.port, self.prefix, self.size = port, prefix, size
        self.accepted = []
        self.stopped = threading.Event()

    def send(self, smtp, number):
        to = "%s%d@flow.example" % (self.prefix, number)
        text = ("Subject: %d\r\n\r\n" % number).encode() + \
            os.urandom(self.size // 2).hex().encode() + b"\r\n"
        text = re.sub(rb"(.{900})", rb"\1\r\n", text)
        reply = smtp.message(SENDER, [to], text)
        expect(reply.startswith("250"), "taken", reply)
        self.accepted.append(to)

    def fill(self, count):
        smtp = Smtp(self.port)
        smtp.expect("EHLO client.example", "250")
        for number in range(count):
            self.send(smtp, number)
        smtp.quit()
        return self

    def start(self):
        def run():
            smtp = Smtp(self.port)
            smtp.expect("EHLO client.example", "250")
            number = 0
            while not self.stopped.is_set():
                self.send(smtp, number)
                number += 1
            smtp.quit()
        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()
        return self

    def stop(self):
        self.stopped.set()
        self.thread.join(60)


def run(a_server, *words, out=None, check=True):
    """smtpctl; (exit status, what it said on stderr)."""
    with open(out, "wb") if out else open(os.devnull, "wb") as f:
        done = subprocess.run(
            [tool("smtpctl"), "--spool", a_server.spool] + list(words),
            stdin=subprocess.DEVNULL, stdout=f, stderr=subprocess.PIPE,
            timeout=300)
    text = done.stderr.decode("utf-8", "replace")
    if check:
        expect_equal(done.returncode, 0, "%s: %s" % (" ".join(words), text))
    return done.returncode, text


def digest_of(text):
    return re.search(r"manifest ([0-9a-f]{64})", text).group(1)


class Archive:
    """What is in an archive, read by other programs: tar and zstd."""

    def __init__(self, path):
        raw = subprocess.run(["zstd", "-dcq", path], check=True,
                             stdout=subprocess.PIPE).stdout
        self.files = {}
        with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
            for entry in tar:
                self.files[entry.name] = tar.extractfile(entry).read()
        self.manifest = json.loads(self.files["manifest.json"])
        self.about = json.loads(self.files["export.json"])
        self.envelopes = [json.loads(data) for name, data in
                          self.files.items() if name.startswith("envelopes/")]

    def check(self):
        listed = {e["name"]: e for e in self.manifest["entries"]}
        expect_equal(sorted(listed), sorted(
            n for n in self.files if n not in ("manifest.json",
                                               "export.json")), "the entries")
        for name, entry in listed.items():
            expect_equal(hashlib.sha256(self.files[name]).hexdigest(),
                         entry["sha256"], name)
            expect_equal(len(self.files[name]), entry["size"], name)
        return self

    def recipients(self):
        return ["%s@%s" % (e["rcpt"]["user"], e["rcpt"]["domain"])
                for e in self.envelopes]


def received(sink):
    """Recipients of what the sink took, each as often as it came."""
    got = []
    with open(sink.ledger) as f:
        for line in f:
            got += re.findall(r"[\w.]+@flow\.example", line)
    return got


def ledger(a_server):
    return {words[0]: int(words[1]) for words in
            (line.replace("=", " ").replace(":", " ").split() for line in
             a_server.ctl("show", "ledger").splitlines())
            if len(words) == 2 and words[1].isdigit()}


def test_there_and_out_again_is_the_same():
    a, b = server(free_port()), server(free_port())
    a.start()
    Flow(a.port, "small").fill(50)
    Flow(a.port, "large", 600000).fill(3)
    a.ctl("pause", "envelope", a.queue()[0][0])
    first = os.path.join(a.folder, "first")
    _, text = run(a, "queue", "export", out=first)
    expect("53 messages, 53 envelopes" in text, "what is told", text)
    archive = Archive(first).check()
    expect_equal(archive.about["queued"], 53, "the ledger")
    _, told = run(b, "queue", "import", "--check", first)
    expect_equal(digest_of(told), digest_of(text), "the digest when checked")

    b.start()
    b.ctl("pause", "mta")    # an attempt would change the envelope
    _, told = run(b, "queue", "import", first)
    expect("53 envelopes taken" in told, "what is told", told)
    expect_equal(len(b.queue()), 53, "the other queue")
    expect_equal(sum("suspend" in row[3] for row in b.queue()), 1, "a hold")
    _, told = run(b, "queue", "import", first)
    expect("0 envelopes taken, 53 had come before" in told, "a repeat", told)
    second = os.path.join(a.folder, "second")
    _, again = run(b, "queue", "export", out=second)
    expect_equal(digest_of(again), digest_of(text), "the digest")
    # Both ways without a daemon.
    for one in (a, b):
        one.stop()
    _, offline = run(b, "queue", "export", out=second)
    expect_equal(digest_of(offline), digest_of(text), "the digest offline")
    c = server(free_port())
    c.start()
    c.stop()
    _, told = run(c, "queue", "import", first)
    expect("53 envelopes taken" in told, "what is told", told)
    _, offline = run(c, "queue", "export", out=second)
    expect_equal(digest_of(offline), digest_of(text), "the digest")
    c.start()
    c.check_clean()
    _, told = run(c, "queue", "export", "recipient ~ '^large'", out=second)
    expect("3 messages" in told, "a filter", told)
    code, told = run(c, "queue", "export", "recipient ~", out=second,
                     check=False)
    expect(code == 1 and "recipient ~" in told, "a bad filter", told)


def test_it_is_one_instant_of_the_flow():
    sink_port = free_port()
    a = server(sink_port)
    sink = Blackhole(a.folder, port=sink_port)
    a.start()
    a.ctl("pause", "mta")
    Flow(a.port, "old").fill(300)
    a.ctl("resume", "mta")
    flow = Flow(a.port, "new").start()
    path = os.path.join(a.folder, "archive")
    for _ in range(5):
        run(a, "queue", "export", out=path)
        archive = Archive(path).check()
        expect_equal(len(archive.envelopes), archive.about["queued"],
                     "envelopes, and what the ledger says of that commit")
    flow.stop()
    a.wait_empty()
    a.check_clean()
    wait_for(lambda: len(received(sink)) >= 300 + len(flow.accepted), 20,
             "all mail")


def test_an_import_that_is_killed_is_repeated():
    a, b = server(free_port()), server(free_port())
    a.start()
    Flow(a.port, "small").fill(150)
    Flow(a.port, "large", 900000).fill(4)
    path = os.path.join(a.folder, "archive")
    run(a, "queue", "export", out=path)
    b.start()
    words = [tool("smtpctl"), "--spool", b.spool, "queue", "import", path]
    for attempt in range(12):
        process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
        time.sleep(0.02 * attempt)
        if attempt % 4 == 3:
            b.kill_all()
            process.wait()
            b.start()
        else:
            process.kill()
            process.wait()
    _, told = run(b, "queue", "import", path)
    rows = b.queue()
    expect_equal(len(rows), 154, "envelopes\n" + told)
    expect_equal(len({row[5] for row in rows}), 154, "recipients")
    b.check_clean()


def test_what_is_moved_is_delivered_once():
    sink_port = free_port()
    a, b = server(sink_port), server(sink_port)
    sink = Blackhole(a.folder, port=sink_port)
    for one in (a, b):
        one.start()
    a.ctl("pause", "mta")
    old = Flow(a.port, "old").fill(400)
    flow = Flow(a.port, "new").start()
    moved = 0
    for number in range(5):
        path = os.path.join(a.folder, "move%d" % number)
        if number == 1:
            a.ctl("resume", "mta")    # a race with delivery
        some = ["recipient ~ '^old[1-5]'"] if number == 0 else []
        _, text = run(a, "queue", "export", "--move", *some, out=path)
        archive = Archive(path).check()
        moved += len(archive.envelopes)
        expect("%d envelopes moved, manifest" % len(archive.envelopes) in text, "said",
               text)
        run(b, "queue", "import", path)
    flow.stop()
    expect(moved >= 355, "the old mail was moved", moved)
    for one in (a, b):
        one.wait_empty()
        one.check_clean()
    sent = sorted(old.accepted + flow.accepted)
    wait_for(lambda: len(received(sink)) >= len(sent), 20, "all mail")
    expect_equal(sorted(received(sink)), sent, "each message, once")
    with open(acts_log(a)) as f:
        log = f.read()
    expect("export --move" in log and 'result="complete"' in log, "the log", log)


def acts_log(a_server):
    for folder, _, files in os.walk(a_server.spool):
        if "acts.log" in files:
            return os.path.join(folder, "acts.log")
    raise Failure("no acts.log")


def test_a_move_that_is_cut_short_loses_nothing():
    a, b = server(free_port()), server(free_port())
    a.start()
    Flow(a.port, "m", 300000).fill(40)
    path = os.path.join(a.folder, "archive")
    for attempt in range(8):
        with open(path, "wb") as f:
            process = subprocess.Popen(
                [tool("smtpctl"), "--spool", a.spool, "queue", "export",
                 "--move"], stdout=f, stderr=subprocess.DEVNULL)
            time.sleep(0.01 + 0.06 * attempt)
            if attempt % 3 == 2:
                a.kill_all()
            else:
                process.kill()
            process.wait()
        if attempt % 3 == 2:
            a.start()
        whole = run(a, "queue", "import", "--check", path, check=False)[0] == 0
        # What the manual says about a move that was interrupted.
        left = len(a.queue())
        marked = a.ctl("queue", "list", "--count", "flag = move").strip()
        if whole:
            if left and marked != "0":
                a.ctl("queue", "remove", "--yes", "flag = move")
            break
        expect_equal(left, 40, "nothing is lost: attempt %d" % attempt)
        wait_for(lambda: settle(a), 20, "mail is given back")
    if not whole:
        run(a, "queue", "export", "--move", out=path)
    expect_equal(len(a.queue()), 0, "moved")
    b.start()
    run(b, "queue", "import", path)
    expect_equal(len(b.queue()), 40, "here")
    b.check_clean()
    a.check_clean()


def printed(a_server, *words):
    """The object that a command prints with --json."""
    path = os.path.join(a_server.folder, "printed")
    run(a_server, *words, "--json", out=path)
    with open(path) as f:
        return json.loads(f.read())


def test_what_was_done_is_told_as_json():
    a, b = server(free_port()), server(free_port())
    for one in (a, b):
        one.start()
        one.ctl("pause", "mta")
    Flow(a.port, "small").fill(20)
    path = os.path.join(a.folder, "archive")
    _, text = run(a, "queue", "export", "--json", out=path)
    told = json.loads(text)
    archive = Archive(path).check()
    expect_equal([told["messages"], told["envelopes"], told["damaged"],
                  told["moved"]], [20, 20, 0, False], "the export")
    expect_equal(printed(b, "queue", "import", "--check", path),
                 {"messages": 20, "envelopes": 20,
                  "manifest": told["manifest"]}, "the check")
    expect_equal(len(archive.envelopes), 20, "in the archive")
    for taken, repeats in (20, 0), (0, 20):
        done = printed(b, "queue", "import", path)
        expect_equal([done["envelopes"], done["repeats"]], [taken, repeats],
                     "the import")
    done = printed(b, "queue", "backup", os.path.join(b.folder, "copy"))
    expect_equal([done["messages"], done["envelopes"]], [20, 20], "the backup")
    _, text = run(b, "queue", "export", "--move", "--json", out=path)
    expect_equal(json.loads(text)["moved"], True, "the move")
    expect_equal(b.queue(), [], "what is left")


def settle(a_server):
    """What an interrupted move has marked goes back."""
    if a_server.ctl("queue", "list", "--count", "flag = move").strip() == "0":
        return True
    a_server.ctl("queue", "release", "--yes", "flag = move")
    return False


def test_a_backup_under_flow_is_whole():
    sink_port = free_port()
    a = server(sink_port)
    a.start()
    old = Flow(a.port, "old").fill(200)
    flow = Flow(a.port, "new").start()
    folder = os.path.join(a.folder, "backup")
    _, text = run(a, "queue", "backup", folder)
    flow.stop()
    count = int(re.search(r"(\d+) envelopes, verified", text).group(1))
    expect(200 <= count <= 200 + len(flow.accepted), "how many", text)
    code, told = run(a, "queue", "backup", folder, check=False)
    expect(code == 1 and "File exists" in told, "never into one there is",
           told)
    a.stop()
    # As after the loss of the machine.
    store, = os.listdir(folder)
    shutil.rmtree(os.path.join(a.spool, store))
    os.rename(os.path.join(folder, store), os.path.join(a.spool, store))
    sink = Blackhole(a.folder, port=sink_port)
    a.start()
    a.check_clean()
    expect_equal(ledger(a).get("accepted"), count, "the ledger begins anew")
    a.ctl("schedule", "all")
    a.wait_empty()
    got = received(sink)
    expect_equal(len(got), count, "all of it is delivered")
    expect(set(old.accepted) <= set(got), "what was there before")
    a.check_clean()


def test_archives_of_strangers_are_refused():
    a = server(free_port())
    a.start()
    path = os.path.join(a.folder, "archive")
    Flow(a.port, "m").fill(3)
    run(a, "queue", "export", out=path)
    good = Archive(path)

    def packed(entries):
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as tar:
            for entry, content in entries:
                entry.size = len(content) if entry.isreg() else 0
                tar.addfile(entry, io.BytesIO(content))
        subprocess.run(["zstd", "-qf", "-o", path], input=data.getvalue(),
                       check=True)

    def refused(entries, what):
        packed(entries)
        code, text = run(a, "queue", "import", "--again", path, check=False)
        expect(code == 1 and what in text, "refused: %s" % what, code, text)
        expect_equal(len(a.queue()), 3, "nothing is taken")

    def entry(name, kind=tarfile.REGTYPE):
        made = tarfile.TarInfo(name)
        made.type = kind
        return made

    members = [(entry(n), d) for n, d in good.files.items()]
    link = entry("messages/00000001.json", tarfile.SYMTYPE)
    link.linkname = "/etc/passwd"
    refused([(link, b"")] + members, "no export has")
    refused([(entry("x" * 90), b"")] + members, "no export has")
    refused([(entry("../../etc/cron.d/x"), b"* * * * * root sh\n")] + members,
            "archive: ../../etc/cron.d/x")
    refused(members[:-1], "without its manifest")
    refused(members[:2] + members[3:], "archive: ")
    refused(members + [(entry("more"), b"")], "behind the manifest")
    refused([], "archive: ")
    with open(path, "wb") as f:
        f.write(b"no archive at all" * 100)
    code, text = run(a, "queue", "import", path, check=False)
    expect(code == 1 and "archive: " in text, "no archive", text)

    # Its manifest is right, but it names a command.
    def with_command(name, data):
        if not name.startswith("envelopes/"):
            return data
        one = json.loads(data)
        one["kind"], one["mda_user"] = "mda", "nobody"
        one["mda_exec"] = "|touch /tmp/owned"
        return (json.dumps(one) + "\n").encode()
    changed = {n: with_command(n, d) for n, d in good.files.items()}
    lines = [json.dumps({"name": n, "size": len(d),
                         "sha256": hashlib.sha256(d).hexdigest()},
                        separators=(", ", ": "))
             for n, d in changed.items()
             if n not in ("manifest.json", "export.json")]
    changed["manifest.json"] = (
        '{"format": "holdfast-queue-export", "version": 1,\n"entries": [\n' +
        ",\n".join(lines) + '\n],\n"messages": 3, "envelopes": 3}\n').encode()
    refused([(entry(n), d) for n, d in changed.items()], "--trust")


if __name__ == "__main__":
    sys.exit(run_tests([f for n, f in sorted(globals().items())
                        if n.startswith("test_")]))
