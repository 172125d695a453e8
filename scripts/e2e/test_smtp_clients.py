#!/usr/bin/env python3
"""The programs people send with, and the servers that relay to us: swaks,
openssl, Python's smtplib, nodemailer, Postfix, Exim and OpenSMTPD, each
through what it can do of STARTTLS, smtps, AUTH, client certificates, PROXY,
XCLIENT and SMTPUTF8."""
import email.message
import json
import os
import shutil
import smtplib
import ssl
import subprocess
import sys

sys.dont_write_bytecode = True
from certificates import Authority                              # noqa: E402
from holdfast import (Server, Skip, expect, expect_equal,        # noqa: E402
                      free_port, peer, run_tests, wait_for)
from peers import Exim, OpenSmtpd, Postfix                      # noqa: E402

PASSWORD = "correct horse battery"
CONF = """\
pki mx.holdfast.example cert "{cert}" key "{key}"
ca clients cert "{ca}"
table credentials { "alice" = "%s", "bob" = "%s" }
table boxes { "@" = nobody }
table proxies { 127.0.0.1 }
listen on 127.0.0.1 port {port} tls pki mx.holdfast.example \\
    hostname mx.holdfast.example auth-optional <credentials> tag plain
listen on 127.0.0.1 port {smtps} smtps pki mx.holdfast.example \\
    auth <credentials> tag wrapped
listen on 127.0.0.1 port {verify} tls-require verify \\
    pki mx.holdfast.example ca clients tag verified
listen on 127.0.0.1 port {proxy} proxy-v2 tag proxied
listen on 127.0.0.1 port {proxy1} proxy-v1 tag proxied
listen on 127.0.0.1 port {xclient} xclient <proxies> tag xclient
action "box" maildir "{folder}/Maildir" virtual <boxes> user nobody
match from any auth tag wrapped for any action "box"
match from any tag verified for any action "box"
match from src "192.0.2.7" tag proxied for any action "box"
match from src "192.0.2.8" tag xclient for any action "box"
match from local tag plain for any action "box"
"""


def hashed(password):
    run = subprocess.run(["openssl", "passwd", "-6", "-stdin"],
                         input=password.encode(), stdout=subprocess.PIPE,
                         check=True)
    return run.stdout.decode().strip()


class Place:
    """A server with every kind of listener, and a folder of certificates."""

    def __init__(self):
        self.ports = {name: free_port() for name in (
            "smtps", "verify", "proxy", "proxy1", "xclient")}
        secret = hashed(PASSWORD)
        # The folder is the server's, so the configuration comes after it.
        self.server = Server("", user=None)
        folder = self.server.folder
        self.authority = Authority(folder)
        cert, key = self.authority.issue("mx.holdfast.example")
        self.client = self.authority.issue("client.example", client=True)
        text = CONF % (secret, secret)
        for name, value in dict(
                cert=cert, key=key, ca=self.authority.cert, folder=folder,
                port=self.server.port, **self.ports).items():
            text = text.replace("{%s}" % name, str(value))
        with open(self.server.conf, "a") as f:
            f.write(text)
        self.maildir = self.server.maildir()
        self.server.start()

    @property
    def port(self):
        return self.server.port

    def message(self):
        """The one message that came; it is taken away."""
        wait_for(lambda: self.server.count(self.maildir) > 0, 20,
                 "a message\n" + self.server.log_tail())
        new = os.path.join(self.maildir, "new")
        names = os.listdir(new)
        expect_equal(len(names), 1, "messages")
        with open(os.path.join(new, names[0]), "rb") as f:
            text = f.read().decode("utf-8")
        os.unlink(os.path.join(new, names[0]))
        return text

    def nothing_secret(self):
        log = self.server.log_text()
        expect(PASSWORD not in log, "no password in the log", log)
        expect("AGFsaWNl" not in log and "YWxpY2U" not in log,
               "nothing encoded of an AUTH line in the log", log)


def swaks(*words, ok=True):
    if shutil.which("swaks") is None:
        raise Skip("no swaks")
    run = subprocess.run(
        ["swaks", "--server", "127.0.0.1", "--from", "s@client.example",
         "--to", "r@inside.example", "--helo", "client.example",
         "--header", "Subject: from swaks"] + list(words),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=60)
    text = run.stdout.decode("utf-8", "replace")
    if ok is not None:
        expect_equal(run.returncode == 0, ok, "swaks %s\n%s" % (
            " ".join(words), text))
    return text


def test_swaks_starttls_and_smtps():
    it = Place()
    swaks("--port", str(it.port), "--tls")
    text = it.message()
    expect("Subject: from swaks" in text and "with ESMTPS id" in text and
           "(TLSv1.3:" in text,
           "Received says TLS", text)
    swaks("--port", str(it.ports["smtps"]), "--tls-on-connect", "--auth",
          "PLAIN", "--auth-user", "alice", "--auth-password", PASSWORD)
    it.message()
    it.nothing_secret()


def test_swaks_auth():
    it = Place()
    for kind in ("PLAIN", "LOGIN"):
        swaks("--port", str(it.port), "--tls", "--auth", kind, "--auth-user",
              "alice", "--auth-password", PASSWORD)
        it.message()
        text = swaks("--port", str(it.port), "--tls", "--auth", kind,
                     "--auth-user", "alice", "--auth-password", "wrong",
                     ok=False)
        expect("535" in text, "a wrong password", text)
        text = swaks("--port", str(it.port), "--auth", kind, "--auth-user",
                     "alice", "--auth-password", PASSWORD, ok=False)
        expect("235" not in text, "no AUTH in clear text", text)
    # `auth` without `-optional`: nothing without it.
    text = swaks("--port", str(it.ports["smtps"]), "--tls-on-connect",
                 ok=False)
    expect("530" in text, "AUTH is required", text)
    it.nothing_secret()


def test_swaks_client_certificate():
    it = Place()
    port = str(it.ports["verify"])
    cert, key = it.client
    swaks("--port", port, "--tls", "--tls-cert", cert, "--tls-key", key)
    it.message()
    swaks("--port", port, "--tls", ok=False)
    stranger = os.path.join(it.server.folder, "stranger")
    os.mkdir(stranger)
    cert, key = Authority(stranger, "Other CA").issue("client.example",
                                                      client=True)
    swaks("--port", port, "--tls", "--tls-cert", cert, "--tls-key", key,
          ok=False)
    text = swaks("--port", port, ok=False)
    expect("530" in text, "STARTTLS is required", text)
    expect_equal(it.server.count(it.maildir), 0, "messages")


def test_swaks_proxy_and_xclient():
    it = Place()
    for port, version in (("proxy", "2"), ("proxy1", "1")):
        swaks("--port", str(it.ports[port]), "--proxy-version", version,
              "--proxy-family", "TCP4" if version == "1" else "AF_INET",
              *(() if version == "1" else (
                  "--proxy-command", "PROXY", "--proxy-protocol", "STREAM")),
              "--proxy-source", "192.0.2.7", "--proxy-source-port", "4321",
              "--proxy-dest", "192.0.2.1", "--proxy-dest-port", "25")
        text = it.message()
        expect("192.0.2.7" in text, "the client is whom the proxy names", text)
    swaks("--port", str(it.ports["xclient"]), "--xclient-addr", "192.0.2.8",
          "--xclient-name", "named.example", "--xclient-helo", "said.example")
    text = it.message()
    expect("192.0.2.8" in text and "named.example" in text,
           "the client is whom XCLIENT names", text)
    # Where no peers are named for it, it is not offered.
    text = swaks("--port", str(it.port), "--xclient-addr", "192.0.2.8",
                 ok=False)
    expect("XCLIENT" not in text.split("EHLO")[1].split("***")[0],
           "XCLIENT is not offered to strangers", text)
    expect_equal(it.server.count(it.maildir), 0, "messages")


def test_swaks_smtputf8():
    it = Place()
    # swaks knows no SMTPUTF8: the parameter goes where the path ends.
    swaks("--port", str(it.port), "--from",
          "j\u00f6rg@client.example> SMTPUTF8 ENVID=1", "--to",
          "\u4f8b\u3048@inside.example")
    text = it.message()
    expect("with UTF8SMTP id" in text, "Received says so", text)


def test_openssl_s_client():
    it = Place()
    for words in (["-starttls", "smtp", "-port", str(it.port)],
                  ["-port", str(it.ports["smtps"])]):
        run = subprocess.run(
            ["openssl", "s_client", "-host", "127.0.0.1", "-crlf", "-quiet",
             "-verify_return_error", "-CAfile", it.authority.cert,
             "-verify_hostname", "mx.holdfast.example"] + words,
            input=b"EHLO client.example\nQUIT\n", stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=30)
        text = run.stdout.decode()
        expect("250 HELP" in text or "AUTH PLAIN LOGIN" in text,
               "a dialogue inside TLS", text, run.stderr.decode())


def context(it):
    trust = ssl.create_default_context(cafile=it.authority.cert)
    trust.minimum_version = ssl.TLSVersion.TLSv1_2
    return trust


class NamedSmtp(smtplib.SMTP):
    """Verifies the name of the certificate, not the address."""

    def connect(self, host="127.0.0.1", port=0, **kw):
        code = super().connect("127.0.0.1", port, **kw)
        self._host = "mx.holdfast.example"
        return code


def test_smtplib():
    it = Place()
    for login in (False, True):
        smtp = NamedSmtp("127.0.0.1", it.port, timeout=30)
        smtp.starttls(context=context(it))
        if login:
            smtp.login("alice", PASSWORD)
        smtp.sendmail("s@client.example", ["r@inside.example"],
                      "Subject: smtplib\r\n\r\nText\r\n")
        smtp.quit()
        expect("Subject: smtplib" in it.message(), "it arrived")
    note = email.message.EmailMessage()
    note["From"] = "j\u00f6rg@client.example"
    note["To"] = "\u4f8b@inside.example"
    note["Subject"] = "Gr\u00fc\u00dfe"
    note.set_content("Text\n")
    smtp = NamedSmtp("127.0.0.1", it.port, timeout=30)
    smtp.starttls(context=context(it))
    smtp.send_message(note)
    smtp.quit()
    expect("j\u00f6rg@client.example" in it.message(), "UTF-8 arrived")
    smtp = NamedSmtp("127.0.0.1", it.port, timeout=30)
    smtp.starttls(context=context(it))
    try:
        smtp.login("alice", "wrong")
        expect(False, "a wrong password is refused")
    except (smtplib.SMTPAuthenticationError,
            smtplib.SMTPServerDisconnected):
        pass
    smtp.close()
    it.nothing_secret()


def nodemailer(transport, message):
    module = peer("node-nodemailer", "usr/share/nodejs/nodemailer")
    if shutil.which("node") is None:
        raise Skip("no node")
    run = subprocess.run(
        ["node", os.path.join(os.path.dirname(os.path.abspath(__file__)),
                              "smtp_clients.js"),
         json.dumps({"transport": transport, "message": message})],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, timeout=60,
        env={"PATH": os.environ["PATH"],
             "NODE_PATH": os.path.dirname(module)})
    expect(run.stdout, "nodemailer says something", run.stderr.decode())
    return json.loads(run.stdout)


def test_nodemailer():
    it = Place()
    with open(it.authority.cert) as f:
        trust = {"ca": f.read(), "servername": "mx.holdfast.example"}
    common = {"host": "127.0.0.1", "tls": trust}
    message = {"from": "s@client.example", "to": "r@inside.example",
               "subject": "nodemailer", "text": "Gr\u00fc\u00dfe\n"}
    for transport in (
            {"port": it.port, "requireTLS": True},
            {"port": it.port, "requireTLS": True,
             "auth": {"user": "alice", "pass": PASSWORD}},
            {"port": it.ports["smtps"], "secure": True, "authMethod": "LOGIN",
             "auth": {"user": "bob", "pass": PASSWORD}}):
        answer = nodemailer({**common, **transport}, message)
        expect(answer.get("response", "").startswith("250"), "taken",
               answer, it.server.log_tail())
        expect("Subject: nodemailer" in it.message(), "it arrived")
    answer = nodemailer({**common, "port": it.port, "requireTLS": True},
                        {**message, "from": "j\u00f6rg@client.example"})
    expect(answer.get("response", "").startswith("250"), "SMTPUTF8", answer)
    it.message()
    it.nothing_secret()


def relays(kind, tls):
    it = Place()
    other = kind(it.port, tls=tls)
    other.send("s@client.example", ["r@inside.example"],
               b"Subject: through %s\r\n\r\nText\r\n" %
               kind.__name__.encode())
    text = it.message()
    expect("Subject: through " + kind.__name__ in text, "it arrived", text)
    expect_equal("by mx.holdfast.example (Holdfast) with ESMTPS id" in text,
                 tls, "our Received says TLS\n" + text)


def test_postfix_relays_to_us():
    for tls in (True, False):
        relays(Postfix, tls)


def test_exim_relays_to_us():
    for tls in (True, False):
        relays(Exim, tls)


def test_opensmtpd_relays_to_us():
    for tls in (True, False):
        relays(OpenSmtpd, tls)


if __name__ == "__main__":
    sys.exit(run_tests([test_swaks_starttls_and_smtps, test_swaks_auth,
                        test_swaks_client_certificate,
                        test_swaks_proxy_and_xclient, test_swaks_smtputf8,
                        test_openssl_s_client, test_smtplib, test_nodemailer,
                        test_postfix_relays_to_us, test_exim_relays_to_us,
                        test_opensmtpd_relays_to_us]))
