#!/usr/bin/env python3
"""Many messages from Postfix's own generator, into a Maildir and to its sink:
all of them, and nothing left behind.  --full: 10,000 of each kind."""
import os
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
from holdfast import (FULL, NOBODY, Blackhole, Failure, Server,  # noqa: E402
                      expect, expect_equal, free_port, ledger_check, load,
                      peer, run_tests, wait_for)

# (what, messages, connections, bytes, recipients of each)
KINDS = [("plain", 10000, 50, 1024, 1),
         ("large", 10000 if FULL else 500, 50, 100 * 1024, 1),
         ("wide", 10000 if FULL else 200, 50, 1024, 50)]
CONF = """\
listen on 127.0.0.1 port {port} hostname mx.holdfast.example
smtp limit max-mails 100000
mda limit max-session-per-user 7
table boxes { "@" = nobody }
action "box" maildir "{folder}/Maildir" virtual <boxes> %s
action "out" relay host smtp+notls://127.0.0.1:%d
match from local for domain "inside.example" action "box"
match from local for any action "out"
"""


def postfix(program):
    path = peer("postfix", "usr/sbin/" + program)
    libraries = os.path.dirname(peer("postfix",
                                     "usr/lib/postfix/libpostfix-util.so"))
    return [path], dict(os.environ, LD_LIBRARY_PATH=libraries)


def smtp_source(port, messages, connections, size, recipients, to):
    words, env = postfix("smtp-source")
    run = subprocess.run(
        words + ["-d", "-s", str(connections), "-m", str(messages), "-l",
                 str(size), "-r", str(recipients), "-f", "a@outside.example",
                 "-t", to, "127.0.0.1:%d" % port],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=1800)
    # It ends with an error at the first answer that is not 2xx or 3xx.
    expect_equal(run.returncode, 0, "smtp-source: " + run.stdout[-500:])


class SmtpSink:
    """Postfix's sink; it prints a running count of messages."""

    def __init__(self):
        words, env = postfix("smtp-sink")
        self.port = free_port()
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        # A file: it would wait for a reader of a pipe.
        self.out = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            words + user + ["-c", "127.0.0.1:%d" % self.port, "1000"], env=env,
            stdout=self.out, stderr=subprocess.STDOUT)

    def stop(self):
        """The number of messages taken."""
        self.process.terminate()
        self.process.wait(20)
        self.out.seek(0)
        out = self.out.read().decode()
        self.out.close()
        counts = [int(word.split("=")[1]) for word in
                  out.replace("\r", " ").replace("\n", " ").split()
                  if word.startswith("mesg=")]
        return counts[-1] if counts else 0


def volume(kind, to, sink_port):
    what, messages, connections, size, recipients = kind
    s = Server(CONF % ("user nobody" if os.geteuid() == 0 else "", sink_port))
    try:
        maildir = s.maildir(owner=NOBODY)
        s.start()
        smtp_source(s.port, messages, connections, size, recipients, to)
        s.wait_empty(1200 if FULL else 180)
        s.check_clean()
        relayed = re.findall(r' mta delivery evpid=([0-9a-f]{16}) .* '
                             r'result="Ok"', s.log_text())
        expect_equal(len(relayed), len(set(relayed)), what + ": repeated")
        return s.count(maildir), len(relayed), messages * recipients
    except Failure as e:
        raise Failure("%s: %s\n%s" % (what, e, s.log_tail()))
    finally:
        s.close()


def into_maildir(kind):
    count, _, wanted = volume(kind, "b@inside.example", 1)
    expect_equal(count, wanted, kind[0] + ": files in the Maildir")


def to_sink(kind):
    sink = SmtpSink()
    try:
        _, relayed, wanted = volume(kind, "b@outside.example", sink.port)
    finally:
        taken = sink.stop()
    expect_equal(relayed, wanted, kind[0] + ": envelopes relayed")
    # smtp-sink counts transactions.  A message may need two where a batch ends
    # within its recipients.
    messages, recipients = kind[1], kind[4]
    expect(messages <= taken <= (messages if recipients == 1 else
                                 messages * 6 // 5),
           kind[0] + ": transactions at smtp-sink", taken)


def test_plain_into_maildir():
    into_maildir(KINDS[0])


def test_large_into_maildir():
    into_maildir(KINDS[1])


def test_wide_into_maildir():
    into_maildir(KINDS[2])


def test_plain_to_smtp_sink():
    to_sink(KINDS[0])


def test_large_to_smtp_sink():
    to_sink(KINDS[1])


def test_wide_to_smtp_sink():
    to_sink(KINDS[2])


def test_ledger_balances():
    """Our own generator: many domains, pipelining, BDAT; every message is
    numbered and has a checksum."""
    s = Server("")
    sink = Blackhole(s.folder)
    try:
        with open(s.conf, "w") as f:
            f.write('spool "%s"\n' % s.spool + (CONF % ("", sink.port)).replace(
                "{port}", str(s.port)).replace("{folder}", s.folder))
        s.start()
        ledgers = []
        for number, options in enumerate((
                ["--pipelining"], ["--bdat", "3000", "--pipelining"],
                ["--bdat", "100000"], ["--size", "300000", "--messages", "50"])):
            ledger = os.path.join(s.folder, "load%d" % number)
            ledgers += ["--load", ledger]
            load(s.port, "--messages", "2000", "--connections", "20",
                 "--recipients", "3", "--domains", "40", "--run",
                 "r%d" % number, "--size", "8000", *options, ledger=ledger)
        s.wait_empty(120)
        result, text = ledger_check("--sink", sink.ledger, *ledgers)
        expect(result["ok"], "the ledger", result, text)
        expect_equal(result["at_sink"], 3 * (3 * 2000 + 50), "at the sink")
        s.check_clean()
    finally:
        s.close()
        sink.stop()


def test_maximum_size():
    """35 MB pass, through memory that does not grow with them."""
    s = Server("")
    sink = Blackhole(s.folder)
    try:
        with open(s.conf, "w") as f:
            f.write('spool "%s"\n' % s.spool + (CONF % ("", sink.port)).replace(
                "{port}", str(s.port)).replace("{folder}", s.folder))
        s.start()
        most = [0]

        def memory():
            for pid, name in s.pids().items():
                if name in ("smtpd-receive", "smtpd-queue", "smtpd-relay"):
                    try:
                        with open("/proc/%d/status" % pid) as f:
                            for line in f:
                                if line.startswith("RssAnon:"):
                                    most[0] = max(most[0],
                                                  int(line.split()[1]))
                    except OSError:
                        pass
            return not s.ctl("show", "queue").strip()
        ledger = os.path.join(s.folder, "load")
        load(s.port, "--messages", "8", "--connections", "4", "--size",
             "34000000", "--bodies", "2", ledger=ledger)
        wait_for(memory, 120, "an empty queue")
        result, text = ledger_check("--load", ledger, "--sink", sink.ledger)
        expect(result["ok"], "the ledger", result, text)
        expect(most[0] < 128 * 1024, "memory of a room below 128 MiB",
               "%d KiB" % most[0])
    finally:
        s.close()
        sink.stop()


if __name__ == "__main__":
    sys.exit(run_tests([
        test_plain_into_maildir, test_large_into_maildir,
        test_wide_into_maildir, test_plain_to_smtp_sink,
        test_large_to_smtp_sink, test_wide_to_smtp_sink, test_ledger_balances,
        test_maximum_size]))
