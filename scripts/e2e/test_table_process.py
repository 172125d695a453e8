#!/usr/bin/env python3
"""Tables that a program answers for (smtpd-tables(7)), in the built programs:
every service, passwords, what is kept while the program is away, updates, and
programs that die, hang, lie or flood: temporary failures, never wrong answers,
never the end of the server."""
import base64
import json
import os
import shutil
import signal
import smtplib
import ssl
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
from certificates import Authority                      # noqa: E402
from holdfast import (Server, Skip, expect,       # noqa: E402
                      expect_equal, free_port, programs, run_tests, tool,
                      wait_for)
from mail_server import MailServer                      # noqa: E402

VUID = 64777    # nobody's in the system
PASSWORD = "Geheim:|x y"
TEXT = b"Subject: x\r\n\r\nA line.\r\n"
CONF = """\
pki mx.test cert "{cert}" key "{key}"
table pt e2e:{folder}/pt timeout 1s{keep}
table pf "e2e:{folder}/pf" timeout 1s
listen on 127.0.0.1 port {port} hostnames <pt>
listen on 127.0.0.1 port {submission} tls pki mx.test auth <pt> senders <pt> \\
    tag in
action "a" maildir "{folder}/home/%{user.username}/Maildir" alias <pt> \\
    userbase <pt>
action "v" maildir "{folder}/home/%{user.username}/Maildir" virtual <pt> \\
    userbase <pt>
action "host" relay host <pf> src <pf> helo-src <pt>
action "dom" relay domain <pt> auth <pt> tls no-verify
match from any mail-from regex <pt> for any reject
match from any for domain <pt> action "a"
match from any for domain "v.test" action "v"
match tag <pt> from any auth for domain "host.test" action "host"
match from src <pt> mail-from <pt> for domain "dom.test" action "dom"
"""


def sha256_crypt(password):
    """A hash of it as users' tables have."""
    done = subprocess.run([tool("smtpctl"), "encrypt", password],
                          stdout=subprocess.PIPE, text=True, timeout=60,
                          check=True)
    return done.stdout.strip()


class Hop(MailServer):
    """A next hop that remembers where its clients come from."""

    def __init__(self, *args, **kwargs):
        self.sources = []
        super().__init__(*args, **kwargs)

    def serve(self, client):
        self.sources.append(client.getpeername()[0])
        super().serve(client)


class Site:
    def __init__(self, keep="", without=(), more=None, start=True):
        if os.geteuid() != 0:
            raise Skip("needs root")
        program = os.path.join(programs(), "ctl", "table-e2e")
        if not os.path.exists(program):
            here = os.path.dirname(os.path.realpath(__file__))
            shutil.copy2(os.path.join(here, "table_program.py"), program)
            os.chmod(program, 0o755)
        self.clients = 0
        self.submission = free_port()
        self.server = Server("")
        folder = self.folder = self.server.folder
        self.authority = Authority(folder)
        cert, key = self.authority.issue("mx.test")
        self.hop = Hop()
        self.secure_hop = Hop(self.authority.issue("hop.test"),
                              auth={"me": "relay Secret"}, offers="PLAIN")
        for name in ("pt", "pf"):
            os.mkdir(os.path.join(folder, name))
            os.chmod(os.path.join(folder, name), 0o777)
        for name in ("joe", "jim"):
            home = os.path.join(folder, "home", name)
            os.makedirs(home)
            os.chown(home, VUID, VUID)
        self.entries = {
            "alias": {"list": "joe, jim", "root": "joe",
                      "info@v.test": "joe", "@v.test": "jim"},
            "domain": {"a.test": "", "b.a.test": ""},
            "userinfo": {"joe": "%d:%d:%s/home/joe" % (VUID, VUID, folder),
                         "jim": "%d:%d:%s/home/jim" % (VUID, VUID, folder),
                         "evil": "0:0:/root"},
            "auth": {"Joe:" + PASSWORD: ""},
            "credentials": {"joe": sha256_crypt(PASSWORD), "plain": "x",
                            "lab": "me:relay Secret"},
            "mailaddrmap": {"joe": "joe@a.test, @b.a.test"},
            "addrname": {"127.0.0.1": "named.test", "127.0.0.2": "two.test"},
            "relayhost": {"dom.test": "smtp+tls://lab@127.0.0.1:%d" %
                          self.secure_hop.port},
            "netaddr": {"127.0.0.1": ""},
            "mailaddr": {"good@out.example": ""},
            "regex": {"bad@out.example": ""},
            "string": {"in": ""},
        }
        self.entries.update(more or {})
        for service in without:
            del self.entries[service]
        self.write("pt", self.entries)
        self.write("pf", {"source": ["127.0.0.2", "127.0.0.3"], "relayhost":
                          ["smtp+notls://127.0.0.1:%d" % self.hop.port]})
        text = CONF
        for word, value in (("cert", cert), ("key", key), ("folder", folder),
                            ("keep", keep), ("port", self.server.port),
                            ("submission", self.submission)):
            text = text.replace("{%s}" % word, str(value))
        with open(self.server.conf, "a") as f:
            f.write(text)
        if start:
            self.server.start()

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def write(self, table, entries):
        with open(self.path(table, "entries"), "w") as f:
            json.dump(entries, f)

    def mode(self, word, table="pt"):
        path = self.path(table, "mode")
        if word:
            with open(path, "w") as f:
                f.write(word)
        else:
            os.unlink(path)

    def asked(self, table="pt"):
        """Without protocol, time, name and identifier."""
        lines = []
        with open(self.path(table, "asked")) as f:
            for line in f:
                words = line.rstrip("\n").split("|", 4)[4].split("|", 3)
                op = words[0]
                del words[1 if op == "update" else 2]
                lines.append(" ".join(words))
        return lines

    def client(self, port=None, tls=False):
        # Whoever guesses passwords is made to wait.
        source = ""
        if tls:
            self.clients += 1
            source = "127.1.%d.%d" % divmod(self.clients, 250)
        client = smtplib.SMTP("127.0.0.1", port or self.server.port,
                              timeout=60, local_hostname="client.example",
                              source_address=(source, 0) if source else None)
        client.ehlo()
        if tls:
            context = ssl.create_default_context(cafile=self.authority.cert)
            context.check_hostname = False
            client.starttls(context=context)
            client.ehlo()
        return client

    def rcpt(self, recipient, sender="x@out.example"):
        client = self.client()
        client.mail(sender)
        code = client.rcpt(recipient)[0]
        client.close()
        return code

    def send(self, recipient, sender="x@out.example"):
        client = self.client()
        client.mail(sender)
        code = client.rcpt(recipient)[0]
        if code == 250:
            code = client.data(TEXT)[0]
        client.close()
        return code

    def log_in(self, user, password, client=None):
        client = client or self.client(self.submission, tls=True)
        word = base64.b64encode(("\0%s\0%s" % (user, password)).encode())
        return client.docmd("AUTH PLAIN " + word.decode())[0]

    def boxes(self):
        return tuple(self.server.count(self.path("home", name, "Maildir"))
                     for name in ("joe", "jim"))

    def wait_boxes(self, *wanted):
        wait_for(lambda: self.boxes() == wanted, 30,
                 "mail in the boxes: %s" % (wanted,))

    def kill_programs(self):
        for pid in self.programs():
            os.kill(pid, signal.SIGKILL)

    def programs(self):
        found = []
        for pid in self.server.pids():
            with open("/proc/%d/cmdline" % pid, "rb") as f:
                if b"/table-e2e\0" in f.read():
                    found.append(pid)
        return found


def test_every_service():
    site = Site()
    expect_equal(len(site.programs()), 2, "a program for each table")
    expect(site.client().docmd("NOOP")[0] == 250, "it runs")
    banner = site.client().ehlo_resp
    expect(banner.startswith(b"named.test"), "hostnames", banner)
    for recipient, code in (
            ("joe@a.test", 250), ("Joe+tag@A.test", 250),
            ("list@b.a.test", 250), ("nobody@a.test", 550),
            ("info@v.test", 250), ("else@v.test", 250),
            ("joe@c.a.test", 550), ("x@dom.test", 550)):
        expect_equal(site.send(recipient), code, "mail for " + recipient)
    site.wait_boxes(4, 2)
    expect_equal(site.rcpt("joe@a.test", "bad@out.example"), 550, "regex")
    log = site.server.log_text()
    expect("pt: hello from pt" in log, "what it says on standard error", log)
    site.server.check_clean()


def test_relays():
    site = Site()
    expect_equal(site.send("x@dom.test", "good@out.example"), 250, "mail-from")
    wait_for(site.secure_hop.messages, 30, "mail at the hop of `domain`")
    expect_equal(site.secure_hop.sessions[-1].user, "me", "relay auth")
    client = site.client(site.submission, tls=True)
    expect_equal(site.log_in("Joe", PASSWORD, client), 235, "a password")
    for number in range(4):
        client.mail("joe@a.test")
        expect_equal(client.rcpt("x%d@host.test" % number)[0], 250, "host")
        expect_equal(client.data(TEXT)[0], 250, "a message")
        wait_for(lambda: len(site.hop.messages()) == number + 1, 30,
                 "mail at the hop of `host`")
        site.server.wait_empty()
    # 127.0.0.3 has no name and is not used.
    expect_equal(set(site.hop.sources), {"127.0.0.2"}, "the source")
    ehlo = {c for s in site.hop.sessions for c in s.commands if "EHLO" in c}
    expect_equal(ehlo, {"EHLO two.test"}, "what we call ourselves")
    asked = site.asked("pf")
    expect("fetch relayhost" in asked and "fetch source" in asked,
           "programs are fetched from", asked)
    expect("lookup relayhost dom.test" in site.asked(), "domain", site.asked())
    site.server.check_clean()


def test_a_relay_waits_for_its_program():
    site = Site()
    site.mode("error")
    client = site.client()
    expect_equal(site.rcpt("x@dom.test", "good@out.example"), 451, "no rule")
    site.mode("")
    # Accepted, and then the program of the next hop is away.
    site.mode("error", "pf")
    client = site.client(site.submission, tls=True)
    expect_equal(site.log_in("Joe", PASSWORD, client), 235, "a password")
    client.mail("joe@a.test")
    expect_equal(client.rcpt("x@host.test")[0], 250, "host")
    expect_equal(client.data(TEXT)[0], 250, "a message")
    failed = "fetch failed: the database is gone"
    wait_for(lambda: site.server.log_text().count(failed) > 1, 30,
             "it is asked again")
    expect_equal(len(site.server.queue()), 1, "it is kept")
    # No more has who asks it.
    os.kill(site.server.room_pids("smtpd-lookup")[0], signal.SIGKILL)
    site.mode("", "pf")
    wait_for(site.hop.messages, 30, "mail at the hop")
    site.server.wait_empty()
    expect("Cannot retrieve smarthost" not in site.server.log_text(),
           "that was no failure of the next hop", site.server.log_text())


def test_passwords():
    site = Site()
    client = site.client(site.submission, tls=True)
    expect("SCRAM" not in client.esmtp_features["auth"], "no SCRAM",
           client.esmtp_features)
    for user, password, code in (
            ("Joe", PASSWORD, 235), ("joe", PASSWORD, 535),
            ("Joe", PASSWORD.lower(), 535), ("Joe", "x", 535),
            ("Joe:Geheim", "|x y", 535)):
        expect_equal(site.log_in(user, password), code,
                     "%r with %r" % (user, password))
    # Who may send as whom.
    client = site.client(site.submission, tls=True)
    site.log_in("Joe", PASSWORD, client)
    for sender, code in (("joe@a.test", 250), ("any@b.a.test", 250),
                         ("x@out.example", 530)):
        client.rset()
        expect_equal(client.mail(sender)[0], code, "as " + sender)
    expect("check auth Joe:" + PASSWORD in site.asked(), "its own service",
           site.asked())
    check_secrets(site)


def test_passwords_by_their_hashes():
    site = Site(without=["auth"])
    for user, password, code in (("joe", PASSWORD, 235), ("JOE", PASSWORD, 235),
                                 ("joe", "x", 535), ("plain", "x", 535),
                                 ("nobody", "x", 535)):
        expect_equal(site.log_in(user, password), code,
                     "%r with %r" % (user, password))
    expect("lookup credentials joe" in site.asked(), "hashes are looked up",
           site.asked())
    site.mode("die")
    expect_equal(site.log_in("joe", PASSWORD), 454, "nobody to ask")
    check_secrets(site)


def check_secrets(site):
    log = site.server.log_text()
    for secret in (PASSWORD, "relay Secret", site.entries["credentials"]["joe"]):
        expect(secret not in log, "no secret in the log", log)


def test_root_is_no_user_of_a_program():
    site = Site()
    expect_equal(site.send("evil@a.test"), 424, "uid 0")
    wait_for(lambda: "evil: not so in any userbase table" in
             site.server.log_text(), 10, "it says why")
    expect_equal(site.send("joe@a.test"), 250, "others are")
    site.wait_boxes(1, 0)


def test_builtin_filters():
    site = Site(start=False)
    with open(site.server.conf) as f:
        text = f.read()
    with open(site.server.conf, "w") as f:
        f.write(text.replace(
            "listen on", 'filter "f" phase mail-from match mail-from <pt> '
            'reject "550 not you"\nlisten on', 1)
            .replace("hostnames <pt>", 'hostnames <pt> filter "f"'))
    site.server.start()
    for mode, sender, code in (("", "x@out.example", 250),
                               ("", "good@out.example", 550),
                               ("error", "good@out.example", 421),
                               ("", "good@out.example", 550)):
        if mode:
            site.mode(mode)
        client = site.client()
        got = client.mail(sender)[0]
        expect(got == code or (mode and 400 <= got <= 499), "%s %s" %
               (mode, sender), got)
        if mode:
            site.mode("")
    expect("check mailaddr good@out.example" in site.asked(), "asked",
           site.asked())


def test_filters_that_know_users():
    """`match auth`: by names or by credentials, whichever there are; a file
    of passwords that `filters` does not have."""
    hashes = {"credentials": {"jim": sha256_crypt(PASSWORD)}}
    for table, without, more, code in (
            ("pt", ["string"], {}, 250),
            ("pt", ["credentials"], {"string": {"joe": ""}}, 250),
            ("pt", [], {}, 250), ("pt", [], hashes, 550),
            ("pt", ["string", "credentials"], {}, 451),
            ("pw", [], hashes, 250), ("other", [], {}, 550)):
        site = Site(start=False, without=without, more=more)
        for name, user in (("pw", "joe"), ("other", "jim")):
            with open(site.path(name), "w") as f:
                f.write("%s %s\n" % (user, sha256_crypt(PASSWORD)))
        with open(site.server.conf) as f:
            text = f.read()
        with open(site.server.conf, "w") as f:
            f.write(text.replace(
                "listen on", "table pw file:%s\ntable other file:%s\n"
                'filter "f" phase mail-from match !auth <%s> '
                'reject "550 no user"\nlisten on' %
                (site.path("pw"), site.path("other"), table), 1)
                .replace("senders <pt>", 'senders <pt> filter "f"'))
        site.server.start()
        client = site.client(site.submission, tls=True)
        expect_equal(site.log_in("Joe", PASSWORD, client), 235, "logged in")
        what = "%s without %s" % (table, without)
        expect_equal(client.mail("joe@a.test")[0], code, what)
        check = [line for line in site.asked() if "credentials" in line]
        expect(all(line.startswith("check ") for line in check), what, check)
        client.close()
        site.server.stop()


def test_update():
    site = Site()
    expect_equal(site.rcpt("new@a.test"), 550, "not there")
    site.entries["alias"]["new"] = "joe"
    site.write("pt", site.entries)
    expect_equal(site.rcpt("new@a.test"), 550, "not read yet")
    site.server.ctl("update", "table", "pt")
    expect_equal(site.rcpt("new@a.test"), 250, "read")
    with open(site.path("pt", "entries"), "w") as f:
        f.write("no JSON")
    done = subprocess.run(
        [tool("smtpctl"), "--spool", site.server.spool, "update", "table",
         "pt"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=60)
    expect(done.returncode != 0 and "entries make no sense" in done.stdout,
           "smtpctl says why not", done)
    log = site.server.log_text()
    for line in ('info: Table "pt" successfully updated',
                 'info: Failed to update table "pt"',
                 "warn: table-proc: pt update failed: entries make no sense"):
        expect(line in log, "the log says " + line, log)
    expect_equal(site.rcpt("new@a.test"), 250, "the old is still there")


def test_explain():
    site = Site()
    text = site.server.ctl("explain", "list@a.test", "--sockaddr", "127.0.0.1",
                           check=False)
    if "alias list: joe, jim" not in text:
        text = site.server.ctl("explain", "list@a.test")
    for line in ("for domain <pt>", "alias list: joe, jim",
                 "userbase: uid %d" % VUID, "reply: 250"):
        expect(line in text, "explain says " + line, text)
    site.mode("error")
    text = site.server.ctl("explain", "list@a.test")
    expect('table "pt": the database is gone' in text, "and why not", text)


def test_what_is_kept():
    site = Site(keep=" keep 1h")
    for recipient, code in (("joe@a.test", 250), ("nobody@a.test", 550)):
        expect_equal(site.rcpt(recipient), code, recipient)
    expect_equal(site.log_in("Joe", PASSWORD), 235, "a password")
    for mode in ("error", "hang", "die"):
        site.mode(mode)
        for recipient, code in (("joe@a.test", 250), ("nobody@a.test", 550),
                                (mode + "@a.test", 424)):
            expect_equal(site.rcpt(recipient), code, mode + ": " + recipient)
        expect_equal(site.log_in("Joe", PASSWORD), 454,
                     mode + ": passwords are not kept")
        site.mode("")
        wait_for(lambda: site.rcpt("jim@v.test") == 250, 60, "it is back")
    log = site.server.log_text()
    expect("pt does not answer: what it said in the last 1h is used" in log and
           "pt answers again" in log, "the log says so", log)


def test_a_program_that_is_not_there():
    site = Site(start=False)
    with open(site.server.conf) as f:
        text = f.read()
    with open(site.server.conf, "w") as f:
        f.write(text.replace("table pf \"e2e:", "table pf \"nope:"))
    done = subprocess.run(
        [os.path.join(programs(), "server/smtpd"), "-n", "-f",
         site.server.conf], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=60)
    expect(done.returncode == 1 and
           'smtpd: table_create: backend "nope" does not exist' in done.stdout,
           "smtpd -n says so", done)
    with open(site.server.conf, "w") as f:
        f.write(text)
    done = subprocess.run(
        [os.path.join(programs(), "server/smtpd"), "-n", "-v", "-f",
         site.server.conf], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=60)
    expect(done.returncode == 0 and
           'table "pt" "e2e:%s/pt" timeout 1s' % site.folder in done.stdout,
           "smtpd -n -v prints it", done)


class Flow(threading.Thread):
    """Mail and log-ins, one after the other."""

    def __init__(self, site):
        super().__init__(daemon=True)
        self.site = site
        self.going = True
        self.wrong = []
        self.right = self.temporary = self.accepted = 0

    def run(self):
        site = self.site
        while self.going:
            for ask, wanted in (
                    (lambda: site.send("joe@a.test"), 250),
                    (lambda: site.send("info@v.test"), 250),
                    (lambda: site.send("nobody@a.test"), 550),
                    (lambda: site.send("x@dom.test", "good@out.example"), 250),
                    (lambda: site.log_in("Joe", PASSWORD), 235),
                    (lambda: site.log_in("Joe", "wrong"), 535)):
                try:
                    code = ask()
                except (OSError, smtplib.SMTPException) as e:
                    self.wrong.append(repr(e))
                    return
                if code == wanted:
                    self.right += 1
                    self.accepted += code == 250
                elif 400 <= code <= 499:
                    self.temporary += 1
                else:
                    self.wrong.append((code, wanted))

    def wait_right(self, count):
        before = self.right
        wait_for(lambda: self.right >= before + count or self.wrong, 90,
                 "right answers")
        expect(not self.wrong, "no wrong answer", self.wrong,
               self.site.server.log_tail())

    def stop(self):
        self.going = False
        self.join()
        expect(not self.wrong, "no wrong answer", self.wrong)


def test_kills_in_the_middle_of_mail():
    site = Site()
    flows = [Flow(site) for _ in range(4)]
    for flow in flows:
        flow.start()
    for _ in range(5):
        flows[0].wait_right(6)
        site.kill_programs()
    # With it they go, too, and come back for the next one.
    for pid in site.server.room_pids("smtpd-lookup"):
        os.kill(pid, signal.SIGKILL)
    for flow in flows:
        flow.wait_right(12)
        flow.stop()
    site.server.wait_empty()
    delivered = site.boxes()[0] + len(site.secure_hop.messages())
    expect_equal(delivered, sum(flow.accepted for flow in flows),
                 "what was accepted is delivered")
    expect("lost processor: pt terminated; signal 9" in
           site.server.log_text(), "the log names them",
           site.server.log_tail())
    expect(sum(flow.temporary for flow in flows) < 100, "few had to wait")
    site.server.check_clean()


def hostile(mode, in_log, code=451):
    def test():
        site = Site()
        expect_equal(site.rcpt("joe@a.test"), 250, "before")
        site.mode(mode)
        site.kill_programs() if mode == "mute" else None
        begin = time.monotonic()
        for recipient in ("joe@a.test", "nobody@a.test", "else@v.test"):
            expect_equal(site.rcpt(recipient), code, recipient)
        took = time.monotonic() - begin
        expect(took < 20, "in time", took)
        expect_equal(site.log_in("Joe", PASSWORD), 454, "a log-in")
        log = site.server.log_text()
        for text in in_log:
            expect(text in log, "the log says " + text, log[-3000:])
        expect(len(log) < 200000, "the log is bounded", len(log))
        check_secrets(site)
        site.mode("")
        if mode == "mute":
            site.kill_programs()
        wait_for(lambda: site.rcpt("joe@a.test") == 250, 90, "after")
        expect_equal(site.rcpt("nobody@a.test"), 550, "after")
        memory = 0
        for pid in site.server.room_pids("smtpd-lookup"):
            with open("/proc/%d/status" % pid) as f:
                memory = max(int(line.split()[1]) for line in f
                             if line.startswith("VmHWM"))
        expect(0 < memory < 200000, "memory is bounded (KiB)", memory)
    test.__name__ = "test_hostile_" + mode.replace("-", "_")
    return test


HOSTILE = [
    hostile("die", ["lost processor: pt terminated; signal 9",
                    "warn: table-proc: pt check failed: the program is gone"]),
    hostile("hang", ["warn: table-proc: pt check failed: no answer within 1s",
                     "warn: table-proc: pt failed: it does not answer"]),
    hostile("silent", ["warn: table-proc: pt failed: it does not answer"]),
    hostile("error", ["pt check failed: the database is gone"]),
    hostile("wrong-id", ["pt failed: answers what it was not asked"]),
    hostile("empty", ["pt failed: failed to parse reply"]),
    hostile("other", ["pt failed: answers something else"]),
    hostile("garbage", ["pt failed: failed to parse reply"]),
    hostile("endless", ["pt failed: line too long"]),
    hostile("mute", ["pt check failed: the program is not ready"]),
]


def test_hostile_flood():
    """The first answer may be taken; then it is killed."""
    site = Site()
    site.mode("flood")
    for _ in range(3):
        code = site.rcpt("joe@a.test")
        expect(code in (250, 424, 451), "right or temporary", code)
        code = site.rcpt("nobody@a.test")
        expect(code in (550, 424, 451), "right or temporary", code)
    expect("pt failed: answers what it was not asked" in
           site.server.log_text(), "the log says so", site.server.log_tail())
    site.mode("")
    wait_for(lambda: site.rcpt("joe@a.test") == 250, 90, "after")


if __name__ == "__main__":
    sys.exit(run_tests([value for name, value in sorted(globals().items())
                        if name.startswith("test_") and callable(value)] +
                       HOSTILE))
