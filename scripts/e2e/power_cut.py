"""Power cuts: QEMU's storage daemon logs every write and flush of a disk on
which the server keeps its queue; replaying the log up to any point, with or
without what was not flushed, must show everything acknowledged before it.

Layout of the disk: the file system, then two blocks into which smtp-load and
smtp-blackhole write, with direct I/O, how far their ledgers had come; so the
log itself orders acknowledgements among the server's writes.
"""
import contextlib
import os
import random
import shutil
import subprocess
import tempfile
import time

from holdfast import (BIN, Blackhole, Failure, Server, Skip,   # noqa: E402
                      expect, load, tool, wait_for)

MIB = 1024 * 1024
FS_SIZE = 192 * MIB
LOAD_MARK = FS_SIZE
SINK_MARK = FS_SIZE + MIB
DISK_SIZE = FS_SIZE + 2 * MIB
LOG_SIZE = 4096 * MIB          # sparse
MODES = ["none", "all", "half", "torn", "prefix"]
LOST, UNOPENABLE, SOUND = "lost", "unopenable", "sound"


def run(*words, check=True, timeout=120):
    got = subprocess.run(words, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, timeout=timeout)
    if check and got.returncode != 0:
        raise Failure("%s: exit %d\n%s" % (" ".join(words), got.returncode,
                                           got.stdout))
    return got


def need():
    if os.geteuid() != 0:
        raise Skip("power cut: needs root for loop devices")
    for what in ("/dev/fuse", "/dev/loop-control"):
        if not os.path.exists(what):
            raise Skip("power cut: there is no " + what)
    for program in ("qemu-storage-daemon", "mkfs.ext4", "losetup", "mount"):
        if shutil.which(program) is None:
            raise Skip("power cut: there is no %s (scripts/setup)" % program)


class LoggedDisk:
    """A disk whose writes are logged from a known start on."""

    def __init__(self, folder):
        self.folder = folder
        self.image = os.path.join(folder, "disk")
        self.base = os.path.join(folder, "base")
        self.log = os.path.join(folder, "log")
        self.export = os.path.join(folder, "export")
        self.mountpoint = os.path.join(folder, "mnt")
        self.loops = []
        self.daemon = None
        for path, size in ((self.image, FS_SIZE), (self.log, LOG_SIZE)):
            with open(path, "wb") as f:
                f.truncate(size)
        # Everything initialised now: the log is to be the server's.
        run("mkfs.ext4", "-q", "-E",
            "lazy_itable_init=0,lazy_journal_init=0,nodiscard", self.image)
        os.truncate(self.image, DISK_SIZE)
        run("cp", "--sparse=always", self.image, self.base)
        open(self.export, "w").close()
        os.mkdir(self.mountpoint)

    def attach(self):
        self.daemon = subprocess.Popen(
            ["qemu-storage-daemon",
             "--blockdev", "driver=file,node-name=disk,filename=" + self.image,
             "--blockdev", "driver=file,node-name=log,filename=" + self.log,
             "--blockdev", "driver=blklogwrites,node-name=logged,file=disk,"
             "log=log,log-sector-size=512",
             "--export", "type=fuse,id=export,node-name=logged,writable=on,"
             "mountpoint=" + self.export],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

        def there():
            if self.daemon.poll() is not None:
                raise Skip("power cut: qemu-storage-daemon: " +
                           self.daemon.stdout.read())
            return os.path.getsize(self.export) == DISK_SIZE
        wait_for(there, 10, "the FUSE export")
        try:
            self.fs = self.loop(0, FS_SIZE)
            self.load_mark = self.loop(LOAD_MARK, MIB)
            self.sink_mark = self.loop(SINK_MARK, MIB)
        except Failure as e:
            raise Skip("power cut: no loop device: %s" % e)
        run("mount", "-t", "ext4", self.fs, self.mountpoint)
        os.chmod(self.mountpoint, 0o755)

    def loop(self, offset, size):
        name = run("losetup", "--find", "--show", "--offset", str(offset),
                   "--sizelimit", str(size), self.export).stdout.strip()
        self.loops.append(name)
        return name

    def entries(self):
        """Of the log: [(offset, length, flush, marker)]"""
        found = []
        for line in run(tool("power-cut-replay"), "--markers", str(FS_SIZE),
                        self.log).stdout.splitlines():
            words = line.split()
            found.append((int(words[1]), int(words[2]), "flush" in words,
                          "marker" in words))
        return found

    def detach(self):
        """Ends the logging; the log is complete then."""
        with contextlib.suppress(subprocess.SubprocessError):
            run("umount", self.mountpoint, check=False)
            for name in self.loops:
                run("losetup", "-d", name, check=False)
        self.loops = []
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.terminate()
            try:
                self.daemon.wait(20)
            except subprocess.TimeoutExpired:
                self.daemon.kill()
                self.daemon.wait()
        if self.daemon is not None:
            self.daemon.stdout.close()
            self.daemon = None


class State:
    """The disk after one power cut, mounted."""

    def __init__(self, disk, cut, mode, seed):
        self.image = os.path.join(disk.folder, "state")
        self.mountpoint = os.path.join(disk.folder, "state.mnt")
        os.makedirs(self.mountpoint, exist_ok=True)
        run("cp", "--sparse=always", disk.base, self.image)
        run(tool("power-cut-replay"), "--cut", str(cut), "--mode", mode,
            "--seed", str(seed), "--markers", str(FS_SIZE), disk.log,
            self.image)

    def marks(self):
        with open(self.image, "rb") as f:
            f.seek(LOAD_MARK)
            acknowledged = f.read(32).split(b"\n")[0].strip(b"\0")
            f.seek(SINK_MARK)
            taken = f.read(32).split(b"\n")[0].strip(b"\0")
        return int(acknowledged or 0), int(taken or 0)

    def __enter__(self):
        # The journal is replayed here.
        run("mount", "-t", "ext4", "-o", "loop,sizelimit=%d" % FS_SIZE,
            self.image, self.mountpoint)
        return self.mountpoint

    def __exit__(self, *unused):
        run("umount", self.mountpoint)


def choose_cuts(entries, first, count, chance):
    """Half of the cuts anywhere, half right after an acknowledgement."""
    marks = [i + 1 for i, entry in enumerate(entries)
             if entry[3] and i + 1 > first]
    if not marks:
        raise Failure("no acknowledgement is in the log")
    cuts = []
    for number in range(count):
        cut = chance.choice(marks) if number % 2 else \
            chance.randint(first, len(entries))
        cuts.append((cut, MODES[number % len(MODES)], chance.randrange(2**31)))
    return cuts


def scratch():
    """A folder in memory if there is room, since states are made by copying."""
    base = "/dev/shm" if os.path.isdir("/dev/shm") and \
        shutil.disk_usage("/dev/shm").free > 2048 * MIB else None
    folder = tempfile.mkdtemp(prefix="holdfast-cut.", dir=base)
    os.chmod(folder, 0o755)
    return folder


# --- the server

CONF = """\
listen on 127.0.0.1 port {port} hostname mx.holdfast.example
queue size 96M
queue min-free 0%%
smtp limit max-mails 100000
action "out" relay host smtp+notls://127.0.0.1:%(sink)d
action "later" relay host smtp+notls://127.0.0.1:1
match from local for domain "outside.example" action "out"
match from local for any action "later"
"""


def read_ledger(path):
    """[(serial, msgid, [recipient])] of what was acknowledged or taken."""
    found = []
    with open(path) as f:
        for line in f:
            words = line.split()
            if words[0] in ("ACK", "TOOK"):
                found.append((int(words[1]), words[3], words[4].split(",")))
    return found


def judge_server(state, acked, took, spool_name):
    """Everything acknowledged before the cut is in the queue, or was taken by
    the sink before the cut."""
    serial, taken = state.marks()
    with state as mounted:
        spool = os.path.join(mounted, spool_name)
        words = [tool("smtpctl"), "--spool", spool]
        listed = run(*words, "show", "queue", check=False)
        if listed.returncode != 0:
            return UNOPENABLE, listed.stdout
        checked = run(*words, "queue", "check", check=False)
        if checked.returncode != 0:
            return UNOPENABLE, checked.stdout
    queued = set()
    for line in listed.stdout.splitlines():
        columns = line.split("|")
        if len(columns) > 5:
            queued.add((columns[0][:8], columns[5]))
    gone = {(msgid, recipient) for number, msgid, recipients in took
            if number <= taken for recipient in recipients}
    lost = [(msgid, recipient) for number, msgid, recipients in acked
            if number <= serial for recipient in recipients
            if (msgid, recipient) not in queued and
            (msgid, recipient) not in gone]
    return (LOST, "%d of %d acknowledgements: %s" % (
        len(lost), serial, lost[:5])) if lost else (SOUND, "")


def server_test(states, seed):
    need()
    folder = scratch()
    disk = LoggedDisk(folder)
    s = sink = None
    try:
        disk.attach()
        s = Server("")
        sink = Blackhole(s.folder, "--serial-device", disk.sink_mark,
                         "--delay", "end=5")
        s.spool = os.path.join(disk.mountpoint, "spool")
        os.mkdir(s.spool)
        os.chmod(s.spool, 0o711)
        with open(s.conf, "w") as f:
            f.write('spool "%s"\n' % s.spool + (CONF % {"sink": sink.port})
                    .replace("{port}", str(s.port)))
        s.start()
        run("sync")
        first = None
        ledger = os.path.join(s.folder, "load.ledger")
        load(s.port, "--messages", "600", "--rate", "150", "--connections",
             "6", "--recipients", "2", "--domain",
             "outside.example,later.example", "--size", "6000",
             "--serial-device", disk.load_mark, ledger=ledger)
        s.kill_all()    # as it stands: an orderly stop is no power cut
        sink.stop()
        acked, took = read_ledger(ledger), read_ledger(sink.ledger)
        disk.detach()
        entries = disk.entries()
        first = next(i + 1 for i, entry in enumerate(entries)
                     if entry[3] and LOAD_MARK <= entry[0] < SINK_MARK)
        return judge_cuts(disk, entries, first, states, seed, "server",
                          lambda state: judge_server(state, acked, took,
                                                     "spool"))
    finally:
        if s is not None:
            s.close()
        if sink is not None:
            sink.stop()
        disk.detach()
        shutil.rmtree(folder, ignore_errors=True)


def judge_cuts(disk, entries, first, states, seed, name, judge):
    chance = random.Random(seed)
    counts = {SOUND: 0, LOST: 0, UNOPENABLE: 0}
    examples = []
    begin = time.monotonic()
    for cut, mode, cut_seed in choose_cuts(entries, first, states, chance):
        verdict, text = judge(State(disk, cut, mode, cut_seed))
        counts[verdict] += 1
        if verdict != SOUND and len(examples) < 5:
            examples.append("cut %d %s seed %d: %s: %s" % (
                cut, mode, cut_seed, verdict, text.strip()[-500:]))
    print("    %s: %d states of %d log entries, %d flushes: %s (%.1f s)" % (
        name, states, len(entries), sum(e[2] for e in entries), counts,
        time.monotonic() - begin), flush=True)
    return counts, examples


# --- the controls

def control_test(states, seed, unsafe):
    """LMDB alone, as a server that says 250 after each commit."""
    need()
    program = os.path.join(BIN, "storage/lmdb-control")
    if not os.path.exists(program):
        raise Failure("not built: //storage:lmdb-control")
    folder = scratch()
    disk = LoggedDisk(folder)
    try:
        disk.attach()
        env = os.path.join(disk.mountpoint, "env")
        os.mkdir(env)
        run("sync")
        run(program, *(["--no-meta-sync"] if unsafe else []), env,
            disk.load_mark, "150")
        disk.detach()
        entries = disk.entries()
        first = next(i + 1 for i, entry in enumerate(entries) if entry[3])

        def judge(state):
            serial, _ = state.marks()
            with state as mounted:
                found = run(program, "--check", os.path.join(mounted, "env"),
                            check=False)
            if found.returncode != 0:
                return UNOPENABLE, found.stdout
            if int(found.stdout) < serial:
                return LOST, "%s of %d" % (found.stdout.strip(), serial)
            return SOUND, ""
        return judge_cuts(disk, entries, first, states, seed,
                          "LMDB with NOMETASYNC" if unsafe else "LMDB", judge)
    finally:
        disk.detach()
        shutil.rmtree(folder, ignore_errors=True)


def expect_all_sound(result, what):
    counts, examples = result
    expect(counts[LOST] + counts[UNOPENABLE] == 0, what, *examples)
