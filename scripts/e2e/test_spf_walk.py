#!/usr/bin/env python3
"""`smtpctl spf walk` against a name server of the test's own, on port 53 of a
network namespace."""
import json
import os
import socket
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import test_dns   # noqa: E402
from holdfast import (NOBODY, as_user, expect, expect_equal,   # noqa: E402
                      run_tests, tool)

TXT, AAAA = 16, 28
test_dns.DNS_PORT = 53


def txt(*strings):
    return TXT, b"".join(bytes([len(s)]) + s.encode() for s in strings)


def aaaa(address):
    return AAAA, socket.inet_pton(socket.AF_INET6, address)


def zone():
    if zone.dns is None:
        zone.dns = test_dns.Dns()
    zone.dns.records.clear()
    return zone.dns


zone.dns = None


def walk(domains, *words, user=None):
    run = subprocess.run(
        as_user(user) + [tool("smtpctl"), "spf", "walk"] + list(words),
        input=domains, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, timeout=120)
    return run.returncode, sorted(run.stdout.splitlines()), run.stderr


def test_follows():
    dns = zone()
    long = "v=spf1 " + " ".join("ip4:192.0.2.%d" % i for i in range(90))
    dns.records.update({
        ("a.test", TXT): [
            txt("unrelated"),
            txt("v=spf1 ip4:198.51.100.0/24 ", "ip6:2001:db8::/32 mx/28 "
                "?a:h.test include:b.test -ip4:10.0.0.0/8 "
                "~include:never.test exists:%{i}.x.test -all")],
        ("a.test", test_dns.MX): [test_dns.mx(10, "h.test"),
                                  test_dns.mx(20, "m.test")],
        ("h.test", test_dns.A): [test_dns.a("203.0.113.1")],
        ("h.test", AAAA): [aaaa("2001:db8:1::1")],
        ("m.test", test_dns.A): [test_dns.a("203.0.113.2")],
        ("b.test", TXT): [txt("v=spf1 include:a.test redirect=long.test")],
        ("long.test", TXT): [txt(*(long[i:i + 200] for i in
                                   range(0, len(long), 200)))]})
    wanted = sorted(
        ["198.51.100.0/24", "2001:db8::/32", "203.0.113.1/28",
         "2001:db8:1::1", "203.0.113.1", "203.0.113.2/28"] +
        ["192.0.2.%d" % i for i in range(90)])
    for user in (None, NOBODY):
        status, out, err = walk("a.test\n\nb.test\nmissing.test\n", user=user)
        expect_equal(out, wanted, "networks")
        expect_equal((status, err),
                     (0, "smtpctl: lookup_record: %{i}.x.test contains macros "
                      "and can't be resolved\n"), "the rest")
    expect(("never.test", TXT) not in dns.questions, "what fails is not asked")
    status, out, _ = walk("m.test\na.test\n", "--json")
    expect_equal(sorted(json.loads(line)["network"] for line in out), wanted,
                 "as JSON")


def test_hostile():
    dns = zone()
    for i in range(1500):
        dns.records["c%d.test" % i, TXT] = [
            txt("v=spf1 include:c%d.test" % (i + 1))]
    dns.records["cut.test", TXT] = [(TXT, b"\xffv=spf1 ip4:1.2.3.4")]
    dns.records["esc.test", TXT] = [txt("v=spf1 ip4:\x1b[2J")]
    dns.records["ok.test", TXT] = [txt("v=spf1 ip4:192.0.2.1")]
    dns.records["broken.test", TXT] = test_dns.SERVFAIL
    status, out, err = walk("c0.test\ncut.test\nesc.test\nok.test\n")
    expect_equal((status, out, err),
                 (1, ["192.0.2.1", "\\^[[2J"],
                  "smtpctl: c0.test needs more than 1000 lookups\n"), "walk")
    expect_equal(walk("broken.test\n" + "x" * 300 + ".test\n"), (0, [], ""),
                 "errors are silent")


def furnish():
    with tempfile.NamedTemporaryFile("w", delete=False) as f:
        f.write("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    os.chmod(f.name, 0o644)
    for words in ("mount --make-rprivate /",
                  "mount --bind %s /etc/resolv.conf" % f.name,
                  "ip link set lo up"):
        subprocess.run(words.split(), check=True)
    os.unlink(f.name)


if __name__ == "__main__":
    if "HOLDFAST_INSIDE" not in os.environ:
        sys.exit(test_dns.enter())
    furnish()
    sys.exit(run_tests([value for name, value in list(globals().items())
                        if name in ("test_follows", "test_hostile")]))
