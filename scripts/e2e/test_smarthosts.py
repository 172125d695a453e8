#!/usr/bin/env python3
"""Smarthosts with fail-over and weights, and what operators see of them: two
sinks, one killed and started again."""
import re
import sys
import time

sys.dont_write_bytecode = True
from holdfast import (Blackhole, Server, Smtp, expect,         # noqa: E402
                      expect_equal, free_port, run_tests, wait_for)

TEXT = b"From: <s@inside.example>\r\nSubject: x\r\n\r\nHello.\r\n"
SENDER = "s@inside.example"


class Hub:
    """A smarthost: a sink with an address of its own, since routes are known
    by address."""

    made = 0

    def __init__(self):
        Hub.made += 1
        self.number = Hub.made
        self.address = "127.8.0.%d" % Hub.made
        self.port = free_port()
        self.before = 0
        self.sink = None
        self.starts = 0

    def start(self, server, *options):
        self.starts += 1
        self.sink = Blackhole(
            server.folder, "%s:%d" % (self.address, self.port), *options,
            port=self.port, name="hub%d-%d" % (self.number, self.starts))

    def stop(self):
        self.before = self.count()
        self.sink.stop()
        self.sink = None

    def count(self):
        """Messages taken so far."""
        if self.sink is None:
            return self.before
        return self.before + self.sink.stats()["messages"]

    def url(self, weight=None):
        return '"smtp://[%s]:%d%s"' % (
            self.address, self.port,
            "" if weight is None else " weight=%d" % weight)


def make(table, extra="", relay="relay host <hubs>"):
    """A server whose mail goes to the table's smarthosts."""
    return Server("listen on 127.0.0.1 port {port}\n" + table +
                  'action "out" ' + relay + "\n" + extra +
                  'match from any for any action "out"\n')


def send(server, count, domain="away.example"):
    smtp = Smtp(server.port)
    smtp.expect("EHLO client.example", "250")
    for i in range(count):
        reply = smtp.message(SENDER, ["r%d@%s" % (i, domain)], TEXT)
        expect(reply.startswith("250"), "the message is taken", reply)
    smtp.quit()


def two_hubs(weight_one=None, weight_two=None, start=True):
    one, two = Hub(), Hub()
    server = make("table hubs { %s, %s }\n" % (one.url(weight_one),
                                               two.url(weight_two)))
    if start:
        one.start(server)
        two.start(server)
    server.start()
    return server, one, two


def test_weights_are_seen_in_the_counts():
    server, one, two = two_hubs(weight_one=3)
    for domain in range(20):
        send(server, 20, "d%d.example" % domain)
    server.wait_empty()
    expect_equal(one.count() + two.count(), 400, "all arrived")
    expect(270 <= one.count() <= 330, "three quarters went to the first",
           one.count())


def test_one_is_killed_and_comes_back():
    server, one, two = two_hubs()
    send(server, 20)
    server.wait_empty()
    expect(one.count() > 0 and two.count() > 0, "both have taken mail",
           one.count(), two.count())
    one.stop()
    taken = two.count()
    begin = time.monotonic()
    send(server, 100)
    server.wait_empty(10)
    expect(time.monotonic() - begin < 10, "nothing waited for the first")
    expect_equal(two.count() - taken, 100, "the second took all")
    log = server.log_text()
    expect("does not answer, rests for 15s" in log, "it is in the log", log)
    expect("smtp-out: Destination" not in log, "nothing was postponed", log)
    one.start(server)

    def back():
        send(server, 2)
        return "answers again" in server.log_text()
    wait_for(back, 60, "the first is tried again")
    server.wait_empty()
    before = one.count(), two.count()
    send(server, 40)
    server.wait_empty()
    expect(one.count() - before[0] >= 10, "the first has its part again",
           before, one.count(), two.count())
    expect("smtp-out: Destination" not in server.log_text(),
           "nothing was ever postponed")


def test_all_down_then_back():
    server, one, two = two_hubs(start=False)
    send(server, 10)
    wait_for(lambda: "smtp-out: Destination away.example" in server.log_text(),
             20, "the destination is postponed")
    expect_equal(len(server.queue()), 10, "all are queued")
    log = server.log_text()
    for hub in (one, two):
        expect("Smarthost smtp://[%s]:%d (action \"out\") does not answer" % (
            hub.address, hub.port) in log, "each was tried", log)
    expect(re.search(r"^away\.example\|\d+\|Network error on destination MXs",
                     server.ctl("show", "hoststats"), re.M),
           "hoststats has the reason", server.ctl("show", "hoststats"))
    one.start(server)
    two.start(server)
    server.ctl("schedule", "all")
    server.wait_empty(20)
    expect_equal(one.count() + two.count(), 10, "all arrived, once each")


def test_weight_zero_is_a_reserve():
    server, one, two = two_hubs(weight_two=0)
    send(server, 20)
    server.wait_empty()
    expect_equal((one.count(), two.count()), (20, 0), "the reserve has none")
    one.stop()
    send(server, 20)
    server.wait_empty(10)
    expect_equal((one.count(), two.count()), (20, 20), "the reserve takes over")


def test_a_dead_domain_of_a_table_is_retrieved_again():
    one = Hub()
    server = make('table hubs file:{folder}/hubs\n',
                  relay="relay domain <hubs>")
    path = server.folder + "/hubs"
    with open(path, "w") as f:
        f.write("other.example %s\n" % one.url().strip('"'))
    one.start(server)
    server.start()
    send(server, 1, "other.example")
    server.wait_empty()
    send(server, 1, "away.example")
    wait_for(lambda: "Cannot retrieve smarthost" in server.log_text(), 10,
             "there is none for this domain")
    expect("warn: Failed to retrieve smarthost for envelope " +
           server.queue()[0][0] in server.log_text(), "the warning",
           server.log_text())
    with open(path, "a") as f:
        f.write("away.example %s\n" % one.url().strip('"'))
    server.ctl("update", "table", "hubs")
    server.ctl("schedule", "all")
    server.wait_empty(10)
    expect_equal(one.count(), 2, "both arrived")


def test_a_file_of_hosts_changes():
    one, two = Hub(), Hub()
    server = make('table hubs file:{folder}/hubs\n')
    path = server.folder + "/hubs"

    def write(*urls):
        with open(path, "w") as f:
            f.write("# @list\n" + "".join(url.strip('"') + "\n"
                                          for url in urls))
    write(one.url(weight=5), two.url(weight=0))
    one.start(server)
    two.start(server)
    server.start()
    send(server, 4)
    server.wait_empty()
    expect_equal((one.count(), two.count()), (4, 0), "weights of a file")
    write(two.url())
    server.ctl("update", "table", "hubs")
    send(server, 4)
    server.wait_empty()
    expect_equal((one.count(), two.count()), (4, 4), "the next batch knows")
    write(two.url()[1:-1] + " weight=-1")
    expect_equal(server.ctl("update", "table", "hubs", check=False),
                 "command failed\n", "a bad weight is refused")
    send(server, 1)
    server.wait_empty()
    expect_equal(two.count(), 5, "the old table goes on")


def test_listings():
    server, one, two = two_hubs()
    two.stop()
    send(server, 4)
    server.wait_empty(10)
    routes = server.ctl("show", "routes")
    expect(re.search(r"^\d+\. \[\] <-> %s \(.*\) -... nconn=\d+ nerror=0 "
                     r"penalty=0 timeout=\S+$" % one.address, routes, re.M),
           "the route that works", routes)
    expect(re.search(r"^\d+\. \[\] <-> %s \(.*\) NDQ- nconn=0 nerror=0 "
                     r"penalty=1 timeout=\d+s$" % two.address, routes, re.M),
           "the route that does not", routes)
    hosts = server.ctl("show", "hosts")
    expect(re.search(r"^%s \S+ refcount=1 nconn=\d lastconn=\d+s$" %
                     one.address, hosts, re.M), "the host", hosts)
    relays = server.ctl("show", "relays")
    expect(re.search(
        r"^\[relay:\[%s\],port=%d,smtp,mx\] refcount=\d+ ntask=0 nconn=\d+ "
        r"lastconn=\d+s timeout=- wait=\n"
        r"  connector \[\] refcount=0 nconn=\d+ lastconn=\d+s timeout=- "
        r"flags=$"
        % (re.escape(one.address), one.port), relays, re.M), "the relay",
        relays)
    expect(re.search(r"^away\.example\|\d+\|250 ",
                     server.ctl("show", "hoststats"), re.M), "the statistics")
    stats = server.ctl("show", "stats")
    for key in ("mta.host=2", "mta.route=2", "mta.session=", "mta.relay=1"):
        expect("\n" + key in stats, key, stats)


def test_routes_are_switched_off_and_on():
    server, one, two = two_hubs()
    two.stop()
    send(server, 4)
    server.wait_empty(10)
    number = re.search(r"^(\d+)\. \[\] <-> %s" % one.address,
                       server.ctl("show", "routes"), re.M).group(1)
    expect_equal(server.ctl("disable", "route", number), "command succeeded\n",
                 "disable")
    expect_equal(server.ctl("disable", "route", "999", check=False),
                 "command failed\n", "disable what is not there")
    expect_equal(server.ctl("resume", "route", "999"), "command succeeded\n",
                 "resume what is not there, as the reference")
    wait_for(lambda: server.ctl("show", "relays") == "", 30,
             "the idle sessions end")
    send(server, 1)
    wait_for(lambda: "smtp-out: Destination away" in server.log_text(), 20,
             "there is no way")
    server.ctl("enable", "route", number)
    expect("Enabling route [] <-> %s" % one.address in server.log_text(),
           "it is in the log")
    server.ctl("schedule", "all")
    server.wait_empty(10)


def test_blocks():
    one = Hub()
    server = make("table hubs { %s }\n" % one.url())
    one.start(server)
    server.start()
    domain = "[%s]" % one.address
    server.ctl("pause", "mta", "from", "[]", "for", domain)
    expect_equal(server.ctl("show", "mta", "paused"), "[] -> %s\n" % domain,
                 "the block is listed")
    send(server, 3)
    wait_for(lambda: "All routes to destination blocked" in server.log_text(),
             10, "the reason is in the log")
    expect_equal(len(server.queue()), 3, "nothing went out")
    server.ctl("resume", "mta", "from", "[]", "for", domain)
    expect_equal(server.ctl("show", "mta", "paused"), "", "no block is left")
    server.ctl("schedule", "all")
    server.wait_empty(10)
    expect_equal(one.count(), 3, "all arrived")


def test_pause_mta():
    one = Hub()
    server = make("table hubs { %s }\n" % one.url())
    one.start(server)
    server.start()
    expect_equal(server.ctl("pause", "mta"), "command succeeded\n", "pause")
    expect_equal(server.ctl("pause", "mta", check=False), "command failed\n",
                 "pause again")
    expect("MTA paused\n" in server.ctl("show", "status"), "the status")
    send(server, 3)
    time.sleep(0.5)
    expect_equal(one.count(), 0, "nothing goes out")
    server.ctl("resume", "mta")
    expect("MTA running\n" in server.ctl("show", "status"), "the status")
    server.wait_empty(10)
    expect_equal(one.count(), 3, "all arrived")


def test_bad_weights_are_named():
    server = make('table hubs { "smtp://a.example weight=many" }\n')
    server.start(wait=0)
    expect(server.process.wait(20) != 0, "smtpd does not start")
    expect("invalid smarthost smtp://a.example weight=many" in
           server.log_text(), "the error", server.log_text())


if __name__ == "__main__":
    sys.exit(run_tests([
        test_weights_are_seen_in_the_counts,
        test_one_is_killed_and_comes_back,
        test_all_down_then_back,
        test_weight_zero_is_a_reserve,
        test_a_dead_domain_of_a_table_is_retrieved_again,
        test_a_file_of_hosts_changes,
        test_listings,
        test_routes_are_switched_off_and_on,
        test_blocks,
        test_pause_mta,
        test_bad_weights_are_named,
    ]))
