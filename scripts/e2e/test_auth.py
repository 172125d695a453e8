#!/usr/bin/env python3
"""AUTH against the built programs: PLAIN, LOGIN and SCRAM-SHA-256 with
passwords in tables, of every kind of hash; accounts of the system through PAM
and through the shadow file; wrong passwords, and that nothing of a password
stands in the log.

Runs in a mount namespace with a passwd, a shadow and a pam.d of its own."""
import base64
import contextlib
import hashlib
import hmac
import os
import shutil
import smtplib
import ssl
import subprocess
import sys
import tempfile
import time
import warnings

sys.dont_write_bytecode = True
from certificates import Authority                              # noqa: E402
from holdfast import (Server, Skip, expect, expect_equal,        # noqa: E402
                      free_port, run_tests, tool, wait_for)

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import crypt                                                # noqa: E402

PASSWORD = "correct horse, battery"
# A colon, a dollar, a space and what is not ASCII.
STRANGE = "p\u00e4ss: $1 w\u00f6rd"
CONF = """\
pki mx.holdfast.example cert "{cert}" key "{key}"
table users file:{folder}/users
table verifiers file:{folder}/verifiers
table boxes { "@" = nobody }
table own { "sixth" = "sixth@inside.example, @sixth.example" }
listen on 127.0.0.1 port {port} tls pki mx.holdfast.example \\
    auth <users> senders <own> tag users
listen on 127.0.0.1 port {verifiers} tls pki mx.holdfast.example \\
    auth <verifiers> tag verifiers
listen on 127.0.0.1 port {system} tls pki mx.holdfast.example \\
    auth tag system
action "box" maildir "{folder}/Maildir" virtual <boxes> user nobody
match from any auth for any action "box"
"""
PAM = """\
auth required pam_succeed_if.so quiet user != shadowonly
auth required pam_succeed_if.so quiet rhost != 127.0.0.99
auth required pam_unix.so
account required pam_unix.so
"""
PAM_FILE = "/etc/pam.d/smtpd"


def smtpctl(*words, text=None):
    run = subprocess.run([tool("smtpctl")] + list(words),
                         input=text and text.encode(),
                         stdout=subprocess.PIPE, check=True, timeout=60)
    return run.stdout.decode().splitlines()


def hashes():
    """{user: value}, a user for each kind of hash."""
    made = {"best": smtpctl("encrypt", text=PASSWORD + "\n")[0]}
    for user, kind in (("first", "-1"), ("fifth", "-5"), ("sixth", "-6")):
        run = subprocess.run(["openssl", "passwd", kind, "-stdin"],
                             input=PASSWORD.encode(), check=True,
                             stdout=subprocess.PIPE)
        made[user] = run.stdout.decode().strip()
    for user, setting in (("blowfish", "$2b$05$abcdefghijklmnopqrstuu"),
                          ("scrypt", "$7$A6..../....abcdefgh"),
                          ("gost", "$gy$j9T$abcdefgh")):
        made[user] = crypt.crypt(PASSWORD, setting)
        expect(made[user] and made[user].startswith(setting[:3]),
               "the system knows " + setting, made[user])
    # The value may name a user; then only what follows counts.
    made["named"] = "whoever:" + made["sixth"]
    made["scram"] = smtpctl("encrypt", "-s", PASSWORD)[0]
    made["strange"] = smtpctl("encrypt", STRANGE)[0]
    made["locked"] = "*" + made["sixth"]
    return made


class Place:
    def __init__(self):
        self.ports = {name: free_port() for name in ("verifiers", "system")}
        self.server = Server("")
        folder = self.server.folder
        self.authority = Authority(folder)
        cert, key = self.authority.issue("mx.holdfast.example")
        text = CONF
        for name, value in dict(cert=cert, key=key, folder=folder,
                                port=self.server.port, **self.ports).items():
            text = text.replace("{%s}" % name, str(value))
        with open(self.server.conf, "a") as f:
            f.write(text)
        with open(os.path.join(folder, "users"), "w") as f:
            for user, value in hashes().items():
                f.write("%s: %s\n" % (user, value))
        with open(os.path.join(folder, "verifiers"), "w") as f:
            for user, value in zip(("joe", "strange"), smtpctl(
                    "encrypt", "-s", text="%s\n%s\n" % (PASSWORD, STRANGE))):
                f.write("%s: %s\n" % (user, value))
        self.maildir = self.server.maildir()
        self.server.start()

    def connect(self, port=None, tls=True, source="127.0.0.1"):
        client = smtplib.SMTP("127.0.0.1", port or self.server.port,
                              local_hostname="client.example", timeout=60,
                              source_address=(source, 0))
        client.ehlo()
        if tls:
            context = ssl.create_default_context(cafile=self.authority.cert)
            context.check_hostname = False
            client.starttls(context=context)
            client.ehlo()
        return client

    def plain(self, user, password, port=None, source="127.0.0.1"):
        """The reply to AUTH PLAIN, in a session of its own."""
        client = self.connect(port, source=source)
        reply = client.docmd("AUTH", "PLAIN " + plain(user, password))
        client.close()
        return reply[0], reply[1].decode()

    def nothing_secret(self):
        log = self.server.log_text()
        for password in (PASSWORD, STRANGE):
            expect(password not in log, "no password in the log", log)
            encoded = base64.b64encode(password.encode()).decode()
            expect(encoded[:-4] not in log, "nor its base64", log)
        for user in ("sixth", "joe", "unixuser", "nobody-at-all"):
            expect(plain(user, PASSWORD)[:-4] not in log,
                   "nor an AUTH line", log)
        expect("$6$" not in log and "$y$" not in log and
               "SCRAM-SHA-256$" not in log, "nor a hash", log)


def plain(user, password, authzid=""):
    return base64.b64encode(
        b"\0".join(t.encode() for t in (authzid, user, password))).decode()


def b64(data):
    return base64.b64encode(data if isinstance(data, bytes)
                            else data.encode()).decode()


class Scram:
    """A client's side of RFC 5802, step by step."""

    def __init__(self, client, user, password, header="n,,"):
        self.bare = "n=%s,r=fyko+d2lbbFgONRv9qkxdawL" % user
        self.header = header
        self.client = client
        code, text = client.docmd("AUTH", "SCRAM-SHA-256 " +
                                  b64(header + self.bare))
        expect_equal(code, 334, "a challenge: %r" % text)
        self.challenge = base64.b64decode(text).decode()
        self.facts = dict(part.split("=", 1)
                          for part in self.challenge.split(","))
        self.salted = hashlib.pbkdf2_hmac(
            "sha256", password.encode(), base64.b64decode(self.facts["s"]),
            int(self.facts["i"]))

    def sign(self, key, text):
        return hmac.new(key, text.encode(), "sha256").digest()

    def prove(self):
        """The reply to the proof."""
        without = "c=%s,r=%s" % (b64(self.header), self.facts["r"])
        self.message = ",".join((self.bare, self.challenge, without))
        key = self.sign(self.salted, "Client Key")
        signature = self.sign(hashlib.sha256(key).digest(), self.message)
        proof = bytes(a ^ b for a, b in zip(key, signature))
        return self.client.docmd(b64("%s,p=%s" % (without, b64(proof))))

    def finish(self):
        """All that is left; the server must prove itself, too."""
        code, text = self.prove()
        expect_equal(code, 334, "the server's proof: %r" % text)
        expected = self.sign(self.sign(self.salted, "Server Key"),
                             self.message)
        expect_equal(base64.b64decode(text).decode(), "v=" + b64(expected),
                     "the server knows the verifier")
        return self.client.docmd("")


def test_every_kind_of_hash():
    it = Place()
    for user in ("best", "first", "fifth", "sixth", "blowfish", "scrypt",
                 "gost", "named", "scram"):
        expect_equal(it.plain(user, PASSWORD)[0], 235, user)
    expect_equal(it.plain("strange", STRANGE)[0], 235, "a strange password")
    expect_equal(it.plain("SIXTH", PASSWORD)[0], 235, "names have no case")
    expect_equal(it.plain("locked", PASSWORD)[0], 535, "a locked user")
    it.nothing_secret()


def test_clients():
    it = Place()
    for mechanism in ("PLAIN", "LOGIN"):
        client = it.connect()
        expect("STARTTLS" not in client.esmtp_features, "inside TLS")
        expect_equal(sorted(client.esmtp_features["auth"].split()),
                     ["LOGIN", "PLAIN"], "mechanisms")
        expect_equal(client.mail("sixth@inside.example")[0], 530,
                     "MAIL before AUTH")
        client.user, client.password = "sixth", PASSWORD
        code, _ = client.auth(mechanism, getattr(
            client, "auth_" + mechanism.lower()))
        expect_equal(code, 235, mechanism)
        expect_equal(client.docmd("AUTH", "PLAIN")[0], 503, "AUTH again")
        client.sendmail("sixth@inside.example", ["r@inside.example"],
                        "Subject: %s\r\n\r\nx\r\n" % mechanism)
        client.quit()
    wait_for(lambda: it.server.count(it.maildir) == 2, 20, "both messages")
    it.nothing_secret()


def test_swaks():
    if shutil.which("swaks") is None:
        raise Skip("no swaks")
    it = Place()
    for mechanism in ("PLAIN", "LOGIN"):
        run = subprocess.run(
            ["swaks", "--server", "127.0.0.1", "--port", str(it.server.port),
             "--tls", "--auth", mechanism, "--auth-user", "sixth",
             "--auth-password", PASSWORD, "--from", "a@sixth.example",
             "--to", "r@inside.example", "--helo", "client.example"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=60)
        expect_equal(run.returncode, 0, run.stdout.decode())
    wait_for(lambda: it.server.count(it.maildir) == 2, 20, "both messages")
    it.nothing_secret()


def test_scram():
    it = Place()
    port = it.ports["verifiers"]
    # Offered where all have verifiers, and only there.
    client = it.connect(port)
    expect("SCRAM-SHA-256" in client.esmtp_features["auth"].split(),
           "SCRAM is offered", client.esmtp_features)
    code, text = Scram(client, "joe", PASSWORD).finish()
    expect_equal(code, 235, "SCRAM: %r" % text)
    client.sendmail("joe@inside.example", ["r@inside.example"],
                    "Subject: scram\r\n\r\nx\r\n")
    client.quit()
    wait_for(lambda: it.server.count(it.maildir) == 1, 20, "the message")
    client = it.connect(port)
    expect_equal(Scram(client, "strange", STRANGE).finish()[0], 235,
                 "a strange password")
    client.close()
    expect_equal(it.plain("joe", PASSWORD, port)[0], 235,
                 "PLAIN with a verifier")

    # A cancelled exchange, then one of a name nobody has: it looks the same
    # each time, and like those of others.
    client = it.connect(port)
    first = Scram(client, "joe", PASSWORD)
    expect_equal(client.docmd("*")[0], 501, "cancelled")
    seen = []
    for _ in range(2):
        other = Scram(client, "nobody-at-all", PASSWORD)
        seen.append((other.facts["s"], other.facts["i"]))
        expect_equal(client.docmd("*")[0], 501, "cancelled")
    expect_equal(seen[0], seen[1], "the same salt")
    expect_equal(seen[0][1], first.facts["i"], "as many rounds as others")
    expect_equal(len(seen[0][0]), len(first.facts["s"]), "as long a salt")
    client.close()

    client = it.connect(port)
    expect_equal(Scram(client, "joe", "wrong").prove()[0], 535,
                 "a wrong password")
    expect_equal(Scram(client, "nobody-at-all", PASSWORD).prove()[0], 535,
                 "nobody")
    expect_equal(Scram(client, "joe", PASSWORD).finish()[0], 235,
                 "the right one at last")
    client.close()
    it.nothing_secret()


def test_wrong_passwords():
    it = Place()
    replies = set()
    begin = time.monotonic()
    client = it.connect()
    for user in ("sixth", "nobody-at-all"):
        replies.add(client.docmd("AUTH", "PLAIN " + plain(user, "wrong")))
    expect_equal(len(replies), 1, "what is said of both: %r" % replies)
    expect_equal(min(replies)[0], 535, "refused")
    code, _ = client.docmd("AUTH", "PLAIN " + plain("sixth", PASSWORD + "x"))
    expect(code in (421, 535), "the third failure", code)
    with contextlib.suppress(smtplib.SMTPServerDisconnected):
        code, _ = client.docmd("NOOP")
        expect_equal(code, 421, "after the third failure")
    with contextlib.suppress(OSError):
        expect_equal(client.sock.recv(100) if client.sock else b"", b"",
                     "the session has ended")
    expect(time.monotonic() - begin >= 1 + 2 + 4, "failures are slowed")
    # The right one is not.
    expect_equal(it.plain("sixth", PASSWORD)[0], 235, "right")
    it.nothing_secret()


def test_not_in_clear():
    it = Place()
    client = it.connect(tls=False)
    expect("auth" not in client.esmtp_features, "AUTH is not offered")
    expect_equal(client.docmd("AUTH", "PLAIN " + plain("sixth", PASSWORD))[0],
                 503, "AUTH in clear")
    expect_equal(client.mail("a@sixth.example")[0], 530, "MAIL in clear")
    client.close()
    it.nothing_secret()


def test_malformed():
    it = Place()
    client = it.connect()
    for words in ("PLAIN !!!!", "PLAIN " + b64("no NUL at all"),
                  "PLAIN " + plain("sixth", ""), "PLAIN " + plain("", "x"),
                  "PLAIN " + b64("\0sixth\0with\rCR")):
        expect_equal(client.docmd("AUTH", words)[0], 501, words)
    expect_equal(client.docmd("AUTH", "CRAM-MD5")[0], 504, "CRAM-MD5")
    expect_equal(client.docmd("AUTH", "PLAIN " + plain(
        "sixth", PASSWORD, authzid="root"))[0], 235,
        "another identity is ignored")
    # `senders`: this user may not be everybody.
    expect_equal(client.mail("root@inside.example")[0], 530, "another sender")
    expect_equal(client.mail("anyone@sixth.example")[0], 250, "a sender of his")
    client.close()
    it.nothing_secret()


def system_accounts(it):
    port = it.ports["system"]
    expect_equal(it.plain("unixuser", PASSWORD, port)[0], 235, "unixuser")
    # Each from an address of its own, for failures of one are slowed.
    answers = {it.plain(user, password, port, "127.0.0.%d" % (2 + i))
               for i, (user, password) in enumerate((
                   ("unixuser", "wrong"), ("nobody-at-all", PASSWORD),
                   ("locked", PASSWORD), ("expired", PASSWORD),
                   ("root", PASSWORD)))}
    expect_equal(len(answers), 1, "what is said of all others: %r" % answers)
    expect_equal(min(answers)[0], 535, "refused")


def test_system_accounts_by_shadow():
    with contextlib.suppress(FileNotFoundError):
        os.unlink(PAM_FILE)
    it = Place()
    system_accounts(it)
    expect_equal(it.plain("shadowonly", PASSWORD, it.ports["system"])[0], 235,
                 "shadowonly")
    it.nothing_secret()


def test_system_accounts_by_pam():
    with open(PAM_FILE, "w") as f:
        f.write(PAM)
    it = Place()
    try:
        system_accounts(it)
        # That PAM was asked, and not the shadow file.
        port = it.ports["system"]
        expect_equal(it.plain("shadowonly", PASSWORD, port)[0], 535,
                     "shadowonly")
        # And told who the client is.
        expect_equal(it.plain("unixuser", PASSWORD, port, "127.0.0.99")[0],
                     535, "an address that PAM does not like")
    finally:
        os.unlink(PAM_FILE)
    it.nothing_secret()


def enter():
    """Runs all this again in a namespace with files of its own."""
    if os.geteuid() != 0 or shutil.which("unshare") is None or subprocess.run(
            ["unshare", "-m", "true"]).returncode != 0:
        print("SKIP test_auth.py: needs root and namespaces")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HOLDFAST_INSIDE"] = folder
        return subprocess.run(["unshare", "-m", sys.executable] +
                              sys.argv).returncode


def furnish(folder):
    os.chmod(folder, 0o755)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    setting = crypt.crypt(PASSWORD, "$6$abcdefgh")
    users = {"unixuser": "%s:19000:0:99999:7:::" % setting,
             "shadowonly": "%s:19000:0:99999:7:::" % setting,
             "locked": "!%s:19000:0:99999:7:::" % setting,
             "expired": "%s:19000:0:99999:7::19001:" % setting}
    for name, line in (("passwd", "%s:x:%d:65534::/nonexistent:/bin/false\n"),
                       ("shadow", "%s:%s\n")):
        copy = os.path.join(folder, name)
        shutil.copy2("/etc/" + name, copy)
        shutil.chown(copy, os.stat("/etc/" + name).st_uid,
                     os.stat("/etc/" + name).st_gid)
        with open(copy, "a") as f:
            for number, (user, shadow) in enumerate(users.items()):
                f.write(line % (user, 60000 + number if name == "passwd"
                                else shadow))
        subprocess.run(["mount", "--bind", copy, "/etc/" + name], check=True)
    services = os.path.join(folder, "pam.d")
    shutil.copytree("/etc/pam.d", services)
    subprocess.run(["mount", "--bind", services, "/etc/pam.d"], check=True)


if __name__ == "__main__":
    if "HOLDFAST_INSIDE" not in os.environ:
        sys.exit(enter())
    furnish(os.environ["HOLDFAST_INSIDE"])
    sys.exit(run_tests([value for name, value in list(globals().items())
                        if name.startswith("test_")]))
