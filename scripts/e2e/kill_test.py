"""kill -9 at random moments under load: nothing acknowledged is lost, a Maildir
holds no envelope twice, a remote delivery repeats only if it was in doubt."""
import os
import random
import signal
import subprocess
import time

from holdfast import (NOBODY, Blackhole, Failure, Server,      # noqa: E402
                      alive, expect, ledger_check, tool, wait_for)

CONF = """\
%slisten on 127.0.0.1 port {port} hostname mx.holdfast.example%s
smtp limit max-mails 100000
table boxes { "@" = nobody }
action "box" maildir "{folder}/Maildir" virtual <boxes> %s
action "out" relay host smtp+notls://127.0.0.1:%d
match from local for domain "inside.example" action "box"
match from local for any action "out"
"""
# What is killed: everything at once, half of the time; else one room.
ROOMS = ["smtpd", "smtpd-queue", "smtpd-receive", "smtpd-relay",
         "smtpd-deliver", "smtpd-lookup", "smtpd-agent", "smtpd-auth",
         "smtpd-keys"]
RATE = 400                # messages a second
FILTERED_RATE = 150       # the same, where all passes a program in Python
LONGEST_PAUSE = 0.6       # seconds between two kills
RESTART_SECONDS = 20


# A program that marks what passes it, and takes part in every decision.
PYTHON = "/usr/bin/python3"
FILTER = """\
import sys
sys.stdin.reconfigure(encoding="latin-1", newline="\\n")
sys.stdout.reconfigure(encoding="latin-1", newline="\\n")
begun = set()
for line in sys.stdin:
    words = line.rstrip("\\n").split("|", 7)
    if words[0] == "config" and words[1] == "ready":
        for phase in ("connect", "ehlo", "mail-from", "rcpt-to", "data",
                      "data-line", "commit"):
            print("register|filter|smtp-in|" + phase)
        print("register|report|smtp-in|*")
        print("register|ready", flush=True)
    elif words[0] == "report" and words[4] == "link-disconnect":
        begun.discard(words[5])
    elif words[0] == "filter" and words[4] == "data-line":
        session, token, text = words[5:]
        if session not in begun:
            begun.add(session)
            print("filter-dataline|%s|%s|X-Passed: yes" % (session, token))
        print("filter-dataline|%s|%s|%s" % (session, token, text))
        if text == ".":
            begun.discard(session)
            sys.stdout.flush()
    elif words[0] == "filter":
        print("filter-result|%s|%s|proceed" % (words[5], words[6]), flush=True)
"""


class KillTest:
    def __init__(self, rounds, seed, filtered=False):
        """filtered: all that comes in passes a program, which is killed, too."""
        self.rounds = rounds
        self.filtered = filtered
        self.rooms = ROOMS
        if filtered:
            self.rooms = ROOMS + 2 * [
                "smtpd-filters", os.path.basename(os.path.realpath(PYTHON))]
        self.chance = random.Random(seed)
        self.server = Server("")
        folder = self.server.folder
        self.sink = Blackhole(folder, "--delay", "end=3")
        with open(self.server.conf, "w") as f:
            f.write('spool "%s"\n' % self.server.spool + (CONF % (
                'filter "mark" proc-exec "%s {folder}/filter"\n' % PYTHON
                if filtered else "", ' filter "mark"' if filtered else "",
                "user nobody" if os.geteuid() == 0 else "",
                self.sink.port)).replace("{port}", str(self.server.port))
                .replace("{folder}", folder))
        with open(os.path.join(folder, "filter"), "w") as f:
            f.write(FILTER)
        self.maildir = self.server.maildir(owner=NOBODY)
        self.load_ledger = os.path.join(folder, "load.ledger")
        self.doubt_files = []
        self.slowest = 0.0
        self.kills = {}

    def start_load(self):
        rate = FILTERED_RATE if self.filtered else RATE
        seconds = int(self.rounds * (LONGEST_PAUSE + 8)) + 60
        return subprocess.Popen(
            [tool("smtp-load"), "--ledger", self.load_ledger, "--messages",
             str(rate * seconds), "--rate", str(rate), "--seconds",
             str(seconds), "--connections", "8", "--per-connection", "20",
             "--recipients", "2", "--domain", "inside.example,outside.example",
             "--size", "3000", "--reconnect", "--reply-seconds", "15", "--run",
             "kill", "127.0.0.1:%d" % self.server.port],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def one_round(self, number):
        time.sleep(self.chance.uniform(0.02, LONGEST_PAUSE))
        what = "all" if self.chance.random() < 0.5 else \
            self.chance.choice(self.rooms)
        self.kills[what] = self.kills.get(what, 0) + 1
        s = self.server
        begin = time.monotonic()
        if what == "all":
            s.kill_all()
            s.start(RESTART_SECONDS)
        elif what == "smtpd":
            others = s.remaining() - {s.process.pid}
            os.kill(s.process.pid, signal.SIGKILL)
            s.process.wait()
            # By themselves.
            wait_for(lambda: not any(alive(pid) for pid in others) and
                     not s.remaining(), 35,
                     "the rooms end when their parent is killed")
            begin = time.monotonic()
            s.start(RESTART_SECONDS)
        else:
            for pid in s.room_pids(what):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass    # agents come and go
            s.wait_ready(RESTART_SECONDS)
        self.slowest = max(self.slowest, time.monotonic() - begin)
        self.note_doubts(number, what)

    def note_doubts(self, number, what):
        path = os.path.join(self.server.folder, "doubt%d" % number)
        end = time.monotonic() + RESTART_SECONDS
        while True:
            try:
                text = self.server.ctl("show", "doubt")
                break
            except Failure as e:    # queue is just being restarted
                if time.monotonic() > end:
                    raise Failure("after killing %s: %s" % (what, e))
                time.sleep(0.05)
        with open(path, "w") as f:
            f.write(text)
        self.doubt_files.append(path)

    def run(self):
        s = self.server
        s.start()
        load = self.start_load()
        try:
            for number in range(self.rounds):
                if load.poll() is not None:
                    raise Failure("smtp-load ended: " + load.communicate()[1])
                self.one_round(number)
            time.sleep(1)
            load.terminate()    # what is not written down was not acknowledged
            load.communicate()
            s.ctl("schedule", "all")
            s.wait_empty(180)
            self.note_doubts(self.rounds, "the end")
            s.check_clean()
            return self.judge()
        except Failure as e:
            raise Failure("%s\n--- log\n%s" % (e, s.log_tail(4000)))
        finally:
            if load.poll() is None:
                load.kill()
                load.communicate()
            s.close(keep=bool(os.environ.get("HOLDFAST_KEEP")))
            self.sink.stop()

    def judge(self):
        queue = os.path.join(self.server.folder, "queue")
        with open(queue, "w") as f:
            f.write(self.server.ctl("show", "queue"))
        words = ["--load", self.load_ledger, "--sink", self.sink.ledger,
                 "--maildir", self.maildir, "--queue", queue]
        for path in self.doubt_files:
            words += ["--doubt", path]
        result, text = ledger_check(*words)
        print("    %d kills (%s); slowest restart %.2f s" % (
            self.rounds, ", ".join("%s %d" % item for item in
                                   sorted(self.kills.items())), self.slowest))
        print("    %s" % result, flush=True)
        expect(result["lost"] == 0, "nothing acknowledged is lost", text)
        expect(result["repeated_maildir"] == 0,
               "a Maildir holds no envelope twice", text)
        expect(result["repeated"] == 0,
               "remote repeats only where in doubt", text)
        # The queue may have died between its commit and its answer: at most one
        # message a connection and kill.
        expect(result["refused_too"] <= 16 * self.rounds,
               "few are taken though the client heard 451", text)
        # A message whose connection was cut may be unknown to the ledger
        # because the generator was stopped: at most one a connection.
        expect(result["unexpected"] <= 16, "only what was sent", text)
        expect(result["damaged"] == 0, "nothing is damaged", text)
        expect(result["elsewhere_too"] == 0, "nothing is left behind", text)
        expect(result["acknowledged"] > self.rounds * 20,
               "there was enough load", result)
        if self.filtered:
            self.judge_marks()
        return result

    def judge_marks(self):
        """Nothing came in that did not pass the filter, once."""
        count = 0
        for part in ("new", "cur"):
            folder = os.path.join(self.maildir, part)
            for name in os.listdir(folder):
                with open(os.path.join(folder, name), "rb") as f:
                    text = f.read()
                count += 1
                expect(text.count(b"\nX-Passed: yes\n") == 1,
                       "it passed the filter once", name, text[:500])
        expect(count > self.rounds * 10, "there was mail", count)
