#!/usr/bin/env python3
"""TLS to the next hop: who is believed, what is said of the others in the log,
the queue and the envelope, and what happens when the handshake breaks."""
import contextlib
import os
import re
import ssl
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
from certificates import self_signed                            # noqa: E402
from holdfast import (Server, Smtp, expect, expect_equal,       # noqa: E402
                      free_port, programs, wait_for)
from peers import Postfix                                       # noqa: E402
from tls_hops import (TEXT, Hop, Place, Way, authority,         # noqa: E402
                      mine, run_inside)

SYSTEM = "/etc/ssl/certs/ca-certificates.crt"
CIPHERS = r"TLSv1\.3:TLS_\w+:(128|256)"


# ---- Opportunistic

def test_opportunistic_believes_anybody():
    name = "self.test"
    hop = Hop(name, self_signed(Place.folder, name))
    way = Way(hop)
    way.send()
    way.delivered()
    expect_equal(hop.seen[0]["sni"], name, "SNI")
    expect(hop.seen[0]["secure"], "by TLS")
    way.log(r"^([0-9a-f]{16}) mta tls ciphers=" + CIPHERS + r"\n\1 mta "
            r'cert-check result="unverified" '
            r'fingerprint="SHA256:[0-9a-f]{64}"$')
    # The fingerprint is that of the certificate.
    der = ssl.PEM_cert_to_DER_cert(
        open(os.path.join(Place.folder, "self-%s.crt" % name)).read())
    digest = subprocess.run(["sha256sum"], input=der, stdout=subprocess.PIPE,
                            check=True).stdout.split()[0].decode()
    way.log('fingerprint="SHA256:%s"' % digest)


def test_opportunistic_goes_on_in_clear():
    for number, how in enumerate(("garbage", "close", "refused")):
        name = "broken%d.test" % number
        hop = Hop(name, self_signed(Place.folder, name), starttls=how)
        way = Way(hop)
        way.send()
        way.delivered()
        expect(not hop.seen[-1]["secure"], "in clear")
        expect_equal(len(hop.seen), 1 if how == "refused" else 2,
                     "connections, " + how)
        if how == "refused":
            way.never("downgrading")
        else:
            way.log(r"^smtp-out: Error on session [0-9a-f]{16}: opportunistic "
                    r"TLS failed, downgrading to plain$")
            way.log(r"mta connecting address=smtp\+notls://%s:%d " % (
                re.escape(hop.address), hop.port))
        way.never("mta tls ciphers")
        way.server.stop()


def test_a_hop_that_wants_to_know_us_gets_it_in_clear():
    issuer = authority()
    for number, version in enumerate((ssl.TLSVersion.TLSv1_2,
                                      ssl.TLSVersion.TLSv1_3)):
        name = "curious%d.test" % number
        # With TLS 1.3 it refuses us behind our handshake.
        hop = Hop(name, issuer.issue(name), client_ca=issuer.cert,
                  versions=(version, version))
        way = Way(hop)
        way.send()
        way.delivered()
        expect(not hop.seen[-1]["secure"], "in clear")
        way.log("opportunistic TLS failed, downgrading to plain$")
        way.server.stop()


def test_nothing_in_common():
    """Versions that do not meet: in clear where that will do, else not."""
    name = "modern.test"
    issuer = authority()
    only13 = (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3)
    hop = Hop(name, issuer.issue(name), versions=only13)
    way = Way(hop, 'protocols "tlsv1.2"')
    way.send()
    way.delivered()
    expect(not hop.seen[-1]["secure"], "in clear")
    way.log("mta error reason=IO Error: tlsv1 alert protocol version$")
    way.server.stop()
    hop = Hop("modern2.test", issuer.issue("modern2.test"), versions=only13)
    way = Way(hop, 'tls ca mine protocols "tlsv1.2"', before=mine(issuer))
    way.send()
    way.refused("tlsv1 alert protocol version")


# ---- Required

def test_required_and_valid():
    issuer = authority()
    name = "valid.test"
    for number, (scheme, options, implicit) in enumerate((
            ("smtp", "tls ca mine", False), ("smtp+tls", "ca mine", False),
            ("smtps", "ca mine", True))):
        name = "valid%d.test" % number
        hop = Hop(name, issuer.issue(name), implicit=implicit)
        way = Way(hop, options, scheme, mine(issuer))
        way.send()
        way.delivered()
        expect(hop.seen[0]["secure"], "by TLS")
        expect_equal(hop.seen[0]["sni"], name, "SNI")
        way.log(r"^([0-9a-f]{16}) mta tls ciphers=" + CIPHERS + r"\n\1 mta "
                r'cert-check result="valid" '
                r'fingerprint="SHA256:[0-9a-f]{64}"$')
        way.server.stop()


def test_required_and_not_valid():
    issuer = authority()
    stranger = authority("Another CA")
    failed = "certificate verification failed: "
    for number, (certificate, why) in enumerate((
            (lambda n: self_signed(Place.folder, n), "self-signed certificate"),
            (lambda n: issuer.issue(n, days=-1), "certificate has expired"),
            (lambda n: issuer.issue("other." + n), "hostname mismatch"),
            (lambda n: issuer.issue("*.a." + n), "hostname mismatch"),
            (lambda n: stranger.issue(n),
             "unable to get local issuer certificate"))):
        for scheme, implicit in (("smtp+tls", False), ("smtps", True)):
            name = "bad%d%s.test" % (number, "s" if implicit else "")
            hop = Hop(name, certificate(name), implicit=implicit)
            way = Way(hop, "ca mine", scheme, mine(issuer))
            way.send()
            way.log(r'^[0-9a-f]{16} mta cert-check result="invalid" '
                    r'fingerprint="SHA256:[0-9a-f]{64}" reason="%s"$' %
                    re.escape(why))
            way.refused(failed + why)
            way.never("mta tls ciphers|downgrading")
            way.server.stop()


def test_required_and_not_offered():
    name = "plain.test"
    hop = Hop(name, self_signed(Place.folder, name), starttls=None)
    way = Way(hop, "tls")
    way.send()
    way.log(r"mta error reason=TLS required but not supported by remote host$")
    way.kept(r"Network error on destination MXs \(%s: TLS required but not "
             r"supported by remote host\)" % re.escape(hop.address))


def test_required_and_broken():
    for number, how in enumerate(("garbage", "close", "refused")):
        name = "required%d.test" % number
        hop = Hop(name, self_signed(Place.folder, name), starttls=how)
        way = Way(hop, "tls no-verify")
        way.send()
        way.kept(r"Network error on destination MXs \(.*\)")
        way.never("downgrading|mta tls ciphers")
        way.server.stop()


def test_no_verify():
    for number, (scheme, implicit) in enumerate((("smtp", False),
                                                 ("smtps", True))):
        name = "any%d.test" % number
        hop = Hop(name, self_signed(Place.folder, name), implicit=implicit)
        way = Way(hop, "tls no-verify", scheme)
        way.send()
        way.delivered()
        expect(hop.seen[0]["secure"], "by TLS")
        way.log('mta cert-check result="unverified"')
        way.server.stop()


def test_names():
    """Wild cards, international names, addresses."""
    issuer = authority()
    idn = "mx.xn--bcher-kva.test"
    wild = Hop("mx.wild.test", issuer.issue("*.wild.test"))
    way = Way(wild, "tls ca mine", before=mine(issuer))
    way.send()
    way.delivered()
    way.server.stop()
    hop = Hop(idn, issuer.issue(idn))
    way = Way(hop, "tls ca mine", before=mine(issuer))
    way.send()
    way.delivered()
    expect_equal(hop.seen[0]["sni"], idn, "SNI")
    way.server.stop()
    hop = Hop("literal.test", issuer.issue(
        "literal.test", addresses=[Place.name("literal.test")]))
    way = Way(hop, "tls ca mine", before=mine(issuer),
              name="[%s]" % hop.address)
    way.send()
    way.delivered()
    expect_equal(hop.seen[0]["sni"], None, "no SNI")
    way.log('mta cert-check result="valid"')
    way.server.stop()
    hop = Hop("literal2.test", issuer.issue("literal2.test"))
    way = Way(hop, "tls ca mine", before=mine(issuer),
              name="[%s]" % hop.address)
    way.send()
    way.refused("certificate verification failed: IP address mismatch")


def test_the_systems_authorities():
    """Without `ca` those of the system count."""
    issuer = authority("The system's CA")
    expect(os.path.exists(SYSTEM), "the machine has a bundle")
    with tempfile.NamedTemporaryFile("wb", dir=Place.folder,
                                     delete=False) as f:
        with open(SYSTEM, "rb") as bundle, open(issuer.cert, "rb") as ours:
            f.write(bundle.read() + ours.read())
    os.chmod(f.name, 0o644)
    name = "system.test"
    stranger = "stranger.test"
    hop = Hop(name, issuer.issue(name), implicit=True)
    subprocess.run(["mount", "--bind", f.name, SYSTEM], check=True)
    try:
        way = Way(hop, "", "smtps")
        way.send()
        way.delivered()
        way.log('mta cert-check result="valid"')
        way.server.stop()
        hop = Hop(stranger, authority("Nobody's CA").issue(stranger))
        way = Way(hop, "tls")
        way.send()
        way.refused("certificate verification failed: unable to get local "
                    "issuer certificate")
    finally:
        subprocess.run(["umount", SYSTEM], check=True)


def test_client_certificate():
    issuer = authority()
    cert, key = issuer.issue("client.holdfast.example", client=True)
    name = "asks.test"
    pki = 'pki us cert "%s" key "%s"\n' % (cert, key) + mine(issuer)
    for number, version in enumerate((ssl.TLSVersion.TLSv1_2,
                                      ssl.TLSVersion.TLSv1_3)):
        name = "asks%d.test" % number
        hop = Hop(name, issuer.issue(name), client_ca=issuer.cert,
                  versions=(version, version))
        way = Way(hop, "tls ca mine pki us", before=pki)
        way.send()
        way.delivered()
        expect_equal(hop.seen[0]["subject"], "client.holdfast.example",
                     "who we are")
        # The key is with `keys` alone.
        with open(key) as f:
            secret = "".join(f.read().splitlines()[1:-1])[:40]
        for room in ("smtpd-relay", "smtpd-receive"):
            for pid in way.server.room_pids(room):
                expect(not in_memory(pid, secret), room + " has the key")
        way.server.stop()
    hop = Hop("asks-in-vain.test", issuer.issue("asks-in-vain.test"),
              client_ca=issuer.cert)
    way = Way(hop, "tls ca mine", before=mine(issuer))
    way.send()
    way.kept(r"Network error on destination MXs \(.*\)")


def in_memory(pid, text):
    found = False
    with open("/proc/%d/maps" % pid) as maps, \
            open("/proc/%d/mem" % pid, "rb") as memory:
        for line in maps:
            area = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if not area:
                continue
            begin, end = (int(x, 16) for x in area.groups())
            with contextlib.suppress(OSError, OverflowError, ValueError):
                memory.seek(begin)
                found = found or text.encode() in memory.read(end - begin)
    return found


# ---- Sessions

def test_resumption():
    issuer = authority()
    for number, version in enumerate((ssl.TLSVersion.TLSv1_2,
                                      ssl.TLSVersion.TLSv1_3)):
        name = "again%d.test" % number
        hop = Hop(name, issuer.issue(name), versions=(version, version))
        way = Way(hop, "tls ca mine", before=mine(issuer))
        for count in range(1, 4):
            way.send("a%d@out.example" % count)
            way.delivered(count)
        expect_equal([s["reused"] for s in hop.seen if s["secure"]][:3],
                     [False, True, True], "resumed")
        # A resumed session was verified, too.
        expect_equal(way.server.log_text().count(
            'mta cert-check result="valid"'), len(hop.seen), "valid")
        way.server.stop()


def test_resumption_not_across_policies():
    issuer = authority()
    name = "two.test"
    hop = Hop(name, issuer.issue(name))
    way = Way(hop, "tls no-verify", before="""\
%s
action "strict" relay host %s tls ca mine
match from any for domain "strict.example" action "strict"
""" % (mine(issuer), hop.url()))
    way.send()
    way.delivered()
    way.send("a@strict.example")
    way.delivered(2)
    way.send("b@out.example")
    way.delivered(3)
    expect_equal([s["reused"] for s in hop.seen], [False, False, True],
                 "resumed")
    way.log('result="unverified"')
    way.log('result="valid"')


# ---- The bounce, a real peer, and the start

def test_the_bounce_says_why():
    issuer = authority()
    name = "expires.test"
    hop = Hop(name, issuer.issue("other.test"))
    way = Way(hop, "tls ca mine", before="""%s
queue ttl 3s
table boxes { "@" = nobody }
action "box" maildir "{folder}/Maildir" virtual <boxes> user nobody
match from any for domain "inside.example" action "box"
""" % mine(issuer), start=False)
    new = os.path.join(way.server.maildir(), "new")
    way.server.start()
    way.send()
    wait_for(lambda: os.path.isdir(new) and os.listdir(new), 60, "a bounce\n" +
             way.server.log_tail())
    with open(os.path.join(new, os.listdir(new)[0])) as f:
        text = " ".join(f.read().split())
    expect("certificate verification failed: hostname mismatch" in text,
           "the bounce says why", text)
    expect_equal(hop.got(), 0, "messages at the next hop")


def test_postfix():
    issuer = authority()
    name = "localhost"
    postfix = Postfix(free_port(), certificate=issuer.issue(name))
    for options, result in (("", "unverified"), ("tls ca mine", "valid")):
        server = Server("""\
listen on 127.0.0.1 port {port} hostname mx.holdfast.example
%s
action "out" relay host smtp://localhost:%d %s
match from any for any action "out"
""" % (mine(issuer), postfix.port, options)).start()
        session = Smtp(server.port)
        session.expect("EHLO client.example", "250")
        session.message("s@inside.example", ["a@out.example"], TEXT)
        session.quit()
        server.wait_empty()
        log = server.log_text()
        expect(re.search(r"mta tls ciphers=" + CIPHERS, log), "TLS", log)
        expect('mta cert-check result="%s"' % result in log, result, log)
        server.stop()


def check(text):
    """What `smtpd -n` says of the configuration."""
    server = Server("listen on 127.0.0.1 port {port}\n" + text +
                    'match from any for any action "out"\n')
    run = subprocess.run([os.path.join(programs(), "server/smtpd"), "-n", "-f",
                          server.conf], stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, timeout=60)
    return run.returncode, run.stdout.decode("utf-8", "replace")


def test_what_is_wrong_is_said_before_the_start():
    issuer = authority()
    for options, why in (
            ('ciphers "nonsense"', "no ciphers for 'nonsense'"),
            ('protocols "sslv3"', 'failed to parse protocols "sslv3"'),
            ("tls ca none", 'client ca "none" not found'),
            ("tls pki none", 'client pki "none" not found')):
        status, said = check('action "out" relay %s\n' % options)
        expect_equal(status, 1, options + ": " + said)
        expect(why in said, why, said)
    for before, why in (
            ('ca empty cert "/dev/null"\n', "not a regular file"),
            ('ca empty cert "%s"\n' % issuer.key, "no certificate in it")):
        os.chmod(issuer.key, 0o600)
        status, said = check(before + 'action "out" relay tls ca empty\n')
        expect_equal(status, 1, before + said)
        expect(why in said, why, said)
    status, said = check(mine(issuer) +
                         '\naction "out" relay tls ca mine ciphers "secure" '
                         'protocols "tlsv1.3"\n')
    expect_equal((status, said), (0, "configuration OK\n"), "what is right")


if __name__ == "__main__":
    sys.exit(run_inside([v for k, v in sorted(globals().items())
                         if k.startswith("test_")]))
