"""Next hops that take STARTTLS or TLS from the first octet, or break it, and a
server of ours that relays to one.  For tests in a mount namespace of their own
(`run_inside`), so that /etc/hosts is their own."""
import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading

from certificates import Authority
from holdfast import (Server, Smtp, expect, expect_equal, free_port, run_tests,
                      wait_for)

TEXT = b"Subject: x\r\n\r\nHello.\r\n"


class Place:
    """The folder of all tests: authorities, and names for addresses."""

    names = {}
    folder = None

    @classmethod
    def name(cls, name):
        """An address of its own for `name`."""
        if name not in cls.names:
            cls.names[name] = "127.8.0.%d" % (len(cls.names) + 1)
            with open("/etc/hosts", "a") as f:
                f.write("%s %s\n" % (cls.names[name], name))
        return cls.names[name]


class Hop:
    """A next hop.  starttls: "offered", None, or what becomes of it: "refused",
    "garbage", "close", "silence"; implicit: TLS from the first octet."""

    def __init__(self, name, certificate, starttls="offered", implicit=False,
                 client_ca=None, versions=None, ciphers=None):
        self.name = name
        self.address = Place.name(name)
        self.port = free_port()
        self.starttls = starttls
        self.implicit = implicit
        self.seen = []    # one for each connection
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*certificate)
        self.context.sni_callback = self.on_name
        if versions:
            self.context.minimum_version, self.context.maximum_version = \
                versions
        if ciphers:
            self.context.set_ciphers(ciphers)
        if client_ca:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(client_ca)
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((self.address, self.port))
        self.listener.listen(16)
        threading.Thread(target=self.accept, daemon=True).start()

    def url(self, scheme="smtp", name=None):
        return "%s://%s:%d" % (scheme, name or self.name, self.port)

    def on_name(self, connection, name, _context):
        self.seen[-1]["sni"] = name

    def accept(self):
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            self.seen.append({"sni": None, "secure": False, "reused": None,
                              "subject": None, "messages": []})
            threading.Thread(target=self.serve, args=(plain, self.seen[-1]),
                             daemon=True).start()

    def serve(self, plain, seen):
        with contextlib.suppress(OSError, ValueError):
            plain.settimeout(60)
            if self.implicit:
                plain = self.secure(plain, seen)
            plain.sendall(b"220 %s ESMTP\r\n" % self.name.encode())
            while plain is not None:
                plain = self.dialogue(plain, seen)

    def secure(self, plain, seen):
        try:
            connection = self.context.wrap_socket(plain, server_side=True)
        except OSError:
            plain.close()
            raise
        seen["secure"] = True
        seen["version"] = connection.version()
        seen["reused"] = connection.session_reused
        shown = connection.getpeercert()
        if shown:
            seen["subject"] = dict(x[0] for x in shown["subject"])["commonName"]
        return connection

    def dialogue(self, connection, seen):
        """What to go on with, or None."""
        lines = connection.makefile("rb")
        for line in lines:
            word = line.split()[0].upper() if line.split() else b""
            if word == b"EHLO":
                offer = self.starttls and not seen["secure"]
                connection.sendall(b"250-%s\r\n%s250 SIZE 99000000\r\n" % (
                    self.name.encode(), b"250-STARTTLS\r\n" if offer else b""))
            elif word == b"STARTTLS" and self.starttls == "refused":
                connection.sendall(b"454 4.7.0 TLS not available\r\n")
            elif word == b"STARTTLS":
                connection.sendall(b"220 2.0.0 go\r\n")
                if self.starttls == "offered":
                    return self.secure(connection, seen)
                if self.starttls == "garbage":
                    connection.recv(10)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                if self.starttls == "silence":
                    connection.recv(1 << 16)
                    while connection.recv(1 << 16):
                        pass
                lines.close()
                connection.close()
                return None
            elif word == b"DATA":
                connection.sendall(b"354 go\r\n")
                text = []
                for part in lines:
                    if part == b".\r\n":
                        break
                    text.append(part)
                seen["messages"].append(b"".join(text))
                connection.sendall(b"250 2.0.0 queued\r\n")
            elif word == b"QUIT":
                connection.sendall(b"221 bye\r\n")
                break
            else:
                connection.sendall(b"250 ok\r\n")
        return None

    def got(self):
        return sum(len(one["messages"]) for one in self.seen)

    def close(self):
        self.listener.close()


class Way:
    """A server with one relay action; `options` as smtpd.conf has them."""

    def __init__(self, hop, options="", scheme="smtp", before="", name=None,
                 start=True):
        self.hop = hop
        self.server = Server("""\
listen on 127.0.0.1 port {port} hostname mx.holdfast.example
%s
mta limit session-mail-max 1
action "out" relay host %s %s
match from any for any action "out"
""" % (before, hop.url(scheme, name), options))
        if start:
            self.server.start()

    def send(self, recipient="a@out.example"):
        session = Smtp(self.server.port)
        session.expect("EHLO client.example", "250")
        reply = session.message("s@inside.example", [recipient], TEXT)
        expect(reply.startswith("250"), "accepted", reply)
        session.quit()

    def delivered(self, count=1):
        wait_for(lambda: self.hop.got() == count, 30, "%d messages there\n%s"
                 % (count, self.server.log_tail()))
        wait_for(lambda: self.server.log_text().count(
            'result="Ok" stat="250 2.0.0 queued"') == count, 30, "Ok\n" +
            self.server.log_tail())
        self.server.wait_empty()

    def log(self, wanted):
        wait_for(lambda: re.search(wanted, self.server.log_text(), re.M), 30,
                 "log line %s\n%s" % (wanted, self.server.log_tail()))

    def never(self, unwanted):
        expect(not re.search(unwanted, self.server.log_text(), re.M),
               "no log line " + unwanted, self.server.log_tail())

    def refused(self, why):
        """Nothing is delivered; log, queue and envelope say why."""
        self.log(r"^\S+ mta error reason=IO Error: %s$" % re.escape(why))
        self.kept(r"Network error on destination MXs \(%s: IO Error: %s\)" % (
            re.escape(self.hop.address), re.escape(why)))

    def kept(self, error):
        def is_kept():
            rows = [r for r in self.server.queue() if len(r) > 13]
            return rows and re.fullmatch(error, rows[0][-1])
        wait_for(is_kept, 30, "queued with error %s\n%s\n%s" % (
            error, self.server.ctl("show", "queue"), self.server.log_tail()))
        row = next(r for r in self.server.queue() if len(r) > 13)
        shown = self.server.ctl("show", "envelope", row[0])
        expect(re.search("^errorline: %s$" % error, shown, re.M),
               "the envelope says it", shown)
        expect_equal(self.hop.got(), 0, "messages at the next hop")


def authority(name="Test CA"):
    folder = tempfile.mkdtemp(dir=Place.folder)
    return Authority(folder, name)


def mine(issuer):
    return 'ca mine cert "%s"' % issuer.cert


def enter():
    """Runs this script again in a mount namespace of its own."""
    if os.geteuid() != 0 or subprocess.run(
            ["unshare", "-m", "true"]).returncode != 0:
        print("SKIP %s: needs root and namespaces" %
              os.path.basename(sys.argv[0]))
        return 0
    os.environ["HOLDFAST_INSIDE"] = "1"
    return subprocess.run(["unshare", "-m", sys.executable] +
                          sys.argv).returncode


def furnish():
    Place.folder = tempfile.mkdtemp(prefix="holdfast-tls.")
    os.chmod(Place.folder, 0o755)
    hosts = os.path.join(Place.folder, "hosts")
    shutil.copy("/etc/hosts", hosts)
    os.chmod(hosts, 0o644)
    with open(hosts, "a") as f:
        f.write("\n")
    for words in ("mount --make-rprivate /", "mount --bind %s /etc/hosts" %
                  hosts):
        subprocess.run(words.split(), check=True)


def run_inside(tests):
    """As run_tests(), in a namespace of their own."""
    if "HOLDFAST_INSIDE" not in os.environ:
        return enter()
    furnish()
    try:
        return run_tests(tests)
    finally:
        shutil.rmtree(Place.folder, ignore_errors=True)
