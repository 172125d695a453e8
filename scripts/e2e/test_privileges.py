#!/usr/bin/env python3
"""What the processes may do, seen from outside and from inside: whose they are
and what is left of root, what a user's command gets, that nobody can signal or
look into another, that no process has two TLS libraries, what filters get and
that the rest lives on without them, and that a user whose home hangs, is full
or whose commands hang delays himself alone.

Runs in namespaces of its own for mounts and processes: some of these commands
kill whatever they can reach."""
import contextlib
import ctypes
import os
import pwd
import re
import shutil
import signal
import smtplib
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import threading
import warnings

sys.dont_write_bytecode = True
from certificates import Authority                              # noqa: E402
from holdfast import (Server, Skip, Smtp, expect, expect_equal,  # noqa: E402
                      free_port, programs, run_tests, wait_for)

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import crypt                                                # noqa: E402

HERE = os.path.dirname(os.path.realpath(__file__))
PASSWORD = "correct horse"
USERS = {"alice": 5101, "bob": 5102, "hang": 5103}
GROUP = 5200            # one more of alice's
CONF = """\
pki mx.holdfast.example cert "{cert}" key "{key}"
listen on 127.0.0.1 port {port} hostname mx.holdfast.example
listen on 127.0.0.1 port {auth} tls pki mx.holdfast.example auth tag people \\
    hostname mx.holdfast.example
listen on 127.0.0.1 port {inner} tls pki mx.holdfast.example tag inner \\
    hostname mx.holdfast.example
table aliases { "attack" = "|/bin/sh {folder}/attack",
    "probe" = "|{folder}/probe {folder}/out/alias" }
table boxes { "@" = alice }
action "local" maildir alias <aliases>
action "mda" mda "{folder}/probe {folder}/out/mda" virtual <boxes>
action "mbox" mbox
action "inner" maildir "{folder}/inner" virtual <boxes>
action "away" relay host smtp+tls://mx.holdfast.example:{inner} \
    tls no-verify
match tag inner from any for any action "inner"
match from any for domain "here.example" action "local"
match from any for domain "mda.example" action "mda"
match from any for domain "mbox.example" action "mbox"
match from any for domain "away.example" action "away"
match tag people from any auth for any action "local"
"""
# Tells what it is, and is a filter.
FILTER = """\
#!/bin/sh
{folder}/probe {folder}/out/$1 < /dev/null
echo "begins" >&2
while IFS= read -r line; do
    case $line in
    'config|ready')
        echo 'register|report|smtp-in|link-connect'
        echo 'register|filter|smtp-in|helo'
        echo 'register|filter|smtp-in|ehlo'
        echo 'register|ready' ;;
    'filter|'*)
        IFS='|' read -r _ _ _ _ _ session token _ <<END
$line
END
        echo "filter-result|$session|$token|proceed" ;;
    esac
done
"""
FILTER_CONF = """\
proc "plain" "{folder}/filter plain"
filter "plain" proc "plain"
filter "theirs" proc-exec "{folder}/filter theirs" user alice group extra
filter "python" proc-exec "/usr/bin/python3 {folder}/python" user bob
""" + CONF.replace("listen on 127.0.0.1 port {port}", "listen on 127.0.0.1 "
                   "port {port} filter { plain, theirs, python }")
PYTHON = """\
import ssl, sys
for line in sys.stdin:
    if line.strip() == "config|ready":
        print("register|report|smtp-in|*")
        print("register|ready", flush=True)
"""
TEXT = b"Subject: x\r\n\r\nA line.\r\n"
NETWORK = ("smtpd-receive", "smtpd-relay", "smtpd-deliver")
ROOMS = NETWORK + ("smtpd-queue", "smtpd-lookup", "smtpd-keys")
FILTERS = "smtpd-filters"       # only with filters


def compiled(source, output, *options):
    subprocess.run(["gcc", "-Wall", "-o", output, "-x", "c", source] +
                   list(options), check=True)


class Place:
    def __init__(self, conf=CONF):
        self.folder = tempfile.mkdtemp(prefix="holdfast-e2e.")
        ports = {name: free_port() for name in ("auth", "inner")}
        self.ports = ports
        os.mkdir(os.path.join(self.folder, "ca"))
        authority = Authority(os.path.join(self.folder, "ca"))
        cert, key = authority.issue("mx.holdfast.example")
        for name, value in (("cert", cert), ("key", key),
                            ("auth", ports["auth"]),
                            ("inner", ports["inner"])):
            conf = conf.replace("{%s}" % name, str(value))
        self.server = Server(conf, folder=self.folder)
        self.server.owned = True
        out = os.path.join(self.folder, "out")
        os.mkdir(out)
        os.chmod(out, 0o1777)
        probe = os.path.join(self.folder, "probe")
        compiled(os.path.join(HERE, "privileges_probe.c"), probe)
        for name, text in (("filter", FILTER), ("python", PYTHON)):
            path = os.path.join(self.folder, name)
            with open(path, "w") as f:
                f.write(text.replace("{folder}", self.folder))
            os.chmod(path, 0o755)
        inner = os.path.join(self.folder, "inner")
        os.mkdir(inner, 0o700)
        os.chown(inner, USERS["alice"], USERS["alice"])
        for user, number in USERS.items():
            for name in os.listdir("/home/" + user):
                path = os.path.join("/home", user, name)
                shutil.rmtree(path) if os.path.isdir(path) and \
                    not os.path.islink(path) else os.unlink(path)
            os.chown("/home/" + user, number, number)

    def start(self):
        self.server.start()
        return self

    def send(self, *to, text=TEXT):
        session = Smtp(self.server.port)
        session.expect("EHLO client.example", "250")
        reply = session.message("s@out.example", to, text)
        expect(reply.startswith("250"), "accepted", reply)
        session.quit()

    def results(self, to):
        return re.findall(r" (?:mda|mta) delivery .* to=<%s> .* "
                          r'result="?(\w+"? .*)$' % re.escape(to),
                          self.server.log_text(), re.M)

    def result(self, to, text=TEXT):
        before = len(self.results(to))
        self.send(to, text=text)
        return wait_for(lambda: self.results(to)[before:], 60, to)[0]

    def forward(self, user, text):
        path = "/home/%s/.forward" % user
        with open(path, "w") as f:
            f.write(text)
        os.chown(path, USERS[user], USERS[user])
        os.chmod(path, 0o600)

    def probed(self, name):
        """{word: [values]} of what the probe wrote."""
        path = os.path.join(self.folder, "out", name)
        found = {}
        with open(path) as f:
            for line in f:
                word, _, value = line.rstrip("\n").partition(" ")
                found.setdefault(word, []).append(value)
        return found

    def of_rooms(self):
        """{pid: name} of all rooms, agents and helpers."""
        return {pid: name for pid, name in self.server.pids().items()
                if name.startswith("smtpd-")}


def read(path):
    with open(path) as f:
        return f.read()


def status_of(lines):
    return dict(re.split(r":\s*", line, 1) for line in lines if ":" in line)


def expect_user(status, uid, gid, what):
    expect_equal(status["Uid"].split(), [str(uid)] * 4, what + ": uids")
    expect_equal(status["Gid"].split(), [str(gid)] * 4, what + ": gids")
    expect_equal(status["Groups"].split(), [str(gid)], what + ": groups")
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        expect_equal(int(status[name], 16), 0, "%s: %s" % (what, name))


def check_command(found, user, home, environment, what):
    entry = pwd.getpwnam(user)
    status = status_of(found["status"])
    expect_user(status, entry.pw_uid, entry.pw_gid, what)
    # A user's own commands may gain privileges, as at his shell.
    expect_equal(status["NoNewPrivs"], "0", what + ": no_new_privs")
    expect_equal(found["root"], ["0"], what + ": back to root")
    expect_equal(found["fd"], ["0", "1", "2"], what + ": descriptors")
    expect_equal(found["umask"], ["77"], what + ": umask")
    expect_equal(found["cwd"], [home], what + ": folder")
    expect_equal(found["tty"], ["6"], what + ": no terminal (ENXIO)")
    expect_equal(found["core"], ["0 0"], what + ": core files")
    for word in ("signal", "blocked"):
        expect(word not in found, "%s: %s" % (what, word), found.get(word))
    names = sorted(one.split("=")[0] for one in found["env"]
                   if one.split("=")[0] not in ("_", "PWD", "OLDPWD",
                                                "SHLVL"))
    expect_equal(names, sorted(environment), what + ": environment")


def test_what_a_command_gets():
    p = Place()
    # What smtpd itself was started with must not matter.
    p.server.wrapper = ["/bin/sh", "-c",
                        "umask 0; ulimit -c unlimited; trap '' USR1 HUP INT; "
                        "SECRET=x; export SECRET; exec 7<>/etc/shadow; "
                        'exec "$@"', "sh"]
    p.start()
    p.forward("bob", '"|%s/probe %s/out/forward"\n' % (p.folder, p.folder))
    words = ["PATH", "DOMAIN", "HOME", "ORIGINAL_RECIPIENT", "RECIPIENT",
             "SHELL", "LOCAL", "LOGNAME", "USER", "SENDER"]
    for to, name, user, home in (
            ("x@mda.example", "mda", "alice", "/home/alice"),
            ("bob@here.example", "forward", "bob", "/home/bob"),
            ("probe@here.example", "alias", "_smtpd", "/")):
        expect_equal(p.result(to), "Ok stat=Delivered", to)
        check_command(p.probed(name), user, home, words, name)
    p.server.check_clean()


def test_what_an_agent_has():
    p = Place().start()
    expect_equal(p.result("alice@here.example"), "Ok stat=Delivered", "alice")
    # All but the one that forks them.
    agents = [pid for pid in p.server.room_pids("smtpd-agent")
              if read("/proc/%d/comm" % pid) == "smtpd-agent\n"]
    expect_equal(len(agents), 1, "agents")
    proc = "/proc/%d/" % agents[0]
    status = status_of(read(proc + "status").splitlines())
    expect_user(status, USERS["alice"], USERS["alice"], "agent")
    expect_equal(status["NoNewPrivs"], "1", "no_new_privs")
    expect_equal(status["Umask"], "0077", "umask")
    expect_equal(os.readlink(proc + "cwd"), "/home/alice", "folder")
    expect_equal(read(proc + "environ"), "PATH=/usr/bin:/bin\0",
                 "environment")
    # Its door; what it wrote on 4 to parent is closed.
    expect_equal(sorted(os.listdir(proc + "fd"), key=int),
                 ["0", "1", "2", "3"], "descriptors")
    expect(re.search(r"Max core file size +0 +0 ", read(proc + "limits")),
           "core files", read(proc + "limits"))
    expect_equal(os.stat(proc + "mem").st_uid, 0, "dumpable (owner of mem)")
    expect_equal(read(proc + "stat").rsplit(")", 1)[1].split()[4], "0",
                 "terminal")


def test_whose_the_rooms_are():
    p = Place(FILTER_CONF).start()
    empty = os.path.join(p.server.spool, "empty")
    seen = set()
    for pid, name in p.of_rooms().items():
        if name not in ROOMS + (FILTERS,):
            continue
        seen.add(name)
        proc = "/proc/%d/" % pid
        user = pwd.getpwnam("_smtpn" if name in NETWORK else "_smtpq")
        for task in os.listdir(proc + "task"):
            status = status_of(
                read(proc + "task/%s/status" % task).splitlines())
            expect_user(status, user.pw_uid, user.pw_gid, name)
            expect_equal(status["NoNewPrivs"], "1", name + ": no_new_privs")
            expect_equal(status["Seccomp"], "2", name + ": seccomp")
        expect_equal(os.stat(proc + "mem").st_uid, 0, name + ": dumpable")
        expect_equal(os.readlink(proc + "root"),
                     empty if name in NETWORK else "/", name + ": root")
    expect_equal(seen, set(ROOMS + (FILTERS,)), "rooms")
    folder = os.stat(os.path.join(p.server.spool, "filters"))
    expect_equal((folder.st_uid, folder.st_mode & 0o7777),
                 (pwd.getpwnam("_smtpq").pw_uid, 0o700), "their folder")
    for word in ("Landlock", "seccomp", "no user"):
        expect("has no " + word not in p.server.log_text(), word)


def filters_of(p):
    """{name: pid} of those that are shell scripts."""
    found = {}
    for pid in p.server.pids():
        with contextlib.suppress(OSError):
            words = read("/proc/%d/cmdline" % pid).split("\0")
            if words[1:2] == [os.path.join(p.folder, "filter")]:
                found[words[2]] = pid
    return found


def test_what_a_filter_gets():
    p = Place(FILTER_CONF)
    p.server.wrapper = ["/bin/sh", "-c",
                        "umask 0; ulimit -c unlimited; trap '' USR1 HUP INT; "
                        "SECRET=x; export SECRET; exec 7<>/etc/shadow; "
                        'exec "$@"', "sh"]
    p.start()
    expect_equal(p.result("alice@here.example"), "Ok stat=Delivered", "alice")
    smtpd = pwd.getpwnam("_smtpd")
    pids = filters_of(p)
    for name, uid, gid in (("plain", smtpd.pw_uid, smtpd.pw_gid),
                           ("theirs", USERS["alice"], GROUP)):
        found = p.probed(name)
        status = status_of(found["status"])
        expect_user(status, uid, gid, name)
        expect_equal(status["NoNewPrivs"], "0", name + ": no_new_privs")
        expect_equal(status["Seccomp"], "0", name + ": seccomp")
        expect_equal(found["root"], ["0"], name + ": back to root")
        expect_equal(found["fd"], ["0", "1", "2"], name + ": descriptors")
        expect_equal(found["umask"], ["22"], name + ": umask")
        expect_equal(found["cwd"], ["/"], name + ": folder")
        expect_equal(found["tty"], ["6"], name + ": no terminal (ENXIO)")
        expect_equal(found["core"], ["0 0"], name + ": core files")
        for word in ("signal", "blocked"):
            expect(word not in found, "%s: %s" % (name, word),
                   found.get(word))
        names = {one.split("=")[0] for one in found["env"]}
        expect(names <= {"PATH", "TZ", "PWD", "_", "OLDPWD", "SHLVL"},
               name + ": environment", names)
        proc = "/proc/%d/" % pids[name]
        ends = [os.readlink(proc + "fd/%d" % fd) for fd in (0, 1, 2)]
        expect(ends[0] == ends[1] != ends[2], name + ": sockets", ends)
        expect("socket:" in ends[0] and "socket:" in ends[2],
               name + ": sockets", ends)
        # The script itself may be open, too.
        rest = set(os.listdir(proc + "fd")) - {"0", "1", "2"}
        for fd in rest:
            expect_equal(os.readlink(proc + "fd/" + fd),
                         os.path.join(p.folder, "filter"), name + ": " + fd)
        stat = read(proc + "stat").rsplit(")", 1)[1].split()
        expect_equal(stat[2:4], [str(pids[name])] * 2, name + ": session")
        expect("%s: begins" % name in p.server.log_text(), name + ": the log",
               p.server.log_tail())
    p.server.check_clean()


def test_what_the_process_of_a_table_has():
    p = Place("table people sqlite:{folder}/people.conf\n" + CONF.replace(
        "alias <aliases>", "alias <people>"))
    data = os.path.join(p.folder, "people.sqlite")
    with contextlib.closing(sqlite3.connect(data)) as db, db:
        db.execute("create table names (name text, user text)")
        db.execute("insert into names values ('info', 'alice')")
    with open(os.path.join(p.folder, "people.conf"), "w") as f:
        f.write("dbpath %s\nquery_alias select user from names where name=?\n"
                % data)
    p.start()
    expect_equal(p.result("info@here.example"), "Ok stat=Delivered", "info")
    pids = p.server.room_pids("table-sqlite")
    expect_equal(len(pids), 1, "processes")
    proc = "/proc/%d/" % pids[0]
    smtpd = pwd.getpwnam("_smtpd")
    expect_user(status_of(read(proc + "status").splitlines()), smtpd.pw_uid,
                smtpd.pw_gid, "table")
    names = {one.split("=")[0] for one in read(proc + "environ").split("\0")}
    expect(names <= {"PATH", "TZ", ""}, "environment", names)
    ends = {fd: os.readlink(proc + "fd/" + fd)
            for fd in os.listdir(proc + "fd")}
    expect(ends["0"] == ends["1"] != ends["2"], "sockets", ends)
    for fd, what in ends.items():
        expect("socket:" in what if int(fd) < 3 else what.startswith(data),
               "descriptor " + fd, what)
    expect_equal(read(proc + "cmdline").split("\0")[:2],
                 ["people", os.path.join(p.folder, "people.conf")], "words")
    expect_equal(libraries(pids[0]) & {"BoringSSL"}, set(), "libraries")


def test_filters_that_end_are_started_again():
    p = Place(FILTER_CONF).start()
    rooms = p.of_rooms()
    for _ in range(3):
        before = filters_of(p)
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: len(filters_of(p)) == 2 and
                 not set(filters_of(p).values()) & set(before.values()), 30,
                 "new ones")
    for name in ("plain", "theirs"):
        expect_equal(p.server.log_text().count(
            "warn: lost processor: %s terminated; signal 9" % name), 3, name)

    def accepted():
        with contextlib.suppress(Exception):
            p.send("alice@here.example")
            return True
    wait_for(accepted, 30, "mail again")
    expect_equal({pid: name for pid, name in p.of_rooms().items()
                  if name in ROOMS + (FILTERS,)},
                 {pid: name for pid, name in rooms.items()
                  if name in ROOMS + (FILTERS,)}, "the rooms live")
    # Their room: they go with it, and come back with it.
    before = filters_of(p)
    os.kill(p.server.room_pids(FILTERS)[0], signal.SIGKILL)
    wait_for(lambda: len(filters_of(p)) == 2 and
             not set(filters_of(p).values()) & set(before.values()), 30,
             "new ones")
    wait_for(accepted, 30, "mail again")
    pids = filters_of(p)
    p.server.stop()
    for name, pid in pids.items():
        expect(not os.path.exists("/proc/%d" % pid), name + " is left")


def test_a_filter_without_its_user():
    p = Place(FILTER_CONF.replace("user alice", "user nobody-of-that-name"))
    p.server.start(wait=0)
    wait_for(lambda: p.server.log_text().count(
        "warn: theirs: cannot be started: no user nobody-of-that-name") >= 3,
        30, "tries")
    checked = subprocess.run([os.path.join(programs(), "server/smtpd"), "-n",
                              "-f", p.server.conf], stderr=subprocess.PIPE)
    expect_equal(checked.returncode, 0, "smtpd -n")
    expect(b'processor "theirs": no user nobody-of-that-name' in
           checked.stderr, "smtpd -n warns", checked.stderr)


ATTACK = """\
cat > /dev/null
exec > {out}/attack 2>&1
for pid in {pids}; do
    kill -0 $pid && echo "KILL $pid"
    kill -9 $pid && echo "KILL $pid"
    head -c 1 /proc/$pid/environ > /dev/null && echo "READ environ $pid"
    head -c 1 /proc/$pid/mem > /dev/null && echo "READ mem $pid"
    ls /proc/$pid/fd > /dev/null && echo "READ fd $pid"
    ls -d /proc/$pid/root/ > /dev/null && echo "READ root $pid"
done
echo done
kill -9 -1
echo done again
"""


def test_commands_cannot_touch_the_rooms():
    p = Place().start()
    before = p.of_rooms()
    with open(os.path.join(p.folder, "attack"), "w") as f:
        f.write(ATTACK.replace("{out}", os.path.join(p.folder, "out"))
                .replace("{pids}", " ".join(map(str, list(before) +
                                                [p.server.process.pid]))))
    p.send("attack@here.example")
    path = os.path.join(p.folder, "out", "attack")
    wait_for(lambda: os.path.exists(path) and "done again" in read(path), 30,
             "the attack")
    text = read(path)
    for word in ("KILL ", "READ "):
        expect(word not in text, "an alias's command can " + word, text)
    expect_equal(p.result("alice@here.example"), "Ok stat=Delivered",
                 "others after it")
    after = p.of_rooms()
    for pid, name in before.items():
        if name in ROOMS:
            expect_equal(after.get(pid), name, "%s %d lives" % (name, pid))
    expect("lost child" not in p.server.log_text(), "lost children",
           p.server.log_tail())
    # The same as a user of the rooms themselves, outside their sandboxes:
    # what somebody gains there who may run programs.  They cannot be read.
    for name in ("smtpd-queue", "smtpd-receive"):
        pid = p.server.room_pids(name)[0]
        user = pwd.getpwnam("_smtpn" if name in NETWORK else "_smtpq")
        for part in ("mem", "environ", "maps"):
            run = subprocess.run(
                ["setpriv", "--reuid=%d" % user.pw_uid, "--clear-groups",
                 "--regid=%d" % user.pw_gid, "head", "-c1",
                 "/proc/%d/%s" % (pid, part)], stdout=subprocess.PIPE,
                stderr=subprocess.PIPE)
            expect(run.returncode != 0, "%s of %s can be read" % (part, name))


def test_without_the_user_of_the_network_rooms():
    p = Place()
    without = os.path.join(p.folder, "passwd")
    with open(without, "w") as f:
        f.write("".join(line for line in open("/etc/passwd")
                        if not line.startswith("_smtpn:")))
    p.server.wrapper = ["unshare", "-m", "/bin/sh", "-c",
                        'mount --bind "$1" /etc/passwd && shift && '
                        'exec "$@"', "sh", without]
    p.start()
    expect("warn: no user _smtpn: " in p.server.log_text(), "the warning",
           p.server.log_tail())
    expect_equal(p.result("alice@here.example"), "Ok stat=Delivered", "alice")


OLD_KERNEL = """\
import ctypes, errno, os, sys
lib = ctypes.CDLL("libseccomp.so.2")
lib.seccomp_init.restype = ctypes.c_void_p
class Compare(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int),
                ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]
ctx = ctypes.c_void_p(lib.seccomp_init(0x7fff0000))
lib.seccomp_attr_set(ctx, 3, 0)
def refuse(name, error, *compare):
    number = lib.seccomp_syscall_resolve_name(name)
    array = (Compare * len(compare))(*compare)
    assert lib.seccomp_rule_add_array(ctx, 0x50000 | error, number,
                                      len(compare), array) == 0
refuse(b"landlock_create_ruleset", errno.ENOSYS)
refuse(b"seccomp", errno.ENOSYS)
refuse(b"prctl", errno.EINVAL, Compare(0, 4, 22, 0))
assert lib.seccomp_load(ctx) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_kernel_without_landlock_and_seccomp():
    """Played by a filter around the whole server."""
    p = Place()
    p.server.wrapper = [sys.executable, "-c", OLD_KERNEL]
    p.start()
    for name in ROOMS:
        for feature in ("Landlock", "seccomp"):
            line = "warn: %s: this kernel has no %s: less protection" % (
                name[len("smtpd-"):], feature)
            wait_for(lambda one=line: one in p.server.log_text(), 20,
                     line + p.server.log_tail())
    expect_equal(p.result("alice@here.example"), "Ok stat=Delivered", "alice")


PAM_MODULE = """\
#include <dlfcn.h>
#include <security/pam_modules.h>
#include <string.h>
int pam_sm_authenticate(pam_handle_t* h, int f, int c, const char** v) {
  void* ssl = dlopen("libssl.so.3", RTLD_NOW | RTLD_GLOBAL);
  const char* password = 0;
  if (ssl == 0 || dlsym(ssl, "SSL_CTX_new") == 0) return PAM_AUTH_ERR;
  if (pam_get_authtok(h, 6, &password, 0) != 0 || password == 0)
    return PAM_AUTH_ERR;
  return strcmp(password, "%s") == 0 ? PAM_SUCCESS : PAM_AUTH_ERR;
}
int pam_sm_setcred(pam_handle_t* h, int f, int c, const char** v) {
  return PAM_SUCCESS;
}
int pam_sm_acct_mgmt(pam_handle_t* h, int f, int c, const char** v) {
  return PAM_SUCCESS;
}
"""


def libraries(pid):
    """Which TLS libraries a process has mapped."""
    found = set()
    with contextlib.suppress(OSError):
        for line in read("/proc/%d/maps" % pid).splitlines():
            if "/android/lib" in line:
                found.add("BoringSSL")
            elif re.search(r"/lib(ssl|crypto)\.so\.[1-9]", line):
                found.add("OpenSSL")
    return found


def log_in(port):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    client = smtplib.SMTP("127.0.0.1", port, timeout=60)
    client.starttls(context=context)
    client.ehlo()
    client.login("alice", PASSWORD)
    return client


def test_no_process_has_both_libraries():
    p = Place(FILTER_CONF)
    source = os.path.join(p.folder, "pam.c")
    module = os.path.join(p.folder, "pam_openssl.so")
    with open(source, "w") as f:
        f.write(PAM_MODULE % PASSWORD)
    compiled(source, module, "-shared", "-fPIC", "-lpam", "-ldl",
             "-Wno-implicit-function-declaration")
    with open("/etc/pam.d/smtpd", "w") as f:
        f.write("auth required %s\naccount required %s\n" % (module, module))
    seen = {}
    stop = threading.Event()

    def look():
        while not stop.is_set():
            for pid, name in p.server.pids().items():
                found = libraries(pid)
                expect_equal(len(found) < 2, True, "%s has %s" % (name, found))
                seen.setdefault(name, set()).update(found)
    broken = []

    def watch():
        try:
            look()
        except Exception as e:
            broken.append(e)
    p.start()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        p.forward("bob", "|cat > /dev/null\n")
        for _ in range(5):
            client = log_in(p.ports["auth"])
            client.sendmail("alice@here.example",
                            ["alice@here.example", "bob@here.example",
                             "x@away.example"], "Subject: x\n\nx\n")
            client.quit()
        p.send("alice@mbox.example", "x@mda.example")
        wait_for(lambda: len(p.results("x@away.example")) >= 10, 60,
                 "relayed by TLS and delivered")
        p.server.wait_empty()
        wait_for(lambda: "OpenSSL" in seen.get("smtpd-auth", ()), 10,
                 "smtpd-auth has loaded OpenSSL: %r" % seen)
    finally:
        stop.set()
        watcher.join()
        os.unlink("/etc/pam.d/smtpd")
    if broken:
        raise broken[0]
    for name in ("smtpd-receive", "smtpd-relay", "smtpd-keys"):
        expect_equal(seen[name], {"BoringSSL"}, name)
    expect_equal(seen["smtpd-auth"], {"OpenSSL"}, "smtpd-auth")
    for name in ("smtpd", "smtpd-agent", "smtpd-deliver"):
        expect("OpenSSL" not in seen[name], name, seen[name])
    for name in ("smtpd", "smtpd-agent", FILTERS):
        expect_equal(seen[name], set(), name)
    # The filter in Python has loaded one.
    expect_equal([found for name, found in seen.items()
                  if name.startswith("python3")], [{"OpenSSL"}], "python3")


def mount_hanging(path):
    """A file system whose server never answers."""
    try:
        device = os.open("/dev/fuse", os.O_RDWR)
    except OSError as e:
        raise Skip("no /dev/fuse: %s" % e)
    lib = ctypes.CDLL(None, use_errno=True)
    options = "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other" % device
    if lib.mount(b"hung", path.encode(), b"fuse", 0, options.encode()) != 0:
        os.close(device)
        raise Skip("no FUSE: " + os.strerror(ctypes.get_errno()))
    return device


def test_a_home_that_hangs():
    p = Place().start()
    device = mount_hanging("/home/hang")
    slow = {}
    try:
        def ask():
            session = Smtp(p.server.port, timeout=120)
            session.expect("EHLO client.example", "250")
            session.expect("MAIL FROM:<s@out.example>", "250")
            slow["reply"] = session.command("RCPT TO:<hang@here.example>")
            session.close()
        threads = [threading.Thread(target=ask) for _ in range(40)]
        for thread in threads:
            thread.start()
        wait_for(lambda: p.server.room_pids("smtpd-auth"), 20, "asked")
        # All the others meanwhile.
        p.forward("bob", "alice\n")
        for to in ("alice@here.example", "bob@here.example"):
            for _ in range(5):
                expect_equal(p.result(to).split()[0], "Ok", to)
        expect("reply" not in slow, "the hanging one was answered", slow)
        for thread in threads:
            thread.join()
        expect(slow["reply"].startswith("4"), "a temporary failure",
               slow["reply"])
        expect("warn: auth: no answer in time about hang" in
               p.server.log_text(), "the log", p.server.log_tail())
        ask()
        expect(slow["reply"].startswith("4"), "again", slow["reply"])
    finally:
        # Ends whoever waits for it.
        os.close(device)
        subprocess.run(["umount", "-l", "/home/hang"], check=True)


def test_a_full_disk_delays_its_user_alone():
    p = Place().start()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,uid=%d,mode=700" %
                    USERS["bob"], "tmpfs", "/home/bob"], check=True)
    try:
        text = b"Subject: x\r\n\r\n" + b"y\r\n" * 50000
        for _ in range(10):
            p.send("bob@here.example", "alice@here.example", text=text)
        wait_for(lambda: p.results("alice@here.example").count(
            "Ok stat=Delivered") == 10, 60, "all of alice's")
        wait_for(lambda: len(p.results("bob@here.example")) >= 10, 60,
                 "bob's were tried")
        for result in p.results("bob@here.example"):
            expect(result.startswith("TempFail ") and
                   "No space left on device" in result, "bob's", result)
        expect_equal(len(p.server.queue()), 10, "what waits")
        subprocess.run(["mount", "-o", "remount,size=16m", "/home/bob"],
                       check=True)
        p.server.ctl("schedule", "all")
        p.server.wait_empty()
        expect_equal(p.server.count("/home/bob/Maildir"), 10, "bob's at last")
    finally:
        subprocess.run(["umount", "-l", "/home/bob"], check=True)


def test_commands_that_hang():
    """Few at a time of one user; ended after their time, and tried again."""
    p = Place("mda limit max-session 6 max-session-per-user 2\n" + CONF)
    p.start()
    p.forward("bob", "|sleep 4711\n")

    def sleeping():
        return [pid for pid, name in p.server.pids().items()
                if name == "sleep" and
                "4711" in read("/proc/%d/cmdline" % pid)]
    for _ in range(12):
        p.send("bob@here.example")
    wait_for(lambda: len(sleeping()) >= 2, 30, "two commands")
    for _ in range(10):
        expect_equal(p.result("alice@here.example"), "Ok stat=Delivered",
                     "alice")
        expect(len(sleeping()) <= 2, "commands of one user", sleeping())
    expect(len(p.server.room_pids("smtpd-agent")) <= 6, "agents in all",
           p.server.pids())
    expect_equal(p.results("bob@here.example"), [], "bob's are under way")
    # Their time is over: what the alarm of 300 seconds does.
    for pid in p.server.room_pids("smtpd-agent"):
        os.kill(pid, signal.SIGALRM)
    results = wait_for(lambda: p.results("bob@here.example"), 30, "an end")
    for result in results:
        expect(result.startswith("TempFail "), "a temporary failure", result)
    expect_equal(len(p.server.queue()), 12, "all of bob's wait")
    p.forward("bob", "|cat > /dev/null\n")
    expect_equal(p.result("alice@here.example"), "Ok stat=Delivered", "alice")


def test_homes_and_mailboxes_that_are_not_what_they_seem():
    p = Place().start()
    home = "/home/bob"
    secret = os.path.join(p.folder, "secret")
    with open(secret, "w") as f:
        f.write("alice\n")
    os.chmod(secret, 0o644)
    os.mkdir(os.path.join(p.folder, "victim"), 0o700)
    path = home + "/.forward"

    def refused(what):
        session = Smtp(p.server.port)
        session.expect("EHLO client.example", "250")
        session.expect("MAIL FROM:<s@out.example>", "250")
        reply = session.command("RCPT TO:<bob@here.example>")
        expect(reply[:1] in "45", what, reply)
        session.close()
    for what, make in (
            ("a link", lambda: os.symlink(secret, path)),
            ("another's", lambda: shutil.copy(secret, path)),
            ("a hard link", lambda: os.link(secret, path)),
            ("a fifo", lambda: os.mkfifo(path)),
            ("a folder", lambda: os.mkdir(path))):
        with contextlib.suppress(OSError):
            make()
            refused(what)
        if os.path.lexists(path):
            os.rmdir(path) if os.path.isdir(path) and \
                not os.path.islink(path) else os.unlink(path)
    p.forward("bob", "alice\n")
    os.chmod(home, 0o777)
    refused("a home that others may write to")
    os.chmod(home, 0o755)
    os.unlink(path)
    # A Maildir that leads elsewhere: its user's rights are all there is.
    os.symlink(os.path.join(p.folder, "victim"), home + "/Maildir")
    got = p.result("bob@here.example")
    expect(got.startswith("TempFail ") and "Permission denied" in got,
           "a Maildir that is another's", got)
    expect_equal(os.listdir(os.path.join(p.folder, "victim")), [], "written")
    os.unlink(home + "/Maildir")
    os.mkfifo(home + "/Maildir")
    got = p.result("bob@here.example")
    expect(got.startswith("TempFail "), "a fifo as Maildir", got)
    os.unlink(home + "/Maildir")
    p.server.ctl("schedule", "all")
    p.server.wait_empty()


def test_spools_that_are_not_what_they_seem():
    for what in ("link", "mode", "owner", "store link", "offline mode"):
        p = Place()
        spool = p.server.spool
        os.rmdir(spool)
        real = os.path.join(p.folder, "real")
        if what == "link":
            os.mkdir(real, 0o711)
            os.symlink(real, spool)
        else:
            os.mkdir(spool)
            os.chmod(spool, 0o711)
        with open(os.path.join(spool, "x"), "w"):
            pass        # in use: it is not adopted
        if what == "mode":
            os.chmod(spool, 0o777)
        elif what == "owner":
            os.chown(spool, USERS["bob"], 0)
        elif what == "store link":
            os.mkdir(real)
            os.symlink(real, os.path.join(spool, "store"))
        elif what == "offline mode":
            os.mkdir(os.path.join(spool, "offline"))
            os.chmod(os.path.join(spool, "offline"), 0o777)
        p.server.start(wait=0)
        status = p.server.process.wait(30)
        expect_equal(status, 1, what + ": exit")
        expect(re.search(r"is not a directory|must be|is not owned by",
                         p.server.log_text()), what, p.server.log_tail())


def enter():
    """Runs this script again in namespaces of its own."""
    words = ["unshare", "-m", "-p", "--fork", "--mount-proc"]
    if os.geteuid() != 0 or subprocess.run(words + ["true"]).returncode != 0:
        print("SKIP test_privileges.py: needs root and namespaces")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HOLDFAST_INSIDE"] = folder
        return subprocess.run(words + [sys.executable] + sys.argv).returncode


def furnish(folder):
    os.chmod(folder, 0o755)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    shadow = crypt.crypt(PASSWORD, "$6$abcdefgh")
    lines = {
        "passwd": ["%s:x:%d:%d::/home/%s:/bin/sh" % (u, n, n, u)
                   for u, n in USERS.items()],
        "shadow": ["%s:%s:19000:0:99999:7:::" % (u, shadow) for u in USERS],
        "group": ["%s:x:%d:" % (u, n) for u, n in USERS.items()] +
                 ["extra:x:%d:alice" % GROUP],
        "hosts": ["127.0.0.1 mx.holdfast.example"]}
    for name, more in lines.items():
        copy = os.path.join(folder, name)
        shutil.copy2("/etc/" + name, copy)
        shutil.chown(copy, os.stat("/etc/" + name).st_uid,
                     os.stat("/etc/" + name).st_gid)
        with open(copy, "a") as f:
            f.write("\n".join(more) + "\n")
        subprocess.run(["mount", "--bind", copy, "/etc/" + name], check=True)
    services = os.path.join(folder, "pam.d")
    shutil.copytree("/etc/pam.d", services)
    subprocess.run(["mount", "--bind", services, "/etc/pam.d"], check=True)
    for target, mode in (("/home", 0o755), ("/var/mail", 0o2775)):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=%o" % mode,
                        "tmpfs", target], check=True)
    shutil.chown("/var/mail", 0, "mail")
    os.chmod("/var/mail", 0o2775)
    for user, number in USERS.items():
        os.mkdir("/home/" + user, 0o755)
        os.chown("/home/" + user, number, number)


if __name__ == "__main__":
    if "HOLDFAST_INSIDE" not in os.environ:
        sys.exit(enter())
    furnish(os.environ["HOLDFAST_INSIDE"])
    sys.exit(run_tests([value for name, value in list(globals().items())
                        if name.startswith("test_")]))
