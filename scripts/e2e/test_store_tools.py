#!/usr/bin/env python3
"""queue stat, queue compact, queue check --repair: on a queue with mail in it,
while the server runs and while it is down."""
import json
import os
import sys

sys.dont_write_bytecode = True
from holdfast import (Blackhole, Server, Smtp, expect,          # noqa: E402
                      expect_equal, free_port, run_tests)

CONF = """\
listen on 127.0.0.1 port {port}
action "out" relay host smtp+notls://127.0.0.1:%d
match from any for any action "out"
"""
BODY = b"Subject: x\r\n\r\n" + b"".join(
    b"line %d of some text that compresses\r\n" % i for i in range(3000))


def fill(server, count):
    smtp = Smtp(server.port)
    smtp.expect("EHLO client.example", "250")
    for i in range(count):
        expect(smtp.message("a@from.example", ["r%d@to.example" % i],
                            BODY).startswith("250"), "accepted", i)
    smtp.quit()


def figures(server):
    return json.loads(server.ctl("queue", "stat", "--json"))


def refuses(server, *words):
    said = server.ctl(*words, check=False)
    expect_equal(said, "", " ".join(words) + " while it runs")


def test_stat_and_compact():
    port = free_port()
    server = Server(CONF % port).start()
    fill(server, 60)
    running = figures(server)
    expect_equal(running["sampled-messages"], 60, "messages looked at")
    expect(0 < running["compression"] < 0.5, "text is compressed", running)
    expect_equal(running["tables"]["envelopes"]["rows"], 60, "envelopes")
    expect("fragmentation " in server.ctl("queue", "stat"), "text", server)
    server.ctl("remove", "all")
    server.wait_empty()
    fill(server, 5)
    refuses(server, "queue", "compact")
    refuses(server, "queue", "check", "--repair")
    server.stop()
    offline = figures(server)
    expect_equal(offline["tables"]["envelopes"]["rows"], 5, "envelopes")
    path = os.path.join(server.spool, "queue", "queue.mdb")
    if not os.path.exists(path):
        path = [os.path.join(d, "queue.mdb") for d, _, names in
                os.walk(server.spool) if "queue.mdb" in names][0]
    before = os.stat(path)
    done = json.loads(server.ctl("queue", "compact", "--json"))
    after = os.stat(path)
    expect_equal((done["bytes-before"], done["bytes-after"]),
                 (before.st_size, after.st_size), "sizes")
    expect(after.st_size < before.st_size, "it is smaller", done)
    expect_equal((after.st_uid, after.st_mode),
                 (before.st_uid, before.st_mode), "whose it is")
    expect_equal(figures(server)["free-pages"], 0, "free pages")
    server.check_clean()
    hop = Blackhole(server.folder, port=port)
    server.start()
    server.ctl("schedule", "all")
    server.wait_empty()
    expect_equal(hop.stats()["recipients"], 5, "messages that arrive")


def test_repair():
    server = Server(CONF % free_port()).start()
    fill(server, 20)
    ledger = server.ctl("show", "ledger")
    server.stop()
    expect_equal(server.ctl("queue", "check", "--repair"),
                 "queue check: 20 messages, 20 envelopes, 0 problems\n",
                 "a sound queue")
    path = [os.path.join(d, "queue.mdb") for d, _, names in
            os.walk(server.spool) if "queue.mdb" in names][0]
    # One octet of one body: bodies are most of the file.
    with open(path, "r+b") as f:
        data = f.read()
        page = next(at for at in range(8192, len(data), 4096)
                    if data[at + 10] == 4 and
                    any(data[at + 2000:at + 2100]))
        f.seek(page + 2000)
        f.write(bytes([data[page + 2000] ^ 1]))
    said = server.ctl("queue", "check", check=False)
    expect("problems" in said and " 0 problems" not in said, "damage", said)
    said = server.ctl("queue", "check", "--repair")
    expect(": set aside" in said and "what is left of it is in" in said and
           said.endswith(" 0 problems\n"), "what was mended", said)
    server.check_clean()
    expect_equal(server.ctl("show", "ledger"), ledger, "the ledger")
    expect_equal(len(server.queue()), 19, "envelopes left")
    server.start()
    server.check_clean()


def test_a_sealed_queue():
    server = Server('queue encryption "0123456789abcdef0123456789abcdef"\n' +
                    CONF % free_port()).start()
    os.environ["SMTPD_CONFIG"] = server.conf
    fill(server, 10)
    server.stop()
    for words in (("compact",), ("check", "--repair"), ("stat",)):
        said = server.ctl("queue", *words)
        expect("10 messages, 10 envelopes" in said or "rows 10 " in said,
               " ".join(words), said)
    server.start()
    server.check_clean()
    expect_equal(len(server.queue()), 10, "envelopes")


if __name__ == "__main__":
    sys.exit(run_tests([value for name, value in list(globals().items())
                        if name.startswith("test_")]))
