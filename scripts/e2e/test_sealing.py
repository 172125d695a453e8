#!/usr/bin/env python3
"""`queue encryption` in the built programs: nothing of the mail is in the data
file, the key is in no process that touches the network, mail flows over
restarts, a wrong key is refused and changes nothing, and the queue is sealed
with another key while mail flows, also if it is killed meanwhile."""
import contextlib
import hashlib
import os
import re
import subprocess
import sys
import threading

sys.dont_write_bytecode = True
from holdfast import (Server, Smtp, Skip, expect, expect_equal,  # noqa: E402
                      programs, run_tests, tool, wait_for)

ONE = "Kone-0123456789abcdef0123456789a"
TWO = "Ktwo-0123456789abcdef0123456789a"
MARK = "XMARKERX"
CONF = """\
{encryption}
listen on 127.0.0.1 port {port}
action "box" maildir "{folder}/Maildir" virtual { "@" = nobody } user nobody
action "out" relay host "smtp://127.0.0.1:1"
match from any for domain "inside.example" action "box"
match from any for any action "out"
"""


def configure(server, encryption):
    with open(server.conf, "w") as f:
        f.write('spool "%s"\n' % server.spool)
        f.write(CONF.replace("{encryption}", encryption)
                .replace("{port}", str(server.port))
                .replace("{folder}", server.folder))


def make(encryption):
    server = Server("")
    os.makedirs(os.path.join(server.folder, "Maildir"))
    os.chmod(os.path.join(server.folder, "Maildir"), 0o777)
    configure(server, encryption)
    return server


def literal(key, previous=None):
    return 'queue encryption "%s"%s' % (
        key, ' previous "%s"' % previous if previous else "")


def body(number):
    """Random text with a mark in it."""
    noise = "\n".join(hashlib.sha512(b"%d %d" % (number, i)).hexdigest()
                      for i in range(40))
    return ("Subject: %s\n\n%s\n%s %d\n" % (MARK, noise, MARK, number)).encode()


def send(server, numbers, domain="outside.example"):
    numbers = list(numbers)
    for first in range(0, len(numbers), 50):    # a session takes no more than 100
        send_some(server, numbers[first:first + 50], domain)


def send_some(server, numbers, domain):
    smtp = Smtp(server.port)
    smtp.expect("EHLO client.example", "250")
    for number in numbers:
        reply = smtp.message("%s@sender.example" % MARK,
                             ["%s%d@%s" % (MARK, number, domain)],
                             body(number).replace(b"\n", b"\r\n"))
        expect(reply.startswith("250"), "accepted", reply)
    smtp.quit()


def data_file(server):
    for folder, _, names in os.walk(server.spool):
        if "queue.mdb" in names:
            return os.path.join(folder, "queue.mdb")
    raise Skip("no data file")


def read(path):
    with open(path, "rb") as f:
        return f.read()


def memory_of(pid):
    """All that can be read of a process."""
    found = []
    with open("/proc/%d/maps" % pid) as maps, \
            open("/proc/%d/mem" % pid, "rb", 0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            if not rights.startswith("r") or "[v" in line:
                continue
            start, end = (int(one, 16) for one in span.split("-"))
            with contextlib.suppress(OSError, ValueError, OverflowError):
                memory.seek(start)
                found.append(memory.read(end - start))
    return b"".join(found)


def offline(server, *words, text=b"", config=True):
    """smtpctl while the server is down."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    if config:
        environment["SMTPD_CONFIG"] = server.conf
    return subprocess.run([tool("smtpctl"), "--spool", server.spool] +
                          list(words), input=text, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env=environment, timeout=60)


def refused(server, encryption):
    """What it says when it starts with these keys, and ends."""
    server.stop()
    before = read(data_file(server))
    configure(server, encryption)
    log = len(server.log_text())
    server.start(wait=0)
    status = server.process.wait(30)
    said = server.log_text()[log:]
    expect(status == 1, "it ends with 1", status, said)
    expect(read(data_file(server)) == before, "the file is as it was")
    return said


def test_nothing_of_the_mail_is_in_the_file():
    server = make(literal(ONE)).start()
    send(server, range(20))
    wait_for(lambda: "Error" in server.log_text() or
             "TempFail" in server.log_text(), 30, "an attempt")
    expect(MARK in server.ctl("show", "queue"), "the queue is readable")
    msgid = server.queue()[0][0][:8]
    expect(MARK in server.ctl("show", "message", msgid), "and its bodies")
    server.check_clean()
    expect("queue encryption enabled" in server.log_text(), "it says so")
    for secret in (ONE, MARK):
        expect(secret not in server.log_text() or secret == MARK,
               "no key in the log")
    server.stop()
    everything = b"".join(
        read(os.path.join(folder, name))
        for folder, _, names in os.walk(server.spool) for name in names
        if os.path.isfile(os.path.join(folder, name)))
    for secret in (MARK, "sender.example", ONE):
        expect(secret.encode() not in everything, "not on disk: " + secret)
    # Offline, with the key of the configuration.
    listed = offline(server, "show", "queue").stdout
    expect_equal(listed.count(b"\n"), 20, "envelopes offline")
    expect(MARK.encode() in listed, "they are readable", listed)
    expect_equal(offline(server, "queue", "check").returncode, 0, "check")
    without = offline(server, "show", "queue", config=False)
    expect(without.returncode != 0 and MARK.encode() not in without.stdout,
           "not without the key", without.stderr)
    expect(b"sealed with key" in without.stderr, "it says why",
           without.stderr)
    # The same again after a start.
    server.start()
    expect_equal(len(server.queue()), 20, "envelopes after a restart")
    server.ctl("remove", "all")
    server.wait_empty()


def test_the_key_is_in_no_process_on_the_network():
    if os.geteuid() != 0:
        raise Skip("needs root")
    server = make(literal(ONE, TWO)).start()
    send(server, range(5))
    names = {}
    for pid, name in server.pids().items():
        memory = memory_of(pid)
        expect(len(memory) > 100000, "memory of " + name)
        names[name] = any(key.encode() in memory for key in (ONE, TWO))
    for name in ("receive", "relay", "lookup", "deliver", "keys"):
        found = [had for its, had in names.items() if name in its]
        expect(found, "there is a process " + name, names)
        expect(not any(found), "no key in " + name, names)


def test_mail_flows():
    server = make(literal(ONE)).start()
    send(server, range(10), "inside.example")
    server.wait_empty()
    delivered = os.path.join(server.folder, "Maildir", "new")
    expect_equal(len(os.listdir(delivered)), 10, "delivered")
    for name in os.listdir(delivered):
        expect(MARK.encode() in read(os.path.join(delivered, name)), "whole")


def test_a_wrong_key_changes_nothing():
    server = make(literal(ONE)).start()
    send(server, range(5))
    said = refused(server, literal(TWO))
    expect("sealed with key" in said and "not the one given" in said,
           "it says why", said)
    expect(TWO not in said and ONE not in said, "no key in the log", said)
    expect("there is no key" in refused(server, ""), "nor without a key")
    configure(server, literal(ONE))
    server.start()
    expect_equal(len(server.queue()), 5, "all is there")
    server.check_clean()


def test_a_key_from_standard_input():
    server = make("queue encryption stdin")
    run = [os.path.join(programs(), "server/smtpd"), "-d", "-f", server.conf]
    wrong = subprocess.run(run, input=b"short\n", stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, timeout=30)
    expect(wrong.returncode == 1 and b"invalid key" in wrong.stdout,
           "a key that is none", wrong.stdout)
    check = subprocess.run(run[:1] + ["-n", "-f", server.conf],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, timeout=30)
    expect_equal(check.stdout, b"configuration OK\n", "-n does not ask")
    key = os.path.join(server.folder, "key")
    with open(key, "w") as f:
        f.write(ONE + "\n")
    server.wrapper = ["sh", "-c", 'exec "$@" <"%s"' % key, "sh"]
    server.start()
    send(server, range(3))
    server.stop()
    # The same as if it were in the file.
    server.wrapper = []
    listed = offline(server, "show", "queue", text=ONE.encode() + b"\n")
    expect(MARK.encode() in listed.stdout, "offline it is asked for",
           listed.stdout, listed.stderr)
    configure(server, literal(ONE))
    server.start()
    expect_equal(len(server.queue()), 3, "envelopes")


class Flow(threading.Thread):
    """Mail that comes all the time."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server = server
        self.accepted = 0
        self.ended = threading.Event()

    def run(self):
        while not self.ended.is_set():
            try:
                send(self.server, [1000 + self.accepted])
                self.accepted += 1
            except Exception:                       # the server is restarted
                self.ended.wait(0.05)

    def end(self):
        self.ended.set()
        self.join(60)


def test_another_key_while_mail_flows():
    server = make("").start()
    send(server, range(300))
    server.stop()
    # A plain queue is sealed, and then sealed with another key.
    for config, without in ((literal(ONE), literal(ONE)),
                            (literal(TWO, ONE), literal(TWO))):
        server.stop()
        configure(server, config)
        server.start()
        before = len(server.queue())
        flow = Flow(server)
        flow.start()
        wait_for(lambda: flow.accepted > 3, 30, "mail")
        said = server.ctl("queue", "rekey")
        expect(re.search(r"[1-9]\d+ rows sealed anew, all are under key "
                         r"[0-9a-f]{8}", said), "it is done", said)
        flow.end()
        expect(flow.accepted > 3, "mail came meanwhile", flow.accepted)
        expect(len(server.queue()) >= before + flow.accepted, "nothing is lost")
        server.check_clean()
        again = server.ctl("queue", "rekey")
        expect("queue rekey: 0 rows" in again, "nothing is left to do", again)
        server.stop()
        configure(server, without)
        server.start()
        expect(len(server.queue()) >= before + flow.accepted, "with it alone")
        server.check_clean()
    # The former key opens nothing any more.
    said = refused(server, literal(ONE))
    expect("not the one given" in said, "the former", said)
    # Not sealed any more.
    configure(server, "queue encryption none previous \"%s\"" % TWO)
    server.start()
    expect("none is sealed any more" in server.ctl("queue", "rekey"), "opened")
    server.stop()
    configure(server, "")
    server.start()
    server.check_clean()
    expect("is not sealed" in subprocess.run(
        [tool("smtpctl"), "--spool", server.spool, "queue", "rekey"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout.decode(),
        "there is nothing to seal it with")


def test_the_tools_of_the_queue():
    """What was there in clear is gone from the file after rekey and compact;
    figures, checks and archives are those of any other queue."""
    server = make("").start()
    send(server, range(100))
    server.stop()
    configure(server, literal(ONE))
    server.start()
    server.ctl("queue", "rekey")
    expect("messages" in server.ctl("queue", "stat"), "figures")
    archive = subprocess.run(
        [tool("smtpctl"), "--spool", server.spool, "queue", "export"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, timeout=60)
    expect(archive.returncode == 0, "an export", archive.stderr)
    mail = subprocess.run(["zstd", "-dc"], input=archive.stdout,
                          stdout=subprocess.PIPE, check=True).stdout
    expect(MARK.encode() in mail, "an archive is not sealed")
    server.stop()
    compact = offline(server, "queue", "compact")
    expect(compact.returncode == 0, "compact", compact.stderr)
    for secret in (MARK, "sender.example"):
        expect(secret.encode() not in read(data_file(server)),
               "no remnant on disk: " + secret)
    server.start()
    expect_equal(len(server.queue()), 100, "all is there")
    server.check_clean()


def test_killed_while_sealed_anew():
    server = make(literal(ONE)).start()
    send(server, range(600))
    server.stop()
    configure(server, literal(TWO, ONE))
    for after in (0.01, 0.03, 0.06):
        server.start()
        rekey = subprocess.Popen(
            [tool("smtpctl"), "--spool", server.spool, "queue", "rekey"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        threading.Event().wait(after)
        server.kill_all()
        rekey.wait(30)
        server.start()
        expect_equal(len(server.queue()), 600, "after a kill")
        server.check_clean()
        server.stop()
    server.start()
    said = server.ctl("queue", "rekey")
    expect("all are under key" in said, "done", said)
    server.stop()
    configure(server, literal(TWO))
    server.start()
    expect_equal(len(server.queue()), 600, "with the new key alone")
    server.check_clean()


if __name__ == "__main__":
    sys.exit(run_tests([test for name, test in sorted(globals().items())
                        if name.startswith("test_")]))
