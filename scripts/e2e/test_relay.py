#!/usr/bin/env python3
"""Relaying: every scheme of a relay URL, TLS and its policies, credentials,
sessions that are shared, and the log lines, to the letter."""
import os
import re
import sys
import tempfile

from certificates import Authority
from holdfast import (ROOT, Blackhole, Server, Skip, Smtp, expect, expect_equal,
                      run_tests, wait_for)
from mail_server import MailServer
from peers import Postfix

MESSAGE = b"Subject: hello\r\n\r\nhi\r\n"
ID = "[0-9a-f]{16}"


class Bed:
    """A certificate authority and servers below one folder."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="holdfast-relay.")
        self.authority = Authority(self.folder.name)
        self.certificate = self.authority.issue("localhost")

    def server(self, actions, secrets=None, more=""):
        """actions: {domain: words behind `relay`}."""
        lines = ["listen on 127.0.0.1 port {port}",
                 'ca test cert "%s"' % self.authority.cert, more]
        if secrets:
            path = self.folder.name + "/secrets"
            with open(path, "w") as f:
                for label, value in secrets.items():
                    f.write("%s %s\n" % (label, value))
            lines.append("table secrets file:" + path)
        for i, (domain, words) in enumerate(actions.items()):
            lines.append('action "a%d" relay %s' % (i, words))
        for i, domain in enumerate(actions):
            lines.append('match from any for domain "%s" action "a%d"' %
                         (domain, i))
        return Server("\n".join(lines) + "\n").start()


def send(server, *recipients):
    smtp = Smtp(server.port)
    smtp.expect("EHLO client.example", "250")
    reply = smtp.message("sender@client.example", recipients, MESSAGE)
    expect(reply.startswith("250"), "accepted", reply)
    smtp.quit()


def mta_lines(server):
    """{session: [what its lines say]}, in order."""
    found = {}
    for line in server.log_text().splitlines():
        match = re.match("(%s) mta (.*)$" % ID, line)
        if match:
            found.setdefault(match[1], []).append(match[2])
    return found


def only_session(server):
    sessions = mta_lines(server)
    sessions.pop("0" * 16, None)
    expect_equal(len(sessions), 1, "sessions in the log")
    return next(iter(sessions.values()))


def expect_lines(got, patterns):
    expect(len(got) >= len(patterns), "enough lines", patterns, got)
    for line, pattern in zip(got, patterns):
        expect(re.fullmatch(pattern, line), "a log line", pattern, line)


def error_of(server, seconds=20):
    """What the queue says of its first envelope once that was tried."""
    def error():
        rows = server.queue()
        return rows and rows[0][-1]
    return wait_for(error, seconds, "an error in the queue\n" +
                    server.log_tail())


def delivery(stat, result="Ok"):
    return (r"delivery evpid=[0-9a-f]{16} from=<sender@client\.example> "
            r"to=<a@a\.test> rcpt=<-> source=\"127\.0\.0\.1\" "
            r"relay=\"127\.0\.0\.1 \(\S+\)\" delay=[0-9dhms]+ "
            r"result=\"%s\" stat=\"%s\"" % (result, stat))


def test_clear():
    """The lines of a session in clear."""
    bed = Bed()
    hole = Blackhole(bed.folder.name)
    server = bed.server({
        "a.test": "host smtp://localhost:%d" % hole.port,
        "b.test": "host smtp+notls://localhost:%d" % hole.port,
    })
    send(server, "a@a.test")
    server.wait_empty()
    lines = only_session(server)
    expect_lines(lines, [
        r"connecting address=smtp://127\.0\.0\.1:%d host=\S+" % hole.port,
        "connected", delivery(r"250 .*")])
    wait_for(lambda: "disconnected reason=quit messages=1" in
             only_session(server), 20, "the end of the session")
    send(server, "a@b.test")
    server.wait_empty()
    expect("address=smtp+notls://127.0.0.1:%d " % hole.port in
           server.log_text(), "the scheme is told", server.log_tail())


TLS_LINES = [
    r"tls ciphers=TLSv1\.3:TLS_[A-Z0-9_]+:(128|256)",
    r"cert-check result=\"valid\" fingerprint=\"SHA256:[0-9a-f]{64}\"",
]


def test_mechanisms():
    """STARTTLS and smtps with labels; PLAIN, LOGIN, CRAM-MD5, SCRAM-SHA-256,
    XOAUTH2."""
    bed = Bed()
    users = {"joe": "top:secret", "joe@example.org": "Bearer ab.cd"}
    mechanisms = ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "XOAUTH2")
    for smtps in (False, True):
        hops = [MailServer(bed.certificate, smtps, users, m)
                for m in mechanisms]
        scheme = "smtps" if smtps else "smtp+tls"
        server = bed.server(
            {"a.test" if i == 0 else "d%d.test" % i:
             "host %s://%s@localhost:%d auth <secrets> ca test" % (
                 scheme, "token" if mechanisms[i] == "XOAUTH2" else "lab",
                 hop.port) for i, hop in enumerate(hops)},
            {"lab": "joe:top:secret", "token": "joe@example.org:Bearer ab.cd"})
        send(server, "a@a.test", *["b@d%d.test" % i for i in range(1, 5)])
        server.wait_empty()
        for mechanism, hop in zip(mechanisms, hops):
            expect_equal(len(hop.messages()), 1, mechanism + ": messages")
            session = hop.sessions[0]
            expect_equal(session.mechanism, mechanism, "mechanism")
            expect_equal(session.tls[1], "localhost", "SNI")
        lines = next(s for s in mta_lines(server).values()
                     if any("to=<a@a.test>" in line for line in s))
        expect_lines(lines, [
            r"connecting address=%s://127\.0\.0\.1:%d host=\S+" % (
                re.escape(scheme), hops[0].port),
            "connected"] + TLS_LINES + [delivery(r"250 2\.0\.0 message 1")])
        text = server.log_text()
        for secret in ("top:secret", "ab.cd", "am9l"):
            expect(secret not in text, "a secret in the log", secret)
        server.close()


def test_certificates():
    """What is wrong with a certificate is told, and nothing goes in clear."""
    bed = Bed()
    other = bed.authority.issue("mx.example.net")
    cases = (
        (other, "ca test", "hostname mismatch|IP address mismatch"),
        (bed.certificate, "", "unable to get (local )?issuer certificate|"
         "self-signed certificate in certificate chain"),
    )
    for certificate, words, why in cases:
        hop = MailServer(certificate)
        server = bed.server({"a.test": "host smtp+tls://localhost:%d %s" % (
            hop.port, words)})
        send(server, "a@a.test")
        error = error_of(server)
        expect(re.fullmatch(
            r"Network error on destination MXs \(127\.0\.0\.1: IO Error: "
            r"certificate verification failed: (%s)\)" % why, error),
            "the error in the queue", error)
        expect(re.search(r"(?m)^%s mta error reason=IO Error: certificate "
                         r"verification failed: (%s)$" % (ID, why),
                         server.log_text()), "the log line",
               server.log_tail())
        expect_equal(hop.messages(), [], "messages")
        expect(len(hop.sessions) < 3, "it does not loop", len(hop.sessions))
        server.close()
        # Without verification it is told, and goes.
        server = bed.server({"a.test": "host smtp+tls://localhost:%d "
                             "tls no-verify" % hop.port})
        send(server, "a@a.test")
        server.wait_empty()
        expect("mta cert-check result=\"unverified\" fingerprint=" in
               server.log_text(), "the check is told", server.log_tail())
        server.close()


def test_required_is_not_offered():
    bed = Bed()
    hop = MailServer()
    server = bed.server({"a.test": "host smtp://localhost:%d tls" % hop.port})
    send(server, "a@a.test")
    expect_equal(error_of(server),
                 "Network error on destination MXs (127.0.0.1: TLS required "
                 "but not supported by remote host)", "the error")
    expect_equal(hop.messages(), [], "messages")


def test_opportunistic():
    """TLS where it is offered and works, whatever the certificate; once more
    in clear where it does not."""
    bed = Bed()
    good = MailServer(bed.certificate)
    broken = MailServer(bed.certificate, broken_tls=True)
    server = bed.server({"a.test": "host smtp://localhost:%d" % good.port,
                         "b.test": "host smtp://localhost:%d" % broken.port})
    send(server, "a@a.test")
    server.wait_empty()
    expect(good.sessions[0].tls, "TLS was used")
    lines = only_session(server)
    expect(lines[3].startswith('cert-check result="unverified" fingerprint='),
           "the certificate is not judged", lines)
    send(server, "a@b.test")
    server.wait_empty()
    text = "".join(line + "\n" for line in server.log_text().splitlines()
                   if " mta " in line or line.startswith("smtp-out"))
    found = re.search(
        r"(?m)^(%s) mta connecting address=smtp://127\.0\.0\.1:%d .*\n"
        r"\1 mta connected\n"
        r"\1 mta error reason=IO Error: .*\n"
        r"smtp-out: Error on session \1: opportunistic TLS failed, "
        r"downgrading to plain\n"
        r"\1 mta connecting address=smtp\+notls://127\.0\.0\.1:%d .*\n"
        r"\1 mta connected\n" % (ID, broken.port, broken.port), text)
    expect(found, "the lines of a downgrade", text)
    expect_equal(len(broken.messages()), 1, "messages")


def test_credentials_fail():
    """Neither a refusal nor a label nobody knows is the mail's fault."""
    bed = Bed()
    hop = MailServer(bed.certificate, True, {"joe": "x"}, "PLAIN",
                     refuse_auth="535 5.7.8 go away")
    server = bed.server(
        {"a.test": "host smtps://lab@localhost:%d auth <secrets> ca test" %
         hop.port,
         "b.test": "host smtps://none@localhost:%d auth <secrets> ca test" %
         hop.port}, {"lab": "joe:x"})
    send(server, "a@b.test")
    expect_equal(error_of(server), "Could not retrieve credentials", "error")
    expect("warn: Failed to retrieve secret for [relay:localhost,port=%d,"
           "smtps,auth=secrets:none,mx]" % hop.port in server.log_text(),
           "the warning", server.log_tail())
    send(server, "a@a.test")
    wait_for(lambda: any(row[-1] == "Network error on destination MXs "
                         "(127.0.0.1: AUTH rejected: 535 5.7.8 go away)"
                         for row in server.queue()), 20, "the other error")
    expect_equal(len(server.queue()), 2, "both are still there")


def test_refused_by_configuration():
    bed = Bed()
    server = bed.server(
        {"a.test": "host smtp+notls://localhost:9 tls",
         "b.test": "host lmtp://localhost:9 tls"})
    send(server, "a@a.test")
    send(server, "a@b.test")
    wait_for(lambda: sum(row[-1] == "TLS required for relaying"
                         for row in server.queue()) == 2, 20,
             "both are refused")
    for action in ("a0", "a1"):
        expect('warn: TLS required for action "%s"\n' % action in
               server.log_text(), "the warning", server.log_tail())


def test_sharing():
    """One session for actions that agree, never for those that do not."""
    bed = Bed()
    hop = MailServer(bed.certificate)
    host = "host smtp+tls://localhost:%d ca test" % hop.port
    server = bed.server({"a.test": host,
                         "b.test": host + " mail-from me@else.test",
                         "c.test": host + " tls no-verify",
                         "d.test": host + " helo other.test"})
    for domain, sessions in (("a", 1), ("b", 1), ("c", 2), ("d", 3), ("a", 3),
                             ("c", 3)):
        send(server, "a@%s.test" % domain)
        server.wait_empty()
        expect_equal(len(hop.sessions), sessions, "sessions after " + domain)
    expect_equal([len(s.messages) for s in hop.sessions], [3, 2, 1],
                 "messages of each")
    expect(any(c.startswith("MAIL FROM:<me@else.test>")
               for c in hop.sessions[0].commands), "its own sender")
    expect("EHLO other.test" in hop.sessions[2].commands, "its own name")


def test_resumption():
    """The next session to the same server resumes TLS."""
    bed = Bed()
    hop = MailServer(bed.certificate)
    server = bed.server(
        {"a.test": "host smtp+tls://localhost:%d ca test" % hop.port},
        more="mta limit session-keepalive 0")
    for n in range(1, 3):
        send(server, "a@a.test")
        wait_for(lambda: len(hop.messages()) == n, 20, "delivered")
        wait_for(lambda: any("QUIT" in s.commands for s in hop.sessions[n-1:]),
                 20, "the session ends")
    expect_equal([s.tls[2] for s in hop.sessions], [False, True], "resumed")


def test_sources():
    """src in turn, and what we call ourselves from each."""
    bed = Bed()
    hop = MailServer()
    server = bed.server(
        {"a.test": "host smtp://localhost:%d src { 127.0.0.2, 127.0.0.3 } "
                   "helo-src <names>" % hop.port},
        more="table names { 127.0.0.2 = two.test, 127.0.0.3 = three.test }\n"
             "mta limit session-keepalive 0")
    for n in range(1, 3):
        send(server, "a@a.test")
        server.wait_empty()
        wait_for(lambda: "QUIT" in hop.sessions[-1].commands, 20, "the end")
    expect_equal(sorted(s.commands[0] for s in hop.sessions),
                 ["EHLO three.test", "EHLO two.test"], "names")
    text = server.log_text()
    for source in ("127.0.0.2", "127.0.0.3"):
        expect('source="%s" ' % source in text, "source in the log", text)


def test_helo_is_missing():
    bed = Bed()
    hop = MailServer()
    server = bed.server(
        {"a.test": "host smtp://localhost:%d src 127.0.0.2 helo-src <names>" %
                   hop.port}, more="table names { 127.0.0.9 = nine.test }")
    send(server, "a@a.test")
    expect_equal(error_of(server), "No valid route to destination", "error")
    expect(re.search(r"(?m)^smtp-out: Error on 127\.0\.0\.2 <-> 127\.0\.0\.1 "
                     r"\(\S+\): Failed to retrieve helo string$",
                     server.log_text()), "the line", server.log_tail())
    expect_equal(hop.sessions, [], "no connection")


def article(name, host, user, scheme):
    """A configuration of an article, with nothing changed but where things
    are: the system knows our authority and the smarthost's name."""
    if os.geteuid() != 0:
        raise Skip("needs root")
    bed = Bed()
    hop = MailServer(bed.authority.issue(host), scheme == "smtps",
                     {user: "their secret"}, "PLAIN LOGIN")
    with open(os.path.join(ROOT, "testdata/config/ok", name)) as f:
        text = f.read()
    for folder, contents in (("aliases", "root: nobody\n"),
                             ("secrets", "%s %s:their secret\n" %
                              (user, user)),
                             ("hosts", "127.0.0.1 localhost %s\n" % host)):
        with open(os.path.join(bed.folder.name, folder), "w") as f:
            f.write(contents)
        text = text.replace("file:/" + folder,
                            "file:%s/%s" % (bed.folder.name, folder))
    text = text.replace("listen on lo\n", "").replace(
        "@" + host, "@%s:%d" % (host, hop.port))
    server = Server("listen on 127.0.0.1 port {port}\n" + text)
    server.wrapper = [
        "unshare", "--mount", "--propagation", "private", "sh", "-ec",
        'mount --bind "$1" /etc/ssl/certs/ca-certificates.crt; '
        'mount --bind "$2" /etc/hosts; shift 2; exec "$@"', "sh",
        bed.authority.cert, os.path.join(bed.folder.name, "hosts")]
    server.start()
    send(server, "a@a.test")
    server.wait_empty()
    expect_equal(len(hop.messages()), 1, "messages")
    expect_equal(hop.sessions[0].user, user, "who we are")
    lines = only_session(server)
    expect_lines(lines, [
        r"connecting address=%s://127\.0\.0\.1:%d host=\S+" % (
            re.escape(scheme), hop.port), "connected"] + TLS_LINES + [
                r'delivery evpid=.* result="Ok" stat="250 2\.0\.0 message 1"'])
    return bed, hop


def test_article_openbsd():
    _, hop = article("article-openbsd.conf", "smtp.example.org",
                     "identifiant", "smtp+tls")
    expect(any(c.startswith("MAIL FROM:<sender@example.org>")
               for c in hop.sessions[0].commands), "mail-from",
           hop.sessions[0].commands)


def test_article_arch():
    _, hop = article("article-arch-relay.conf", "mx.example.net", "bob",
                     "smtps")
    expect(any(c.startswith("MAIL FROM:<joe@example.org>")
               for c in hop.sessions[0].commands), "mail-from",
           hop.sessions[0].commands)


def test_postfix():
    """To Postfix by STARTTLS, verified, and on from there."""
    bed = Bed()
    hole = Blackhole(bed.folder.name)
    postfix = Postfix(hole.port, certificate=bed.certificate)
    server = bed.server({"a.test": "host smtp+tls://localhost:%d ca test" %
                         postfix.port})
    for _ in range(3):
        send(server, "a@a.test")
        server.wait_empty()
    wait_for(lambda: hole.stats()["messages"] == 3, 60, "all arrived")
    lines = only_session(server)
    expect_lines(lines, [
        r"connecting address=smtp\+tls://127\.0\.0\.1:%d host=\S+" %
        postfix.port, "connected"] + TLS_LINES +
        [delivery(r"250 2\.0\.0 Ok: queued as \w+")] * 3)


if __name__ == "__main__":
    sys.exit(run_tests([f for name, f in sorted(globals().items())
                        if name.startswith("test_")]))
