#!/usr/bin/env python3
"""What a full STARTTLS handshake costs: processor time of all processes of the
server, for each session (banner, EHLO, STARTTLS, handshake, EHLO, QUIT), of
Holdfast and of Postfix with the same keys, in turns.

    scripts/e2e/tls_cost.py [--sessions N] [--rounds N] [--at-once N]

Exit 1 if Holdfast needs more than 0.7 of Postfix's for either kind of key.
"""
import argparse
import os
import ssl
import statistics
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
from certificates import Authority                              # noqa: E402
from holdfast import (Server, Smtp, Skip, close_all,             # noqa: E402
                      descendants)
from peers import Postfix                                       # noqa: E402

GOAL = 0.7
NAME = "mx.holdfast.example"
TICK = os.sysconf("SC_CLK_TCK")


class TlsPostfix(Postfix):
    """One that takes STARTTLS."""

    def __init__(self, cert, key):
        self.cert, self.private = cert, key
        super().__init__(next_hop=9)

    def prepare(self):
        super().prepare()
        with open(self.path("main.cf"), "a") as f:
            f.write("smtpd_tls_security_level = may\n"
                    "smtpd_tls_chain_files = %s, %s\n" % (
                        self.private, self.cert))


def holdfast(cert, key):
    return Server('pki a cert "%s" key "%s"\n' % (cert, key) +
                  "listen on 127.0.0.1 port {port} tls pki a\n"
                  'action "box" mbox\nmatch for local action "box"\n').start()


def processor_time(server):
    """Seconds, of the server's processes and those it has reaped."""
    total = 0
    for pid, _, _ in descendants(server.process.pid):
        try:
            with open("/proc/%d/stat" % pid) as f:
                fields = f.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += sum(int(x) for x in fields[11:15])
    return total / TICK


def session(port, using):
    smtp = Smtp(port)
    smtp.expect("EHLO client.example", "250")
    if using is not None:
        smtp.expect("STARTTLS", "220")
        smtp.file.close()
        smtp.socket = using.wrap_socket(smtp.socket)
        smtp.file = smtp.socket.makefile("rb")
        smtp.expect("EHLO client.example", "250")
    smtp.quit()


def run(server, sessions, at_once, tls):
    """(processor time, wall time) for each session."""
    using = None
    if tls:
        using = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        using.check_hostname = False
        using.verify_mode = ssl.CERT_NONE
    failures = []

    def work():
        try:
            for _ in range(sessions // at_once):
                session(server.port, using)
        except Exception as e:    # told below; the thread has no other way
            failures.append(e)
    before, begin = processor_time(server), time.monotonic()
    threads = [threading.Thread(target=work) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.monotonic() - begin
    time.sleep(0.2)    # what is logged and closed behind the last reply
    if failures:
        raise failures[0]
    done = sessions // at_once * at_once
    return (processor_time(server) - before) / done, wall / done


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sessions", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--at-once", type=int, default=4)
    args = parser.parse_args()
    worst = 0
    print("%-12s %-10s %12s %12s %10s" % (
        "key", "server", "us/session", "us without", "sessions/s"))
    with tempfile.TemporaryDirectory(prefix="holdfast-tls.") as folder:
        os.chmod(folder, 0o755)
        authority = Authority(folder)
        for kind, rsa in (("RSA-2048", True), ("ECDSA-P256", False)):
            cert, key = authority.issue(NAME, rsa=rsa)
            servers = {"holdfast": holdfast(cert, key)}
            try:
                servers["postfix"] = TlsPostfix(cert, key)
            except Skip as e:
                print("SKIP", e)
            cost = {name: [] for name in servers}
            rate = {name: [] for name in servers}
            plain = {}
            for name, server in servers.items():
                run(server, 50, args.at_once, True)    # warm
                plain[name] = run(server, args.sessions, args.at_once,
                                  False)[0]
            for _ in range(args.rounds):
                for name, server in servers.items():
                    cpu, wall = run(server, args.sessions, args.at_once, True)
                    cost[name].append(cpu)
                    rate[name].append(1 / wall)
            for name in servers:
                print("%-12s %-10s %12.0f %12.0f %10.0f" % (
                    kind, name, 1e6 * statistics.median(cost[name]),
                    1e6 * plain[name], statistics.median(rate[name])))
            if "postfix" in servers:
                ratio = statistics.median(
                    [h / p for h, p in zip(cost["holdfast"], cost["postfix"])])
                print("%-12s ratio %.2f" % (kind, ratio))
                worst = max(worst, ratio)
            close_all()
    return 0 if worst <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
