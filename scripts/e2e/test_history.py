#!/usr/bin/env python3
"""Attempts: what stands in an envelope's record while it is queued, what
`queue history` keeps of it afterwards, and what becomes of attempts that a
crash left without an answer (`show doubt`, `queue doubt hold`)."""
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading

sys.dont_write_bytecode = True
from holdfast import (Server, Smtp, expect, expect_equal,      # noqa: E402
                      free_port, run_tests, tool, wait_for)

CONF = """\
listen on 127.0.0.1 port {port} hostname mx.holdfast.example
table boxes { "@" = nobody }
action "box" maildir "{folder}/Maildir" virtual <boxes> user nobody
action "out" relay host smtp+notls://127.0.0.1:PORT
match from any for domain "inside.example" action "box"
match from local for any action "out"
"""
SENDER = "s@inside.example"
RECIPIENT = "bob@outside.example"
LATER = b"451 4.7.1 \x1b[31mGreylisted\r\n"


class Sink:
    """A next hop.  `answers` to RCPT, one for each, then 250; `dot`: what the
    final dot is answered, None: nothing, ever."""

    def __init__(self, answers=(), dot=b"250 2.0.0 queued as X\r\n"):
        self.answers = list(answers)
        self.dot = dot
        self.dots = 0
        self.port = free_port()
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(16)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(connection,),
                                 daemon=True).start()

    def serve(self, connection):
        with contextlib.suppress(OSError), connection:
            connection.sendall(b"220 sink.example\r\n")
            lines = connection.makefile("rb")
            for line in lines:
                word = line[:4].upper()
                if word == b"RCPT" and self.answers:
                    connection.sendall(self.answers.pop(0))
                elif word == b"DATA":
                    connection.sendall(b"354 go\r\n")
                    while lines.readline() not in (b".\r\n", b""):
                        pass
                    self.dots += 1
                    if self.dot is None:
                        threading.Event().wait()
                    connection.sendall(self.dot)
                else:
                    connection.sendall(b"250 ok\r\n")

    def close(self):
        # Also while accept() waits, which would keep it open.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def serve(sink, *lines):
    server = Server("".join(line + "\n" for line in lines) +
                    CONF.replace("PORT", str(sink.port)))
    server.maildir()
    return server.start()


def send(server, recipient=RECIPIENT):
    """The envelope's id."""
    session = Smtp(server.port)
    session.expect("EHLO client.example", "250")
    reply = session.message(SENDER, [recipient], b"Subject: x\r\n\r\nx\r\n")
    expect(reply.startswith("250"), "accepted", reply)
    session.quit()
    message = reply.split()[2]
    rows = wait_for(lambda: [r for r in server.queue()
                             if r[0].startswith(message)] or
                    delivered(server, message), 10, "the envelope is known")
    return rows[0][0]


def delivered(server, message):
    """Of the log, as rows of a queue."""
    return [[word[len("evpid="):]] for line in server.log_text().splitlines()
            for word in line.split() if word.startswith("evpid=" + message)]


def row(server, evpid):
    return next((r for r in server.queue() if r[0] == evpid), None)


def history(server, evpid, *words):
    """(exit status, standard output, standard error)"""
    run = subprocess.run([tool("smtpctl"), "--spool", server.spool, "history",
                          evpid] + list(words), stdin=subprocess.DEVNULL,
                         capture_output=True, text=True, timeout=60)
    return run.returncode, run.stdout, run.stderr


def fail_three_times(server, sink, evpid):
    for tries in range(1, 4):
        wait_for(lambda: (row(server, evpid) or [""] * 14)[10] == str(tries) and
                 row(server, evpid)[11] == "pending", 20,
                 "try %d\n%s" % (tries, server.log_tail()))
        if tries < 3:
            server.ctl("schedule", evpid)


def check_three_attempts(attempts, port):
    expect_equal([a["result"] for a in attempts], ["TempFail"] * 3, "results")
    for a in attempts:
        expect_equal(sorted(a), ["answer", "duration", "relay", "result",
                                 "source", "time", "tls"], "names")
        expect(a["answer"].startswith("451 4.7.1 ") and
               a["answer"].endswith("Greylisted"), "the answer", a)
        expect("127.0.0.1" in a["relay"], "the relay", a)
        expect(a["source"] and a["tls"] == "", "source and TLS", a)
        expect(0 <= a["duration"] < 20 and a["time"].endswith("Z"), "times", a)
    expect(attempts[0]["time"] <= attempts[1]["time"] <= attempts[2]["time"],
           "oldest first", attempts)


def test_attempts_stand_in_the_record():
    sink = Sink([LATER] * 3)
    server = serve(sink)
    evpid = send(server)
    fail_three_times(server, sink, evpid)
    status, out, err = history(server, evpid, "--json")
    expect_equal((status, err), (0, ""), "exit")
    found = json.loads(out)
    expect_equal((found["state"], found["ended"], found["destination"]),
                 ("queued", None, RECIPIENT), "state")
    check_three_attempts(found["attempts"], sink.port)
    status, text, _ = history(server, evpid)
    lines = text.splitlines()
    expect_equal((status, len(lines)), (0, 4), "text")
    expect(lines[0].startswith(evpid + " mta from=<") and
           lines[0].endswith(" queued"), "first line", lines[0])
    expect(all(" TempFail " in line and "451 4.7.1" in line
               for line in lines[1:]), "a line for each", text)
    expect_equal(len({line.index("TempFail") for line in lines[1:]}), 1,
                 "in columns")
    # By the message, too; in `show envelope` behind the reference's fields.
    expect_equal(history(server, evpid[:8])[1], text, "by message id")
    shown = server.ctl("show", "envelope", evpid).splitlines()
    expect_equal([line.split(":")[0] for line in shown[-3:]], ["attempt"] * 3,
                 "show envelope")
    for output in (text, out, "\n".join(shown[-3:])):
        expect("\x1b" not in output, "no control characters", output)
    # The daemon is not needed for it.
    server.stop()
    expect_equal(history(server, evpid)[1], text, "offline")
    expect_equal(history(server, evpid, "--json")[1], out, "offline, JSON")
    sink.close()


def test_a_dead_destination_is_named():
    sink = Sink()
    sink.close()
    server = serve(sink)
    evpid = send(server)
    found = wait_for(lambda: (lambda f: f["destination_failure"] and f)(
        json.loads(history(server, evpid, "--json")[1])), 20,
        "postponed\n" + server.log_tail())
    expect_equal(found["attempts"], [], "no attempt of this envelope")
    expect(found["destination_failure"]["error"].startswith("Network error"),
           "why", found)
    expect("destination: " in history(server, evpid)[1], "in the text")
    server.check_clean()


def test_nothing_is_kept_by_default():
    sink = Sink([LATER] * 3)
    server = serve(sink)
    evpid = send(server)
    fail_three_times(server, sink, evpid)
    server.ctl("schedule", evpid)
    server.wait_empty()
    status, out, err = history(server, evpid)
    expect_equal((status, out), (1, ""), "not kept")
    expect("nothing is known" in err, "says so", err)
    expect("store.history" not in server.ctl("show", "stats"), "no rows")
    server.check_clean()
    sink.close()


def test_history_after_delivery():
    sink = Sink([LATER] * 3)
    server = serve(sink, "queue history 2d size 100M")
    evpid = send(server)
    fail_three_times(server, sink, evpid)
    server.ctl("schedule", evpid)
    server.wait_empty()
    status, out, _ = history(server, evpid, "--json")
    expect_equal(status, 0, "kept")
    found = json.loads(out)
    expect_equal(found["state"], "delivered", "state")
    expect(found["ended"] and found["serial"] > 0, "when", found)
    check_three_attempts(found["attempts"][:3], sink.port)
    expect_equal((found["attempts"][3]["result"],
                  found["attempts"][3]["answer"]),
                 ("Ok", "250 2.0.0 queued as X"), "the last one")
    # Local delivery, and removal.
    local = send(server, "joe@inside.example")
    wait_for(lambda: server.count(os.path.join(server.folder, "Maildir")) == 1,
             20, "delivered")
    server.wait_empty()
    found = json.loads(history(server, local, "--json")[1])
    expect_equal((found["state"], found["kind"]), ("delivered", "mda"), "local")
    expect_equal([a["result"] for a in found["attempts"]], ["Ok"], "attempts")
    expect("nobody" in found["attempts"][0]["relay"], "the user", found)
    sink.answers = [LATER]
    removed = send(server)
    wait_for(lambda: row(server, removed)[10] == "1", 20, "one try")
    server.ctl("remove", removed)
    found = json.loads(history(server, removed, "--json")[1])
    expect_equal(found["state"], "removed", "removed")
    expect_equal(len(found["attempts"]), 1, "with what was tried")
    server.check_clean()
    # A restart keeps it; without the option it goes.
    server.stop()
    server.start()
    expect_equal(history(server, evpid, "--json")[1], out, "after a restart")
    server.stop()
    with open(server.conf) as f:
        conf = f.read()
    with open(server.conf, "w") as f:
        f.write(conf.replace("queue history 2d size 100M\n", ""))
    server.start()
    wait_for(lambda: history(server, evpid)[0] == 1, 30, "emptied")
    server.check_clean()
    sink.close()


def test_a_crash_behind_the_final_dot_is_in_doubt():
    sink = Sink(dot=None)
    server = serve(sink, "queue history 2d size 100M")
    evpid = send(server)
    wait_for(lambda: sink.dots == 1, 20, "the dot\n" + server.log_tail())
    expect_equal(row(server, evpid)[11], "inflight", "in flight")
    expect("inflight" in history(server, evpid)[1], "history says so")
    sink.dot = b"250 2.0.0 queued as X\r\n"
    for pid in server.room_pids("smtpd-relay"):
        os.kill(pid, signal.SIGKILL)
    # Tried again, and listed for ever after.
    server.wait_empty()
    doubts = [line.split("|") for line in
              server.ctl("show", "doubt").splitlines()]
    expect_equal([(d[0], d[2], d[3], d[4]) for d in doubts],
                 [(evpid, "mta", SENDER, RECIPIENT)], "show doubt")
    attempts = json.loads(history(server, evpid, "--json")[1])["attempts"]
    expect_equal([a["result"] for a in attempts], ["InDoubt", "Ok"], "attempts")
    expect(attempts[0]["time"], "since when is known", attempts)
    expect_equal(sink.dots, 2, "the sink has it twice")
    server.check_clean()
    sink.close()


def held_after(server, evpid):
    found = wait_for(lambda: (lambda r: r and "hold" in r[3] and r)(
        row(server, evpid)), 20, "held\n" + server.log_tail())
    expect_equal(sorted(found[3].split(",")), ["auth", "doubt", "hold"]
                 if "auth" in found[3] else ["doubt", "hold"], "flags")
    return found


def test_doubts_are_held_if_told_so():
    sink = Sink(dot=None)
    server = serve(sink, "queue doubt hold")
    first = send(server)
    wait_for(lambda: sink.dots == 1, 20, "the dot")
    for pid in server.room_pids("smtpd-relay"):
        os.kill(pid, signal.SIGKILL)
    held_after(server, first)
    # And when all of it is killed.
    second = send(server)
    wait_for(lambda: sink.dots == 2, 20, "the dot\n" + server.log_tail())
    server.kill_all()
    server.start()
    held_after(server, second)
    expect_equal({line.split("|")[0] for line in
                  server.ctl("show", "doubt").splitlines()}, {first, second},
                 "show doubt")
    expect("held" in history(server, second)[1].splitlines()[0], "history")
    server.check_clean()
    # Either way of releasing it.
    sink.dot = b"250 2.0.0 queued as X\r\n"
    expect_equal(server.ctl("resume", "envelope", first),
                 "1 envelope resumed\n", "resume")
    wait_for(lambda: row(server, first) is None, 20, "delivered")
    expect(row(server, second) is not None, "the other one is held still")
    server.ctl("schedule", second)
    server.wait_empty()
    sink.close()


if __name__ == "__main__":
    sys.exit(run_tests([test for name, test in sorted(globals().items())
                        if name.startswith("test_")]))
