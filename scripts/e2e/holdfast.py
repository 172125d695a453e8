"""What the end-to-end tests and the torture have in common: a server of the
built programs in a folder of its own, the tools beside it, and a small runner.

Python's standard library only.
"""
import atexit
import contextlib
import glob
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.realpath(__file__))))
# Where the built programs are; `bazel-bin` unless told otherwise.
BIN = os.path.realpath(os.environ.get(
    "HOLDFAST_BIN", os.path.join(ROOT, "bazel-bin")))
PEERS = os.environ.get("HOLDFAST_PEERS") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),
    "holdfast/peers")
NOBODY = "nobody"


# Closed after each test, whatever became of it.
OPEN = []


class Failure(Exception):
    """An expectation that did not hold."""


class Skip(Exception):
    """The machine lacks something; the message says what."""


def expect(condition, what, *details):
    if not condition:
        raise Failure(what + "".join("\n      " + str(d)[-2000:]
                                     for d in details))


def expect_equal(got, wanted, what):
    expect(got == wanted, what, "wanted: %r" % (wanted,), "got:    %r" % (got,))


def wait_for(condition, seconds, what):
    """Polls until condition() is true, and returns what it returned."""
    end = time.monotonic() + seconds
    pause = 0.01
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > end:
            raise Failure("not within %g s: %s" % (seconds, what))
        time.sleep(pause)
        pause = min(pause * 1.5, 0.25)


def free_port():
    """A port nobody listens on; below the range of outgoing connections."""
    for port in range(10025 + os.getpid() % 5000, 32000):
        if port in free_port.given:
            continue
        with contextlib.closing(socket.socket()) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        free_port.given.add(port)
        return port
    raise Failure("no free port")


free_port.given = set()


def programs():
    """Copies the programs where any user can run them, once a process: a
    Bazel cache below a home is closed to others."""
    if programs.folder is None:
        folder = tempfile.mkdtemp(prefix="holdfast-bin.")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.chmod(folder, 0o755)
        for part in ("server", "ctl"):
            os.mkdir(os.path.join(folder, part))
            for path in glob.glob(os.path.join(BIN, part, "*")):
                name = os.path.basename(path)
                if os.path.isfile(path) and os.access(path, os.X_OK) and \
                        ("." not in name or
                         re.fullmatch(r"mail\.[a-z]+", name)) and \
                        not name.endswith("_test"):
                    shutil.copy2(path, os.path.join(folder, part, name))
                    os.chmod(os.path.join(folder, part, name), 0o755)
        programs.folder = folder
        for link in ("sendmail", "mailq", "newaliases", "makemap"):
            path = os.path.join(folder, "ctl", link)
            if not os.path.exists(path):
                os.symlink("smtpctl", path)
    return programs.folder


programs.folder = None


def tool(name):
    return os.path.join(programs(), "ctl", name)


def as_user(user):
    """Words that run the rest of a command as `user` (None: unchanged)."""
    if user is None or os.geteuid() != 0:
        return []
    entry = pwd.getpwnam(user)
    return ["setpriv", "--reuid=%d" % entry.pw_uid,
            "--regid=%d" % entry.pw_gid, "--clear-groups", "--no-new-privs"]


class Smtp:
    """A plain dialogue: what goes over the wire is what the test wrote."""

    def __init__(self, port, host="127.0.0.1", timeout=60):
        self.socket = socket.create_connection((host, port), timeout)
        self.file = self.socket.makefile("rb")
        self.banner = self.reply()

    def reply(self):
        lines = []
        while True:
            line = self.file.readline()
            if not line:
                raise Failure("connection closed after %r" % lines)
            lines.append(line.rstrip(b"\r\n").decode("utf-8", "replace"))
            if len(line) < 4 or line[3:4] != b"-":
                return "\n".join(lines)

    def send(self, data):
        self.socket.sendall(data)

    def command(self, line):
        self.send(line.encode() + b"\r\n")
        return self.reply()

    def expect(self, line, start):
        got = self.command(line)
        expect(got.startswith(start), "%s is answered %s" % (line, start), got)
        return got

    def message(self, sender, recipients, data):
        """Sends one message (bytes with CRLF, not dot-stuffed); the reply."""
        self.expect("MAIL FROM:<%s>" % sender, "250")
        for recipient in recipients:
            self.expect("RCPT TO:<%s>" % recipient, "250")
        self.expect("DATA", "354")
        data = re.sub(rb"(?m)^\.", b"..", data)
        if data and not data.endswith(b"\r\n"):
            data += b"\r\n"
        self.send(data + b".\r\n")
        return self.reply()

    def quit(self):
        self.expect("QUIT", "221")
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()


class Server:
    """One smtpd with its queue in a folder of its own."""

    def __init__(self, conf, user=None, port=None, folder=None, options=(),
                 hostname="mx.holdfast.example"):
        """conf: text of smtpd.conf; {port}, {folder} and what else is in
        `fill` is replaced.  user: run as this user instead of root."""
        self.user = user
        self.folder = folder or tempfile.mkdtemp(prefix="holdfast-e2e.")
        self.owned = folder is None
        os.chmod(self.folder, 0o755)
        self.port = port or free_port()
        self.options = list(options)
        self.spool = os.path.join(self.folder, "spool")
        os.makedirs(self.spool, exist_ok=True)
        os.chmod(self.spool, 0o711)    # the daemon insists on it
        if user is not None and os.geteuid() == 0:
            entry = pwd.getpwnam(user)
            os.chown(self.spool, entry.pw_uid, entry.pw_gid)
        self.conf = os.path.join(self.folder, "smtpd.conf")
        self.log_path = os.path.join(self.folder, "log")
        with open(self.conf, "w") as f:
            f.write('spool "%s"\n' % self.spool)
            f.write(conf.replace("{port}", str(self.port))
                    .replace("{folder}", self.folder))
        self.process = None
        self.wrapper = []    # words before those of the server
        self.hostname = hostname
        OPEN.append(self)

    # --- life

    def start(self, wait=20):
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            as_user(self.user) + self.wrapper +
            [os.path.join(programs(), "server/smtpd"), "-d", "-f", self.conf] +
            self.options, stdin=subprocess.DEVNULL, stdout=self.log,
            stderr=self.log, start_new_session=True, cwd="/",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        if wait:
            self.wait_ready(wait)
        return self

    def wait_ready(self, seconds=20):
        wait_for(self.ready, seconds, "a banner on port %d\n%s" %
                 (self.port, self.log_tail()))

    def ready(self):
        if self.process.poll() is not None:
            raise Failure("smtpd ended with %s\n%s" %
                          (self.process.returncode, self.log_tail()))
        try:
            with contextlib.closing(socket.create_connection(
                    ("127.0.0.1", self.port), 5)) as s:
                s.settimeout(5)
                return s.recv(3) == b"220"
        except OSError:
            return False

    def stop(self, seconds=40):
        """SIGTERM, and how it ended (None: it had to be killed)."""
        if self.process is None or self.process.poll() is not None:
            return self.process and self.process.returncode
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill_all()
            return None

    def pids(self):
        """{pid: name} of the server and of all below it."""
        return {pid: name for pid, name, _ in descendants(self.process.pid)}

    def room_pids(self, name):
        return [pid for pid, its in self.pids().items() if its == name]

    def remaining(self):
        """Pids of the session the server was started in, agents included."""
        found = {pid for pid, _, _ in descendants(self.process.pid)}
        for entry in os.listdir("/proc"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                with open("/proc/%d/stat" % int(entry)) as f:
                    rest = f.read().rsplit(")", 1)[1].split()
                if int(rest[3]) == self.process.pid and rest[0] != "Z":
                    found.add(int(entry))
        return found

    def kill_all(self):
        """kill -9 of every process of the server, the parent first so that it
        restarts nothing; also of what was being started just then."""
        everyone = [pid for pid, _, _ in descendants(self.process.pid)]
        for pid in everyone:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

        def gone():
            left = self.remaining() | {pid for pid in everyone if alive(pid)}
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not left
        wait_for(gone, 10, "killed processes are gone")

    def close(self, keep=False):
        if self.process is not None and self.process.poll() is None:
            self.stop()
        if self.owned and not keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    # --- looking at it

    def log_tail(self, size=3000):
        with contextlib.suppress(OSError), open(self.log_path, "rb") as f:
            f.seek(max(0, os.path.getsize(self.log_path) - size))
            return f.read().decode("utf-8", "replace")
        return ""

    def log_text(self):
        with open(self.log_path, "rb") as f:
            return f.read().decode("utf-8", "replace")

    def ctl(self, *words, check=True, user=None):
        """smtpctl; its standard output."""
        run = subprocess.run(
            as_user(user or self.user) +
            [tool("smtpctl"), "--spool", self.spool] + list(words),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=120)
        out = run.stdout.decode("utf-8", "replace")
        if check and run.returncode != 0:
            raise Failure("smtpctl %s: exit %d\n%s%s" % (
                " ".join(words), run.returncode, out,
                run.stderr.decode("utf-8", "replace")))
        return out

    def queue(self):
        return [line.split("|") for line in
                self.ctl("show", "queue").splitlines()]

    def check_clean(self):
        """`smtpctl queue check` has nothing to say against the store."""
        self.ctl("queue", "check")

    def wait_empty(self, seconds=60):
        wait_for(lambda: not self.ctl("show", "queue").strip(), seconds,
                 "an empty queue; left: " + str(len(self.queue())))

    def sendmail(self, *words, data=b"", user=None, check=True):
        run = subprocess.run(
            as_user(user) + [tool("sendmail")] + list(words), input=data,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                 "SMTPD_SPOOL": self.spool, "HOME": "/nonexistent"})
        if check and run.returncode != 0:
            raise Failure("sendmail: exit %d\n%s" % (
                run.returncode, run.stderr.decode("utf-8", "replace")))
        return run

    def maildir(self, name="Maildir", owner=None):
        """A folder into which `owner` (default: the server's user, or nobody)
        may deliver."""
        path = os.path.join(self.folder, name)
        os.makedirs(path, exist_ok=True)
        if os.geteuid() == 0:
            entry = pwd.getpwnam(owner or self.user or NOBODY)
            os.chown(path, entry.pw_uid, entry.pw_gid)
        os.chmod(path, 0o700)
        return path

    def count(self, maildir):
        return sum(len(os.listdir(os.path.join(maildir, part)))
                   for part in ("new", "cur")
                   if os.path.isdir(os.path.join(maildir, part)))


def descendants(pid):
    """(pid, name, parent) of a process and all below it, parents first."""
    children = {}
    names = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError):
            with open("/proc/%s/stat" % entry) as f:
                stat = f.read()
            name = stat[stat.index("(") + 1:stat.rindex(")")]
            rest = stat[stat.rindex(")") + 2:].split()
            if rest[0] == "Z":
                continue
            children.setdefault(int(rest[1]), []).append(int(entry))
            names[int(entry)] = executable(int(entry)) or name
    found = []
    todo = [(pid, 0)]
    while todo:
        one, parent = todo.pop(0)
        if one in names:
            found.append((one, names[one], parent))
        todo += [(child, one) for child in children.get(one, [])]
    return found


def executable(pid):
    try:
        return os.path.basename(os.readlink("/proc/%d/exe" % pid)).replace(
            " (deleted)", "")
    except OSError:
        return None


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Blackhole:
    """smtp-blackhole on a port of its own."""

    def __init__(self, folder, *options, port=None, name="sink"):
        self.port = port or free_port()
        self.ledger = os.path.join(folder, name + ".ledger")
        self.status = os.path.join(folder, name + ".status")
        self.process = subprocess.Popen(
            [tool("smtp-blackhole"), "--ledger", self.ledger, "--status",
             self.status, "--seconds", "3600"] + list(options) +
            ["127.0.0.1:%d" % self.port], stdout=subprocess.PIPE, text=True)
        OPEN.append(self)
        wait_for(lambda: os.path.exists(self.status), 10, "smtp-blackhole")

    def stats(self):
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as s:
            s.settimeout(10)
            s.connect(self.status)
            return json.loads(s.makefile().read())

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)
        self.process.stdout.close()

    close = stop


def load(port, *options, ledger=None, check=True, timeout=600):
    """Runs smtp-load to its end; its statistics."""
    words = [tool("smtp-load")] + list(options)
    if ledger:
        words += ["--ledger", ledger]
    run = subprocess.run(words + ["127.0.0.1:%d" % port],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         text=True, timeout=timeout)
    if check and run.returncode != 0:
        raise Failure("smtp-load: exit %d\n%s%s" % (run.returncode, run.stdout,
                                                    run.stderr))
    return json.loads(run.stdout)


def ledger_check(*words):
    """(statistics, text for people) of ledger-check."""
    run = subprocess.run([tool("ledger-check")] + list(words),
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         text=True)
    if run.returncode not in (0, 1):
        raise Failure("ledger-check: " + run.stderr)
    return json.loads(run.stdout), run.stderr


def peer(package, path):
    """A file of an unpacked Debian package, see scripts/setup."""
    full = os.path.join(PEERS, package, path)
    if not os.path.exists(full):
        raise Skip("%s is not unpacked in %s (scripts/setup)" %
                   (package, PEERS))
    return full


# --- the runner

FULL = "--full" in sys.argv


def close_all():
    while OPEN:
        with contextlib.suppress(OSError, Failure,
                                 subprocess.SubprocessError):
            OPEN.pop().close()


def run_tests(tests):
    """Runs functions named test_*; PASS, FAIL or SKIP for each; the exit
    status.  Words on the command line choose those whose names contain one."""
    words = [w for w in sys.argv[1:] if not w.startswith("--")]
    module = os.path.basename(sys.argv[0])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    atexit.register(close_all)
    failed = 0
    for test in tests:
        name = test.__name__
        if words and not any(word in name for word in words):
            continue
        begin = time.monotonic()
        try:
            test()
            verdict = "PASS"
            text = ""
        except Skip as e:
            verdict = "SKIP"
            text = str(e)
        except (Failure, OSError, subprocess.SubprocessError, ValueError,
                KeyError, IndexError) as e:
            verdict = "FAIL"
            failed += 1
            text = "%s: %s" % (type(e).__name__, e)
        finally:
            close_all()
        print("%s %s %s (%.1f s)%s" % (
            verdict, module, name, time.monotonic() - begin,
            "\n    " + text.replace("\n", "\n    ") if text else ""),
            flush=True)
    return 1 if failed else 0
