#!/usr/bin/env python3
"""docs/TABLES.md, taken at its word: each program of a table with its example,
in front of a real database, by itself and behind our server; each database
killed, stopped in its tracks and started again while questions are asked and
mail flows, without one wrong answer."""
import contextlib
import os
import re
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import threading

sys.dont_write_bytecode = True
from certificates import Authority                            # noqa: E402
from databases import (Mariadb, Postgres, Redis, Slapd,       # noqa: E402
                       Sqlite)
from holdfast import (OPEN, ROOT, Server, Skip, as_user,      # noqa: E402
                      expect, expect_equal, free_port, run_tests, tool,
                      wait_for)

BOB, ALICE = "correct horse", "battery staple"    # their passwords
TEXT = b"Subject: x\r\n\r\nA line.\r\n"
# Every question has one right answer.
QUESTIONS = [
    ("check", "domain", "example.com", "found", ""),
    ("check", "domain", "example.org", "not-found", ""),
    ("lookup", "alias", "bob@example.com", "found", "bob"),
    ("lookup", "alias", "nobody@example.com", "not-found", ""),
    ("lookup", "userinfo", "bob", "found", "2001:2001:/var/vmail/bob"),
    ("lookup", "userinfo", "nobody", "not-found", ""),
    ("lookup", "credentials", "nobody", "not-found", ""),
]
HOSTILE = ["' OR '1'='1", "x'; DROP TABLE users; --", "*", "*)(uid=*",
           "bob)(cn=*", "\\2a", "%s", "$1", "?", "a b c", "bob\0", "\xff\xfe",
           "x" * 1000, "bob@example.com|x", ""]


def blocks(language):
    """The texts of a document's blocks of this kind."""
    with open(os.path.join(ROOT, "docs", "TABLES.md")) as f:
        return re.findall(r"(?ms)^```%s\n(.*?)^```$" % re.escape(language),
                          f.read())


def block(language):
    found = blocks(language)
    expect_equal(len(found), 1, "blocks of " + language)
    return found[0]


def fill_sqlite(vmail):
    database = Sqlite()
    database.fill(block("sql").replace("/var/vmail", vmail))
    return database


def fill_sql(kind):
    def fill(vmail):
        database = kind()
        database.fill(block("sql").replace("/var/vmail", vmail),
                      block(kind.word + "-sql"))
        return database
    return fill


def fill_ldap(vmail):
    database = Slapd()
    database.fill(block("ldif").replace("/var/vmail", vmail))
    return database


def fill_redis(vmail):
    database = Redis()
    database.fill(block("redis-cli").replace("/var/vmail", vmail))
    return database


FILL = {"sqlite": fill_sqlite, "postgres": fill_sql(Postgres),
        "mysql": fill_sql(Mariadb), "ldap": fill_ldap, "redis": fill_redis}


def for_each(*words):
    """A test of one database, for each of them."""
    def make(test):
        made = []
        for word in words or FILL:
            def run(word=word):
                test(word)
            run.__name__ = "%s_%s" % (test.__name__, word)
            made.append(run)
        return made
    return make


def settings(database, more="", without=None):
    """The document's file for this database; without: lines that contain this
    word are left out."""
    text = block(database.word)
    for old, new in database.replaced.items():
        expect(old in text, "the document's file has " + old, text)
        text = text.replace(old, new)
    lines = [line for line in text.splitlines(True)
             if without is None or without not in line]
    path = database.write(database.word + ".conf", "".join(lines) + more)
    os.chmod(path, 0o640)
    return path


class Program:
    """table-WORD as smtpd runs it, with a table named t."""

    def __init__(self, word, path, greet=True):
        self.process = subprocess.Popen(
            ["t", path], executable=tool("table-" + word),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        OPEN.append(self)
        self.count = 0
        self.services = []
        if greet:
            self.write("config|smtpd-version|7.8.0-portable\n"
                       "config|protocol|0.1\nconfig|tablename|t\n"
                       "config|ready\n")
            while True:
                line = self.read()
                expect(line.startswith("register|"), "a registration", line)
                if line == "register|ready":
                    break
                self.services.append(line.split("|")[1])

    def write(self, text):
        self.process.stdin.write(text.encode("latin-1"))
        self.process.stdin.flush()

    def read(self):
        line = self.process.stdout.readline().decode("latin-1")
        expect(line.endswith("\n"), "a whole line", line,
               "" if line else self.process.stderr.read())
        return line[:-1]

    def send(self, op, *rest):
        self.count += 1
        fields = [op] + ([rest[0]] if len(rest) > 0 else []) + \
            ["%08x" % self.count] + list(rest[1:])
        self.write("table|0.1|1795324664.107565|t|%s\n" % "|".join(fields))

    def receive(self, op, number):
        fields = self.read().split("|", 3)
        expect_equal(fields[:2], [op + "-result", "%08x" % number],
                     "the answer to the question")
        return fields[2], fields[3] if len(fields) > 3 else ""

    def ask(self, op, *rest):
        """(result, value or message)."""
        self.send(op, *rest)
        return self.receive(op, self.count)

    def close(self):
        if self.process.stdout.closed:
            return self.process.returncode
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait(30)
        self.log = self.process.stderr.read().decode()
        self.process.stdout.close()
        self.process.stderr.close()
        return self.process.returncode


def check_right(program, question):
    op, service, key, result, value = question
    expect_equal(program.ask(op, service, key), (result, value),
                 "%s %s %s" % (op, service, key))


def check_members(value, *members):
    expect_equal(sorted(value.split(", ")), sorted(members), "a list")


@for_each()
def test_example_answers(word):
    database = FILL[word]("/var/vmail")
    program = Program(word, settings(database))
    expect({"alias", "credentials", "domain", "userinfo"} <=
           set(program.services), "services", program.services)
    for question in QUESTIONS:
        check_right(program, question)
    check_members(program.ask("lookup", "alias", "staff@example.com")[1],
                  "bob", "alice")
    result, value = program.ask("lookup", "credentials", "alice")
    expect_equal(result, "found", "a hash")
    expect(value.startswith("alice:$6$another"), "user and hash", value)
    expect_equal(program.ask("update"), ("ok", ""), "update")
    check_right(program, QUESTIONS[2])
    expect_equal(program.ask("lookup", "relayhost", "x")[0], "error",
                 "what is not configured")
    expect_equal(program.close(), 0, "its end with its standard input")
    expect_equal(program.log, "", "its log")


@for_each()
def test_hostile_keys_find_nothing(word):
    database = FILL[word]("/var/vmail")
    program = Program(word, settings(database))
    for service in ("alias", "credentials", "domain"):
        for key in HOSTILE:
            if "\0" in key:
                continue    # no line carries it
            result, value = program.ask("lookup", service, key)
            expect(result in ("not-found", "error"), "%r finds nothing" % key,
                   result, value)
    for question in QUESTIONS:
        check_right(program, question)


@for_each()
def test_many_questions_at_once(word):
    """They are read in order, and so are the answers."""
    database = FILL[word]("/var/vmail")
    program = Program(word, settings(database))
    many = [QUESTIONS[i % len(QUESTIONS)] for i in range(500)]
    sender = threading.Thread(target=lambda: [
        program.send(*question[:3]) for question in many])
    sender.start()
    for number, (op, _, _, result, value) in enumerate(many, 1):
        expect_equal(program.receive(op, number), (result, value),
                     "answer %d" % number)
    sender.join()


@for_each()
def test_a_killed_database_costs_errors_only(word):
    database = FILL[word]("/var/vmail")
    program = Program(word, settings(database))
    seen = {"right": 0, "error": 0}
    errors = set()

    def ask_all():
        """How many were right; a wrong one ends the test."""
        right = 0
        for op, service, key, result, value in QUESTIONS:
            got = program.ask(op, service, key)
            if got[0] == "error":
                seen["error"] += 1
                errors.add(got[1])
            else:
                expect_equal(got, (result, value), "%s %s" % (service, key))
                seen["right"] += 1
                right += 1
        return right

    for _ in range(3):
        expect_equal(ask_all(), len(QUESTIONS), "right answers")
        database.kill()
        expect_equal(ask_all(), 0, "answers of nobody")
        starter = threading.Thread(target=database.start)
        starter.start()
        wait_for(lambda: ask_all() == len(QUESTIONS), 60, "it answers again")
        starter.join()
    expect(seen["error"] >= 3 * len(QUESTIONS), "errors", seen)
    expect("" not in errors, "every error says why", errors)
    expect_equal(program.close(), 0, "its end")
    expect(program.log.count("connected again") >= 3, "its log", program.log)
    expect("Rules" not in program.log, "no password in it", program.log)
    expect(len(program.log.splitlines()) < 50, "few lines", program.log)


@for_each("postgres", "mysql", "ldap", "redis")
def test_a_stopped_database_is_an_error_in_time(word):
    database = FILL[word]("/var/vmail")
    program = Program(word, settings(database, "\ntimeout 1\n"))
    check_right(program, QUESTIONS[2])
    database.signal(signal.SIGSTOP)
    for _ in range(2):
        expect_equal(program.ask(*QUESTIONS[2][:3])[0], "error",
                     "an answer of a stopped server")
    database.signal(signal.SIGCONT)
    wait_for(lambda: program.ask(*QUESTIONS[2][:3]) == ("found", "bob"), 60,
             "it answers again")
    for question in QUESTIONS:
        check_right(program, question)


def run(word, *words, text=""):
    """(status, standard output, standard error) of table-WORD."""
    done = subprocess.run([tool("table-" + word)] + list(words), input=text,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


@for_each()
def test_by_hand(word):
    database = FILL[word]("/var/vmail")
    path = settings(database)
    expect_equal(run(word, "-n", path), (0, "configuration OK\n", ""), "-n")
    expect_equal(run(word, path, "lookup", "alias", "bob@example.com"),
                 (0, "bob\n", ""), "lookup")
    expect_equal(run(word, path, "lookup", "userinfo", "-", text="bob\n"),
                 (0, "2001:2001:/var/vmail/bob\n", ""), "a key from input")
    expect_equal(run(word, path, "check", "domain", "example.net"),
                 (0, "", ""), "check")
    expect_equal(run(word, path, "lookup", "alias", "eve"), (1, "", ""),
                 "not found")
    database.kill()
    status, out, said = run(word, path, "lookup", "alias", "bob@example.com")
    expect_equal((status, out), (75, ""), "nobody answers")
    expect_equal(len(said.splitlines()), 1, "one line: " + said)
    status, out, said = run(word, "-n", path)
    expect_equal((status, out), (75, ""), "-n without the database")
    expect(said.startswith("table-%s: " % word), "it says why", said)
    for words in ([], ["-n"], [path, "lookup"], [path, "steal", "alias", "x"],
                  [path, "lookup", "salary", "x"], ["-x", path]):
        expect_equal(run(word, *words)[0], 64, "usage of %s" % words)


@for_each()
def test_wrong_files_have_their_line(word):
    path = "/tmp/none"
    status, out, said = run(word, "-n", path)
    expect_equal((status, out), (78, ""), "no file")
    expect(path in said, "its name", said)
    database = FILL[word]("/var/vmail")
    with open(settings(database)) as f:
        lines = f.read().count("\n")
    query = {"ldap": "mailaddr_filter: (mail=%u",
             "redis": "query_mailaddr GET mailaddr"}.get(
                 word, "query_mailaddr SELECT nonsense FROM")
    path = settings(database, query + "\n")
    status, out, said = run(word, "-n", path)
    expect_equal((status, out), (78, ""), "a wrong query: " + said)
    expect("%s:%d: " % (path, lines + 1) in said, "its line", said)
    path = settings(database, "timeout soon\n")
    status, out, said = run(word, "-n", path)
    expect_equal(said, "table-%s: %s:%d: timeout: must be a number from 1 to "
                 "300\n" % (word, path, lines + 1), "a wrong number")
    # A running one keeps what it has.
    path = settings(database)
    program = Program(word, path)
    settings(database, "timeout soon\n")
    result, said = program.ask("update")
    expect_equal(result, "error", "update")
    expect("%s:%d: " % (path, lines + 1) in said, "its line", said)
    check_right(program, QUESTIONS[2])


def test_secrets_are_not_said():
    database = FILL["postgres"]("/var/vmail")
    path = settings(database)
    with open(path) as f:
        text = f.read()
    with open(path, "w") as f:
        f.write(text.replace("password='Rules!'", "password = s3 cret"))
    status, _, said = run("postgres", "-n", path)
    expect_equal(status, 78, "a wrong conninfo")
    expect("cret" not in said, "no part of it", said)
    path = settings(database)
    os.chmod(path, 0o644)
    said = run("postgres", "-n", path)[2]
    expect("everybody may read it" in said, "a warning", said)


def test_lists_go_round():
    database = FILL["sqlite"]("/var/vmail")
    database.fill("CREATE TABLE sources (address TEXT);"
                  "INSERT INTO sources VALUES ('10.0.0.2'), ('10.0.0.1');")
    program = Program("sqlite", settings(
        database, "fetch_source SELECT address FROM sources\n"))
    got = [program.ask("fetch", "source") for _ in range(4)]
    expect_equal(got, [("found", "10.0.0.%d" % n) for n in (1, 2, 1, 2)],
                 "one after the other")


def test_ldap_checks_passwords():
    database = FILL["ldap"]("/var/vmail")
    path = settings(database, block("ldap-auth"), without="credentials")
    program = Program("ldap", path)
    expect("auth" in program.services, "services", program.services)
    expect("credentials" not in program.services, "services",
           program.services)
    for key, result in (("bob:" + BOB, "found"), ("bob:" + ALICE, "not-found"),
                        ("alice:" + ALICE, "found"), ("bob:", "not-found"),
                        ("eve:" + BOB, "not-found"), ("*:" + BOB, "not-found"),
                        ("bob:Correct horse", "not-found"), ("bob", "error")):
        expect_equal(program.ask("check", "auth", key)[0], result, key)
    expect_equal(run("ldap", path, "check", "auth", "-",
                     text="bob:%s\n" % BOB), (0, "", ""), "by hand")
    database.kill()
    for key in ("bob:" + BOB, "bob:x"):
        expect_equal(program.ask("check", "auth", key)[0], "error", key)
    expect_equal(program.close(), 0, "its end")
    expect("horse" not in program.log, "no password in its log", program.log)


def test_the_second_redis_is_asked():
    first, second = FILL["redis"]("/var/vmail"), FILL["redis"]("/var/vmail")
    program = Program("redis", settings(
        first, "slave unix:%s\n" % second.path("socket")))
    check_right(program, QUESTIONS[2])
    first.kill()
    for question in QUESTIONS:
        check_right(program, question)
    second.kill()
    expect_equal(program.ask(*QUESTIONS[2][:3])[0], "error", "without both")
    first.start()
    wait_for(lambda: program.ask(*QUESTIONS[2][:3])[0] == "found", 60,
             "the first is back")


def main():
    tests = []
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            tests += test if isinstance(test, list) else [test]
    return run_tests(tests)


if __name__ == "__main__":
    sys.exit(main())
