#!/usr/bin/env python3
"""TLS of the running server, seen with `openssl s_client` and Python's ssl:
versions, ciphers, certificates, tickets, clients' certificates, what is refused
at the start, and who has which library and which key."""
import contextlib
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys

sys.dont_write_bytecode = True
from certificates import Authority                              # noqa: E402
from holdfast import (FULL, Server, Skip, Smtp, expect,          # noqa: E402
                      expect_equal, free_port, programs, run_tests, wait_for)

NAME = "mx.holdfast.example"
CONF = """\
pki ecdsa cert "{ecdsa}" key "{ecdsa_key}"
pki rsa cert "{rsa}" key "{rsa_key}"
pki other cert "{other}" key "{other_key}"
pki wild cert "{wild}" key "{wild_key}"
ca clients cert "{ca}"
listen on 127.0.0.1 port {port} tls pki rsa pki ecdsa pki other pki wild
listen on 127.0.0.1 port {smtps} smtps pki ecdsa
listen on 127.0.0.1 port {verify} smtps verify pki ecdsa ca clients
listen on 127.0.0.1 port {asked} tls-require pki ecdsa ca clients
listen on 127.0.0.1 port {narrow} smtps pki rsa protocols "tlsv1.2" \\
    ciphers "ECDHE-RSA-AES256-GCM-SHA384"
listen on 127.0.0.1 port {modern} smtps pki ecdsa protocols "tlsv1.3"
table boxes { "@" = nobody }
action "box" maildir "{folder}/Maildir" virtual <boxes> user nobody
match from local for any action "box"
"""


class Place:
    def __init__(self, start=True):
        self.server = Server("")
        folder = self.server.folder
        self.ports = {name: free_port() for name in (
            "smtps", "verify", "asked", "narrow", "modern")}
        self.authority = Authority(folder)
        fill = dict(folder=folder, port=self.server.port,
                    ca=self.authority.cert, **self.ports)
        for name, issued in dict(
                ecdsa=self.authority.issue(NAME),
                rsa=self.authority.issue(NAME, rsa=True),
                other=self.authority.issue("other.example"),
                wild=self.authority.issue("*.wild.example")).items():
            fill[name], fill[name + "_key"] = issued
        self.files = fill
        text = CONF
        for name, value in fill.items():
            text = text.replace("{%s}" % name, str(value))
        with open(self.server.conf, "a") as f:
            f.write(text)
        self.server.maildir()
        if start:
            self.server.start()

    def port(self, name=None):
        return self.ports[name] if name else self.server.port


class Seen:
    """What s_client found."""

    def __init__(self, text):
        self.text = text
        self.connected = "Cipher is (NONE)" not in text and \
            "no peer certificate available" not in text
        match = re.search(r"^(New|Reused), (\S+), Cipher is (\S+)$", text, re.M)
        self.reused = bool(match) and match.group(1) == "Reused"
        self.version = match.group(2) if match else None
        self.cipher = match.group(3) if match else None
        match = re.search(r"^subject=(?:CN = )?(.*)$", text, re.M)
        self.subject = match.group(1) if match else None
        match = re.search(r"^Server public key is (\d+) bit", text, re.M)
        self.bits = int(match.group(1)) if match else None


def s_client(port, *words, starttls=False):
    if shutil.which("openssl") is None:
        raise Skip("no openssl")
    run = subprocess.run(
        ["openssl", "s_client", "-connect", "127.0.0.1:%d" % port,
         "-ign_eof"] + (["-starttls", "smtp"] if starttls else []) +
        ([] if "-servername" in words else ["-noservername"]) + list(words),
        input=b"QUIT\r\n", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=60)
    return Seen(run.stdout.decode("utf-8", "replace"))


def context(**options):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    for name, value in options.items():
        setattr(made, name, value)
    return made


class TlsSmtp(Smtp):
    """A dialogue inside TLS; by STARTTLS unless `wrapped`."""

    def __init__(self, port, wrapped=False, using=None, session=None,
                 server_name=None):
        self.using = using or context()
        if wrapped:
            self.socket = socket.create_connection(("127.0.0.1", port), 30)
            self.banner = None
        else:
            super().__init__(port)
            self.expect("EHLO client.example", "250")
            self.expect("STARTTLS", "220")
            self.file.close()
        self.socket = self.using.wrap_socket(
            self.socket, session=session, server_hostname=server_name)
        self.file = self.socket.makefile("rb")
        if wrapped:
            self.banner = self.reply()


def test_versions():
    it = Place()
    for starttls, port in ((True, it.port()), (False, it.port("smtps"))):
        for word, version in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
            got = s_client(port, word, starttls=starttls)
            expect_equal(got.version, version, word)
            expect("221" in got.text, "a dialogue inside " + version, got.text)
            expect("Compression: NONE" in got.text, "no compression", got.text)
        for word in ("-tls1", "-tls1_1"):
            got = s_client(port, word, "-cipher", "ALL:@SECLEVEL=0",
                           starttls=starttls)
            expect(not got.connected, word + " is refused", got.text)
            expect("alert protocol version" in got.text, word, got.text)
    expect_equal(s_client(it.port("narrow")).version, "TLSv1.2",
                 "protocols tlsv1.2")
    expect(not s_client(it.port("narrow"), "-tls1_3").connected, "only 1.2")
    expect_equal(s_client(it.port("modern")).version, "TLSv1.3",
                 "protocols tlsv1.3")
    expect(not s_client(it.port("modern"), "-tls1_2").connected, "only 1.3")


def test_ciphers():
    it = Place()
    # Without forward secrecy, encryption, or a name: none of them.
    listed = subprocess.run(
        ["openssl", "ciphers", "-s", "-tls1_2",
         "ALL:COMPLEMENTOFALL:@SECLEVEL=0"],
        stdout=subprocess.PIPE, check=True, text=True).stdout.strip().split(":")
    accepted = [name for name in listed if s_client(
        it.port(), "-tls1_2", "-cipher", name + ":@SECLEVEL=0",
        starttls=True).connected]
    expect(accepted, "some ciphers of TLS 1.2")
    for name in accepted:
        expect(name.startswith("ECDHE-"), "forward secrecy", name)
        expect(not re.search("NULL|RC4|DES|MD5|anon|PSK|EXP", name), name)
    for kind in ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384",
                 "ECDHE-RSA-CHACHA20-POLY1305"):
        expect(kind in accepted, kind, accepted)
    for name in ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
                 "TLS_CHACHA20_POLY1305_SHA256"):
        got = s_client(it.port("smtps"), "-tls1_3", "-ciphersuites", name)
        expect_equal(got.cipher, name, "TLS 1.3")
    got = s_client(it.port("narrow"), "-tls1_2")
    expect_equal(got.cipher, "ECDHE-RSA-AES256-GCM-SHA384", "ciphers")
    got = s_client(it.port("narrow"), "-tls1_2", "-cipher",
                   "ECDHE-RSA-AES128-GCM-SHA256")
    expect(not got.connected, "a cipher not in the list", got.text)


def test_names_and_kinds_of_certificates():
    it = Place()
    for name, subject in ((NAME, NAME), ("OTHER.example", "other.example"),
                          ("a.wild.example", "*.wild.example"),
                          ("a.b.wild.example", NAME), ("who.example", NAME)):
        got = s_client(it.port(), "-servername", name, starttls=True)
        expect_equal(got.subject, subject, "certificate for " + name)
    expect_equal(s_client(it.port(), starttls=True).subject, NAME, "no name")
    for version in ("-tls1_2", "-tls1_3"):
        got = s_client(it.port(), version, "-sigalgs", "rsa_pss_rsae_sha256",
                       starttls=True)
        expect_equal(got.bits, 2048, "the RSA certificate, " + version)
        got = s_client(it.port(), version, starttls=True)
        expect_equal(got.bits, 256, "the ECDSA certificate, " + version)


def test_log_and_received():
    it = Place()
    smtp = TlsSmtp(it.port())
    smtp.expect("EHLO client.example", "250")
    expect(smtp.message("a@client.example", ["b@inside.example"],
                        b"Subject: x\r\n\r\nx\r\n").startswith("250"), "250")
    name, version, bits = smtp.socket.cipher()
    smtp.quit()
    line = "%s:%s:%d" % (version, name, bits)
    wait_for(lambda: " smtp tls ciphers=" + line in it.server.log_text(), 10,
             "a log line with " + line + "\n" + it.server.log_tail())
    folder = os.path.join(it.server.folder, "Maildir/new")
    wait_for(lambda: os.path.isdir(folder) and os.listdir(folder), 20, "mail")
    with open(os.path.join(folder, os.listdir(folder)[0])) as f:
        text = f.read()
    expect(re.search(r"with ESMTPS id [0-9a-f]{8} \(%s:NO\)" % line, text),
           "Received with " + line, text)


def test_renegotiation_is_refused():
    it = Place()
    run = subprocess.Popen(
        ["openssl", "s_client", "-connect", "127.0.0.1:%d" % it.port("smtps"),
         "-tls1_2", "-crlf"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)
    wait_for(lambda: "smtp tls ciphers" in it.server.log_text(), 10, "TLS")
    out = run.communicate(b"R\n", timeout=30)[0].decode("utf-8", "replace")
    expect("RENEGOTIATING" in out, "s_client asks", out)
    expect("no renegotiation" in out or "error:" in out.lower(), "refused", out)
    expect_equal(s_client(it.port("smtps")).connected, True, "others go on")


def resumed(port, version, session_file, wrapped=True):
    return s_client(port, version, "-sess_in", session_file,
                    starttls=not wrapped).reused


def test_tickets():
    it = Place()
    saved = os.path.join(it.server.folder, "session")
    for version in ("-tls1_2", "-tls1_3"):
        s_client(it.port("smtps"), version, "-sess_out", saved)
        expect(resumed(it.port("smtps"), version, saved), "resumed " + version)
        # A listener with another policy knows the key and takes no ticket.
        expect(not resumed(it.port("modern" if version == "-tls1_3" else
                                   "narrow"), version, saved),
               "another policy, " + version)
        expect(not resumed(it.port(), version, saved, wrapped=False),
               "STARTTLS of another listener, " + version)
    # The keys are those of `keys`: another receive takes the ticket, another
    # `keys` does not.
    s_client(it.port("smtps"), "-tls1_3", "-sess_out", saved)
    for room, expected in (("smtpd-receive", True), ("smtpd-keys", False)):
        for pid in it.server.room_pids(room):
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: back(it), 15, room + " is back")
        expect_equal(resumed(it.port("smtps"), "-tls1_3", saved), expected,
                     "resumed after the death of " + room)


def back(it):
    with contextlib.suppress(OSError):
        return s_client(it.port("smtps")).connected
    return False


def test_client_certificates():
    it = Place()
    good = it.authority.issue("client.example", client=True)
    os.mkdir(os.path.join(it.server.folder, "stranger"))
    bad = Authority(os.path.join(it.server.folder, "stranger")).issue(
        "client.example", client=True)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        for who, works in ((good, True), (bad, False), (None, False)):
            using = context(minimum_version=version, maximum_version=version)
            if who:
                using.load_cert_chain(*who)
            try:
                smtp = TlsSmtp(it.port("verify"), wrapped=True, using=using)
                smtp.expect("EHLO client.example", "250")
                smtp.quit()
                got = True
            except Exception as e:    # an alert, or the end of the connection
                expect(not works, "accepted", repr(e), it.server.log_tail())
                got = False
            expect_equal(got, works, "client certificate %s" % (who,))
    log = it.server.log_text()
    expect_equal(len(re.findall(r'smtp cert-check result="verified" '
                                r'fingerprint="SHA256:[0-9a-f]{64}"', log)), 2,
                 "verified\n" + log)
    expect_equal(log.count("reason=tls-accept-failed"), 4, "failures\n" + log)
    # Asked for only.
    for who, result in ((good, "verified"), (bad, "unchecked"), (None, None)):
        using = context()
        if who:
            using.load_cert_chain(*who)
        before = len(it.server.log_text())
        smtp = TlsSmtp(it.port("asked"), using=using)
        smtp.expect("EHLO client.example", "250")
        smtp.quit()
        log = it.server.log_text()[before:]
        if result:
            expect('cert-check result="%s"' % result in log, result, log)
        else:
            expect("cert-check" not in log, "no certificate", log)


def test_nothing_pipelined_before_starttls_survives():
    it = Place()
    for behind in (b"MAIL FROM:<evil@attacker.example>\r\n", b"NOOP\r\n" * 50,
                   b"EHLO evil.example\r\nMAIL FR"):
        smtp = Smtp(it.port())
        smtp.expect("EHLO client.example", "250")
        smtp.send(b"STARTTLS\r\n" + behind)
        expect(smtp.reply().startswith("220"), "STARTTLS")
        smtp.file.close()
        smtp.socket = context().wrap_socket(smtp.socket)
        smtp.file = smtp.socket.makefile("rb")
        smtp.send(b"RSET\r\n")
        expect(smtp.reply().startswith(("250", "503")), "one reply")
        # Nothing of before is known: EHLO comes first again.
        smtp.expect("MAIL FROM:<a@client.example>", "503")
        got = smtp.expect("EHLO client.example", "250")
        expect("STARTTLS" not in got, "not offered twice", got)
        smtp.expect("MAIL FROM:<a@client.example>", "250")
        smtp.quit()
    expect("evil" not in it.server.log_text(), "nothing of it was executed")


def test_keys_may_die():
    it = Place()
    smtp = TlsSmtp(it.port())
    smtp.expect("EHLO client.example", "250")
    old = it.server.room_pids("smtpd-keys")
    os.kill(old[0], signal.SIGKILL)
    wait_for(lambda: back(it), 15, "handshakes again")
    smtp.expect("NOOP", "250")
    smtp.quit()
    new = it.server.room_pids("smtpd-keys")
    expect_equal((len(new), new == old), (1, False), "another keys")


def check(it, text):
    """smtpd -n with `text`: (status, what it says)."""
    path = os.path.join(it.server.folder, "try.conf")
    with open(path, "w") as f:
        f.write('spool "%s"\n' % it.server.spool + text +
                '\naction "a" mbox\nmatch for any action "a"\n')
    run = subprocess.run(
        [os.path.join(programs(), "server/smtpd"), "-n", "-f", path],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=30)
    return run.returncode, run.stdout.decode()


def test_what_is_wrong_is_said_at_the_start():
    it = Place(start=False)
    f = it.files
    pki = 'pki a cert "%s" key "%s"\n'
    right = pki % (f["ecdsa"], f["ecdsa_key"])
    no_key = os.path.join(it.server.folder, "no.key")
    shutil.copy(f["ecdsa"], no_key)
    os.chmod(no_key, 0o600)
    status, text = check(it, right + "listen on lo tls pki a\n")
    expect_equal(status, 0, text)
    cases = [
        (pki % (f["ecdsa"], f["rsa_key"]),
         "smtpd: pki a: %s: not the key of certificate %s" % (
             f["rsa_key"], f["ecdsa"])),
        (pki % (f["ecdsa_key"], f["ecdsa_key"]),
         "smtpd: pki a: %s: no certificate in it" % f["ecdsa_key"]),
        (pki % (f["ecdsa"], no_key), "smtpd: pki a: " + no_key + ": "),
        (pki % ("/nonexistent", f["ecdsa_key"]),
         "smtpd: load_pki_tree: failed to load certificate file"),
        (pki % (f["ecdsa"], "/nonexistent"),
         "smtpd: load_pki_keys: failed to load key file"),
        ('ca a cert "/nonexistent"\n',
         "smtpd: load_pki_tree: failed to load CA file"),
        (right + 'listen on lo tls pki a ciphers "nonsense"\n',
         "no ciphers for 'nonsense'"),
        (right + 'listen on lo tls pki a protocols "sslv3"\n',
         'failed to parse protocols "sslv3"'),
    ]
    for conf, message in cases:
        status, text = check(it, conf)
        expect_equal(status, 1, "%s\n%s" % (conf, text))
        expect(message in text, message, text)
    os.chmod(f["ecdsa_key"], 0o644)
    status, text = check(it, right)
    expect_equal(status, 1, text)
    expect("warn:  %s: insecure permissions: must be at most rwxr----- \n" %
           f["ecdsa_key"] in text, "permissions of a key", text)
    run = subprocess.run(
        [os.path.join(programs(), "server/smtpd"), "-d", "-f", it.server.conf],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=30)
    expect_equal(run.returncode, 1, "the daemon does not start")


def test_a_passphrase_is_asked_for():
    it = Place(start=False)
    plain, locked = it.files["ecdsa_key"], it.files["ecdsa_key"] + ".locked"
    subprocess.run(["openssl", "pkcs8", "-topk8", "-in", plain, "-out", locked,
                    "-passout", "pass:sesame"], check=True)
    os.chmod(locked, 0o600)
    with open(it.server.conf) as f:
        text = f.read().replace('"%s"' % plain, '"%s"' % locked)
    with open(it.server.conf, "w") as f:
        f.write(text)

    def start(word):
        """On a terminal of its own."""
        master, slave = os.openpty()
        process = subprocess.Popen(
            ["setsid", "--ctty", os.path.join(programs(), "server/smtpd"), "-d",
             "-f", it.server.conf], stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        said = b""
        with contextlib.suppress(OSError):
            while b"passphrase for ecdsa: " not in said:
                said += os.read(master, 1000)
            os.write(master, word + b"\n")
            while b"starting" not in said and b"encrypted" not in said:
                said += os.read(master, 1000)
        return process, master, said.decode()
    process, master, said = start(b"wrong")
    expect_equal(process.wait(20), 1, said)
    expect("pki ecdsa: %s: key is encrypted" % locked in said, "refused", said)
    os.close(master)
    process, master, said = start(b"sesame")
    try:
        expect("sesame" not in said, "no echo", said)
        wait_for(lambda: back(it), 20, "a handshake with the opened key")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(40)
        os.close(master)


def libraries(pid):
    with open("/proc/%d/maps" % pid) as f:
        text = f.read()
    return (bool(re.search(r"/android/lib(ssl|crypto)\.so", text)),
            bool(re.search(r"lib(ssl|crypto)\.so\.[13]", text)))


def test_who_has_which_library():
    it = Place()
    s_client(it.port("smtps"))
    seen = {}
    for pid, name in it.server.pids().items():
        with contextlib.suppress(OSError):
            seen[name] = libraries(pid)
    for name, (ours, theirs) in seen.items():
        expect(not theirs, "no OpenSSL in " + name)
        expect_equal(ours, ours and name not in ("smtpd", "smtpd-auth",
                                                 "smtpd-agent"),
                     "BoringSSL in " + name)
    for name in ("smtpd-keys", "smtpd-receive"):
        expect(seen[name][0], "BoringSSL in " + name)
    for name in ("server/smtpd", "server/smtpd-auth", "server/smtpd-agent",
                 "ctl/smtpctl"):
        needed = subprocess.run(
            ["ldd", os.path.join(programs(), name)], stdout=subprocess.PIPE,
            check=True, text=True).stdout
        expect("/android/" not in needed, "no BoringSSL in " + name, needed)


def private_numbers(path):
    """What of an EC key is secret, as octets."""
    text = subprocess.run(
        ["openssl", "ec", "-in", path, "-text", "-noout"], check=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    found = re.search(r"priv:\n((?:\s+[0-9a-f:]+\n)+)", text).group(1)
    return bytes.fromhex(re.sub(r"[\s:]", "", found))[-32:]


def memory_has(pid, secret):
    with open("/proc/%d/maps" % pid) as maps, \
            open("/proc/%d/mem" % pid, "rb") as mem:
        for line in maps:
            if "rw" not in line.split()[1]:
                continue
            low, high = (int(x, 16) for x in line.split()[0].split("-"))
            with contextlib.suppress(OSError, ValueError):
                mem.seek(low)
                if secret in mem.read(high - low):
                    return True
    return False


def test_only_keys_has_the_private_key():
    if os.geteuid() != 0:
        raise Skip("needs root to look into processes")
    it = Place()
    for _ in range(5):
        s_client(it.port("smtps"))
    secret = private_numbers(it.files["ecdsa_key"])
    with open(it.files["ecdsa_key"], "rb") as f:
        pem = f.read().splitlines()[1]
    for pid, name in it.server.pids().items():
        if name in ("smtpd", "smtpd-keys"):
            continue
        expect(not memory_has(pid, secret) and
               not memory_has(pid, secret[::-1]) and not memory_has(pid, pem),
               "the private key is not in " + name)
    expect(any(memory_has(pid, pem) or memory_has(pid, secret) or
               memory_has(pid, secret[::-1])
               for pid in it.server.room_pids("smtpd-keys")),
           "this test finds it where it is")


def anonymous_memory(pid):
    with open("/proc/%d/status" % pid) as f:
        return int(re.search(r"RssAnon:\s+(\d+)", f.read()).group(1))


def test_an_idle_session_is_small():
    count = 5000 if FULL else 500
    it = Place()
    pid, = it.server.room_pids("smtpd-receive")
    warm = [TlsSmtp(it.port(), using=context()) for _ in range(20)]
    before = anonymous_memory(pid)
    using = context()
    sessions = []
    for _ in range(count):
        smtp = TlsSmtp(it.port(), using=using)
        smtp.expect("EHLO client.example", "250")
        sessions.append(smtp)
    each = (anonymous_memory(pid) - before) / count
    print("    %d idle sessions: %.1f KiB each" % (count, each))
    for smtp in sessions + warm:
        smtp.close()
    expect(each <= 40, "at most 40 KiB for a session inside TLS", each)


if __name__ == "__main__":
    sys.exit(run_tests([f for n, f in sorted(globals().items())
                        if n.startswith("test_")]))
