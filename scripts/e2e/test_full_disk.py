#!/usr/bin/env python3
"""A full disk and a small `queue size`, three times each: 452 4.3.1, nothing
lost, deliveries and removals go on, and mail is accepted again once there is
room, without a restart."""
import os
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
from holdfast import (Blackhole, Failure, Server, Skip,        # noqa: E402
                      Smtp, expect, expect_equal, ledger_check, load,
                      run_tests, wait_for)

CONF = """\
listen on 127.0.0.1 port {port} hostname mx.holdfast.example
%(size)s
queue min-free 0%%
smtp limit max-mails 100000
action "out" relay host smtp+notls://127.0.0.1:%(sink)d
match from local for any action "out"
"""
ROUNDS = 3


class SmallDisk:
    """An ext4 file system of its own on a loop device."""

    def __init__(self, megabytes):
        if os.geteuid() != 0:
            raise Skip("needs root for a file system of its own")
        self.folder = tempfile.mkdtemp(prefix="holdfast-disk.")
        os.chmod(self.folder, 0o755)
        self.image = self.folder + ".img"
        self.run("truncate", "-s", "%dM" % megabytes, self.image)
        self.run("mkfs.ext4", "-q", "-m", "0", self.image)
        self.run("mount", "-o", "loop", self.image, self.folder, skip=True)
        os.chmod(self.folder, 0o755)

    def run(self, *words, skip=False):
        run = subprocess.run(words, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True)
        if run.returncode != 0:
            raise (Skip if skip else Failure)(" ".join(words) + ": " +
                                              run.stdout)

    def close(self):
        subprocess.run(["umount", self.folder], check=False)
        os.rmdir(self.folder)
        os.unlink(self.image)


def full_rounds(s, sink):
    """Fills, sees the refusal, drains, three times over; then the ledger."""
    queue_pids = s.room_pids("smtpd-queue")
    ledgers = []
    for number in range(ROUNDS):
        s.ctl("pause", "mta")
        ledger = os.path.join(s.folder, "load%d" % number)
        ledgers += ["--load", ledger]
        stats = load(s.port, "--messages", "4000", "--size", "60000",
                     "--connections", "10", "--run", "r%d" % number, "--seconds",
                     "120", ledger=ledger, check=False)
        expect(stats["temporary"] > 0, "mail is refused when it is full", stats)
        expect_equal(stats["refused"] + stats["unknown"] + stats["cut"], 0,
                     "other answers than 452: %s" % stats)
        expect_equal(set(stats["replies"]), {"452 4.3.1"}, "the refusals")
        # The session and the commands still work.
        session = Smtp(s.port)
        session.expect("EHLO client.example", "250")
        session.quit()
        rows = s.queue()
        expect_equal(len(rows), stats["acknowledged"], "envelopes queued")
        # A removal works while it is full; it goes from the ledger, too.
        victim = rows[0][0]
        expect_equal(s.ctl("remove", victim).strip(), "1 envelope removed",
                     "remove while full")
        with open(ledger) as f:
            lines = [line for line in f if line.split()[3] != victim[:8]]
        with open(ledger, "w") as f:
            f.writelines(lines)
        s.ctl("resume", "mta")
        s.wait_empty(120)

        def accepted():
            again = os.path.join(s.folder, "again%d" % number)
            if os.path.exists(again):
                os.unlink(again)
            return load(s.port, "--messages", "1", "--run", "again%d" % number,
                        "--first", str(int(accepted.tries)), ledger=again,
                        check=False)["acknowledged"] == 1 or retry()

        def retry():
            accepted.tries += 1
            return False
        accepted.tries = 1
        wait_for(accepted, 30, "mail is accepted again\n" + s.log_tail())
        ledgers += ["--load", os.path.join(s.folder, "again%d" % number)]
        s.wait_empty(60)
    result, text = ledger_check("--sink", sink.ledger, *ledgers)
    expect(result["ok"], "the ledger", result, text)
    expect(result["acknowledged"] > 100, "some mail was accepted", result)
    expect_equal(s.room_pids("smtpd-queue"), queue_pids,
                 "queue is still the same process")
    s.check_clean()


def with_server(size, spool_folder):
    s = Server("")
    sink = Blackhole(s.folder)
    try:
        if spool_folder:
            s.spool = os.path.join(spool_folder, "spool")
            os.mkdir(s.spool)
            os.chmod(s.spool, 0o711)
        with open(s.conf, "w") as f:
            f.write('spool "%s"\n' % s.spool +
                    (CONF % {"size": size, "sink": sink.port}).replace(
                        "{port}", str(s.port)))
        s.start()
        full_rounds(s, sink)
    finally:
        s.close()
        sink.stop()


def test_small_queue_size():
    with_server("queue size 96M", None)


def test_full_file_system():
    disk = SmallDisk(96)
    try:
        with_server("", disk.folder)
    finally:
        disk.close()


if __name__ == "__main__":
    sys.exit(run_tests([test_small_queue_size, test_full_file_system]))
