"""A next hop with TLS and AUTH for tests: takes what it is given, remembers
what it heard.  Python's standard library only.
"""
import base64
import contextlib
import hashlib
import hmac
import socket
import ssl
import threading

from holdfast import OPEN, free_port

NONCE = "3rfcNHYJY1ZVvWVs7j"
SALT = b"salt of the test"
ROUNDS = 4096


class Session:
    """What one connection said."""

    def __init__(self):
        self.commands = []
        self.mechanism = None
        self.user = None
        self.tls = None         # (version, SNI, whether it was resumed)
        self.messages = []


class MailServer:
    """certificate: (certificate, key); without one there is no TLS.
    smtps: TLS from the start.  auth: {user: secret}, for mechanism `offers`.
    broken_tls: what looks like TLS is none."""

    def __init__(self, certificate=None, smtps=False, auth=None, offers="",
                 broken_tls=False, refuse_auth=None):
        self.sessions = []
        self.smtps = smtps
        self.auth = auth or {}
        self.offers = offers
        self.broken_tls = broken_tls
        self.refuse_auth = refuse_auth
        self.context = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*certificate)
            self.context.sni_callback = self.on_sni
        self.port = free_port()
        self.listener = socket.create_server(("127.0.0.1", self.port))
        OPEN.append(self)
        threading.Thread(target=self.accept, daemon=True).start()

    def on_sni(self, sock, name, _):
        sock.name = name

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(client,),
                                 daemon=True).start()

    def close(self):
        self.listener.close()

    def serve(self, client):
        client.settimeout(60)
        session = Session()
        self.sessions.append(session)
        with contextlib.suppress(OSError, ValueError, EOFError):
            if self.smtps:
                client = self.wrap(client, session)
            Dialogue(self, client, session).run()
        client.close()

    def wrap(self, client, session):
        if self.broken_tls:
            client.recv(1)    # not together with the go-ahead
            client.sendall(b"this is no TLS\r\n")
            raise EOFError
        sock = self.context.wrap_socket(client, server_side=True)
        session.tls = (sock.version(), getattr(sock, "name", None),
                       sock.session_reused)
        return sock

    def messages(self):
        return [m for s in self.sessions for m in s.messages]


class Dialogue:
    def __init__(self, server, sock, session):
        self.server = server
        self.session = session
        self.use(sock)

    def use(self, sock):
        self.sock = sock
        self.file = sock.makefile("rb")

    def line(self):
        line = self.file.readline(100000)
        if not line.endswith(b"\r\n"):
            raise EOFError
        return line[:-2].decode("utf-8", "replace")

    def say(self, *lines):
        for i, line in enumerate(lines):
            if len(lines) > 1:
                line = line[:3] + ("-" if i + 1 < len(lines) else " ") + line[4:]
            self.sock.sendall(line.encode() + b"\r\n")

    def ask(self, challenge):
        """A challenge; the client's answer."""
        self.say("334 " + base64.b64encode(challenge).decode())
        return base64.b64decode(self.line())

    def run(self):
        self.say("220 mail.test ESMTP")
        while True:
            line = self.line()
            self.session.commands.append(line)
            verb = line.split()[0].upper()
            if verb == "EHLO":
                self.ehlo()
            elif verb == "STARTTLS":
                self.say("220 2.0.0 go on")
                self.use(self.server.wrap(self.sock, self.session))
            elif verb == "AUTH":
                self.authenticate(line.split())
            elif verb == "DATA":
                self.say("354 go on")
                lines = []
                while (one := self.line()) != ".":
                    lines.append(one)
                self.session.messages.append("\n".join(lines))
                self.say("250 2.0.0 message %d" % len(self.session.messages))
            elif verb == "QUIT":
                return self.say("221 2.0.0 bye")
            elif verb == "MAIL" and self.server.auth and not self.session.user:
                self.say("530 5.7.0 authentication required")
            else:
                self.say("250 2.0.0 ok")

    def ehlo(self):
        lines = ["250 mail.test"]
        if self.server.context and not self.session.tls:
            lines.append("250 STARTTLS")
        if self.server.offers and (self.session.tls or
                                   not self.server.context):
            lines.append("250 AUTH " + self.server.offers)
        self.say(*lines)

    # --- AUTH

    def authenticate(self, words):
        mechanism = words[1].upper()
        first = base64.b64decode(words[2]) if len(words) > 2 else None
        method = getattr(self, mechanism.replace("-", "_").lower())
        user = method(first)
        if self.server.refuse_auth:
            return self.say(self.server.refuse_auth)
        if user is None:
            return self.say("535 5.7.8 no")
        self.session.mechanism = mechanism
        self.session.user = user
        return self.say("235 2.7.0 welcome")

    def check(self, user, password):
        return user if self.server.auth.get(user) == password else None

    def plain(self, first):
        _, user, password = (first or self.ask(b"")).decode().split("\0")
        return self.check(user, password)

    def login(self, first):
        user = (first or self.ask(b"Username:")).decode()
        return self.check(user, self.ask(b"Password:").decode())

    def cram_md5(self, _):
        challenge = b"<1896.697170952@mail.test>"
        user, digest = self.ask(challenge).decode().rsplit(" ", 1)
        key = self.server.auth.get(user, "").encode()
        wanted = hmac.new(key, challenge, "md5").hexdigest()
        return user if hmac.compare_digest(wanted, digest) else None

    def xoauth2(self, first):
        fields = (first or self.ask(b"")).decode().split("\x01")
        user = fields[0].split("=", 1)[1]
        return self.check(user, fields[1].split("=", 1)[1])

    def scram_sha_256(self, first):
        bare = (first or self.ask(b"")).decode().split(",", 2)[2]
        parts = dict(p.split("=", 1) for p in bare.split(","))
        server_first = "r=%s%s,s=%s,i=%d" % (
            parts["r"], NONCE, base64.b64encode(SALT).decode(), ROUNDS)
        final = self.ask(server_first.encode()).decode()
        without, proof = final.rsplit(",p=", 1)
        password = self.server.auth.get(parts["n"], "").encode()
        salted = hashlib.pbkdf2_hmac("sha256", password, SALT, ROUNDS)

        def mac(key, text):
            return hmac.new(key, text, "sha256").digest()
        text = ",".join((bare, server_first, without)).encode()
        stored = hashlib.sha256(mac(salted, b"Client Key")).digest()
        signature = mac(stored, text)
        key = bytes(a ^ b for a, b in zip(base64.b64decode(proof), signature))
        if hashlib.sha256(key).digest() != stored:
            return None
        verifier = mac(mac(salted, b"Server Key"), text)
        self.ask(b"v=" + base64.b64encode(verifier))
        return parts["n"]
