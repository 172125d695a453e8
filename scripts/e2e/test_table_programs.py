#!/usr/bin/env python3
"""docs/TABLES.md, taken at its word: each program of a table with its example,
in front of a real database, by itself and behind our server; each database
killed, stopped in its tracks and started again while questions are asked and
mail flows, without one wrong answer."""
import contextlib
import os
import re
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
from certificates import Authority                            # noqa: E402
from databases import (PASSWORD, Mariadb, Postgres, Redis,    # noqa: E402
                       Slapd, Sqlite)
from holdfast import (OPEN, ROOT, Server, Skip, expect,       # noqa: E402
                      expect_equal, free_port, run_tests, tool, wait_for)

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
        self.time = time.time    # of the questions
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
        self.write("table|0.1|%f|t|%s\n" % (self.time(), "|".join(fields)))

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
    program.time = lambda: 0    # however slow this machine is
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
def test_a_restart_between_questions_costs_nothing(word):
    database = FILL[word]("/var/vmail")
    program = Program(word, settings(database))
    for _ in range(3):
        for question in QUESTIONS:
            check_right(program, question)
        database.kill()
        database.start()
    check_right(program, QUESTIONS[2])
    program.close()
    expect_equal(program.log, "", "nothing to say")


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


def test_what_comes_too_late_is_not_asked():
    program = Program("sqlite", settings(FILL["sqlite"]("/var/vmail")))
    program.time = lambda: time.time() - 5
    expect_equal(program.ask(*QUESTIONS[2][:3]), ("error", "too late"),
                 "a question that nobody waits for")
    expect_equal(program.ask("update"), ("ok", ""), "update")
    program.time = lambda: time.time() + 3600
    check_right(program, QUESTIONS[2])


@for_each("sqlite", "postgres", "mysql", "ldap")
def test_a_check_finds_what_a_lookup_does(word):
    database = FILL[word]("/var/vmail")
    key = "$1" if word == "postgres" else "?"
    more = "query_domain SELECT max(domain) FROM domains WHERE domain=%s\n" % \
        key
    # One row without a value, or an entry that lacks it.
    missing, there = "example.org", "example.com"
    if word == "ldap":
        more = "domain_filter: (|(uid=%u)(associatedDomain=%u))\n" \
            "domain_attributes: associatedDomain\n"
        missing = "bob"
    program = Program(word, settings(database, more, without="domain_filter"
                                     if word == "ldap" else "query_domain"))
    for op in ("lookup", "check"):
        expect_equal(program.ask(op, "domain", missing), ("not-found", ""), op)
        expect_equal(program.ask(op, "domain", there)[0], "found", op)


def test_postgres_keeps_its_connection_after_errors():
    database = FILL["postgres"]("/var/vmail")
    program = Program("postgres", settings(
        database,
        "query_mailaddr SELECT 1 / (length($1) - 1)\n"
        "query_string SELECT pg_backend_pid() WHERE $1 <> ''\n"
        "query_regex SELECT convert_from('\\xff'::bytea, 'UTF8') || $1\n"))
    process = program.ask("lookup", "string", "x")
    expect_equal(process[0], "found", "its process there")
    for _ in range(3):
        expect_equal(program.ask("lookup", "mailaddr", "x"),
                     ("error", "division by zero"), "an error")
        expect_equal(program.ask("lookup", "mailaddr", "xx"), ("found", "1"),
                     "no error")
        for key in ("\xff\xfe", "b\xe9b@example.com"):
            expect_equal(program.ask("lookup", "alias", key),
                         ("not-found", ""), "what is no UTF-8")
        expect_equal(program.ask("lookup", "regex", "x")[0], "error",
                     "a value that is no UTF-8")
    expect_equal(program.ask("lookup", "string", "x"), process,
                 "its process there")


class SlowSocket:
    """A socket that leads to another one; what comes back comes late."""

    def __init__(self, path, target, delay):
        self.target, self.delay = target, delay
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        OPEN.append(self)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client = self.listener.accept()[0]
                server = socket.socket(socket.AF_UNIX)
                server.connect(self.target)
                for words in ((client, server, 0), (server, client,
                                                    self.delay)):
                    threading.Thread(target=self.copy, args=words,
                                     daemon=True).start()

    def copy(self, source, to, delay):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                time.sleep(delay)
                to.sendall(data)
            to.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.listener.close()


def test_mysql_is_late_by_many_short_waits():
    database = FILL["mysql"]("/var/vmail")
    slow = database.path("slow")
    SlowSocket(slow, database.path("socket"), 0.4)
    database.replaced = {"host localhost": "host localhost\nsocket " + slow}
    for timeout, status, out in ((1, 75, ""), (60, 0, "bob\n")):
        expect_equal(run("mysql", settings(database, "timeout %d\n" % timeout),
                         "lookup", "alias", "bob@example.com")[:2],
                     (status, out), "within %d s" % timeout)


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


def test_ldap_by_tls():
    database = Slapd(tls=True)
    database.fill(block("ldif"))
    strangers = os.path.join(database.folder, "strangers")
    os.mkdir(strangers)
    other = Authority(strangers).cert
    plain = "ldap://127.0.0.1:%d" % database.port
    for url, more in (("ldaps://127.0.0.1:%d" % database.tls_port, ""),
                      ("ldap+tls://127.0.0.1:%d" % database.port, ""),
                      (plain, "starttls yes\n")):
        for ca, status in ((database.authority.cert, 0), (other, 75)):
            path = settings(database, more + "ca_file " + ca + "\n")
            with open(path) as f:
                text = f.read()
            with open(path, "w") as f:
                f.write(text.replace(plain, url))
            got, out, said = run("ldap", path, "lookup", "alias",
                                 "bob@example.com")
            expect_equal((got, out), (status, "" if status else "bob\n"),
                         "%s %s: %s" % (url, more, said))


def test_mysql_by_tls():
    database = Mariadb(tls=True)
    database.fill(block("sql"), "CREATE USER smtpd@'127.0.0.1' IDENTIFIED BY "
                  "'Rules!' REQUIRE SSL;\n"
                  "GRANT SELECT ON mail.* TO smtpd@'127.0.0.1';\n")
    database.replaced = {"host localhost": "host 127.0.0.1\nport %d" %
                         database.port}
    strangers = os.path.join(database.folder, "strangers")
    os.mkdir(strangers)
    for ca, status in ((database.authority.cert, 0),
                       (Authority(strangers).cert, 75)):
        path = settings(database, "ca_file " + ca + "\n")
        got, out, said = run("mysql", path, "lookup", "alias",
                             "bob@example.com")
        expect_equal((got, out), (status, "" if status else "bob\n"), said)


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


def test_the_second_redis_is_asked_when_the_first_hangs():
    first, second = FILL["redis"]("/var/vmail"), FILL["redis"]("/var/vmail")
    # Nobody has to say AUTH, so that connecting takes no answer of them.
    for database in (first, second):
        database.cli("CONFIG SET requirepass \"\"\n")
    path = settings(first, "slave unix:%s\n" % second.path("socket"),
                    without="password")
    connected = Program("redis", path)
    check_right(connected, QUESTIONS[2])
    # One can still connect to it.
    first.signal(signal.SIGSTOP)
    expect_equal(connected.ask(*QUESTIONS[2][:3])[0], "error", "nothing said")
    wait_for(lambda: connected.ask(*QUESTIONS[2][:3])[0] == "found", 60,
             "the second one")
    program = Program("redis", path)
    for question in QUESTIONS:
        check_right(program, question)
    expect_equal(program.close(), 0, "its end")
    expect_equal(program.log, "", "its log")


class Site:
    """Our server with the document's smtpd.conf and one kind of database."""

    def __init__(self, word, auth=False):
        """auth: the directory checks passwords."""
        if os.geteuid() != 0:
            raise Skip("needs root")
        self.submission = free_port()
        self.clients = 0
        self.server = Server("")
        folder = self.server.folder
        self.vmail = os.path.join(folder, "vmail")
        for name, uid in (("bob", 2001), ("alice", 2002)):
            os.makedirs(os.path.join(self.vmail, name))
            os.chown(os.path.join(self.vmail, name), uid, uid)
        self.database = FILL[word](self.vmail)
        path = settings(self.database, block("ldap-auth") if auth else "",
                        "credentials" if auth else None)
        with contextlib.suppress(LookupError):
            shutil.chown(path, "root", "_smtpd")
        self.authority = Authority(folder)
        cert, key = self.authority.issue("mail.example.com")
        whole = blocks("smtpd.conf")[0]
        tables = next(text for text in blocks("smtpd.conf")
                      if "pki" not in text and word + ":" in text)
        conf = re.sub(r"(?m)(^table .*\n)+", tables, whole)
        for old, new in (
                ("/etc/mail/%s.conf" % word, path),
                ("/etc/ssl/private/mail.example.com.key", key),
                ("/etc/ssl/mail.example.com.crt", cert),
                ("0.0.0.0 port 25", "127.0.0.1 port %d" % self.server.port),
                ("0.0.0.0 port 587", "127.0.0.1 port %d" % self.submission)):
            expect(old in conf, "the document has " + old, conf)
            conf = conf.replace(old, new)
        with open(self.server.conf, "a") as f:
            f.write(conf)
        self.server.start()

    def client(self, port, tls=False):
        # Whoever guesses passwords is made to wait.
        self.clients += 1
        client = smtplib.SMTP(
            "127.0.0.1", port, timeout=60, local_hostname="client.example",
            source_address=("127.1.%d.%d" % divmod(self.clients, 250), 0))
        client.ehlo()
        if tls:
            context = ssl.create_default_context(cafile=self.authority.cert)
            context.check_hostname = False
            client.starttls(context=context)
            client.ehlo()
        return client

    def send(self, recipient):
        """The code of RCPT, or of the message's end if that was 250."""
        client = self.client(self.server.port)
        client.mail("a@out.example")
        code = client.rcpt(recipient)[0]
        if code == 250:
            code = client.data(TEXT)[0]
        client.close()
        return code

    def log_in(self, user, password):
        """The code of AUTH, and of RCPT for a stranger's domain after it."""
        client = self.client(self.submission, tls=True)
        client.user, client.password = user, password
        code = client.auth("PLAIN", client.auth_plain)[0] \
            if client.has_extn("auth") else 454
        rcpt = 0
        if code == 235:
            client.mail("a@out.example")
            rcpt = client.rcpt("x@other.example")[0]
        client.close()
        return code, rcpt

    def try_log_in(self, user, password):
        try:
            return self.log_in(user, password)[0]
        except smtplib.SMTPAuthenticationError as e:
            return e.smtp_code

    def delivered(self, name):
        return self.server.count(os.path.join(self.vmail, name, "Maildir"))


def check_site(site):
    for recipient, code in (("bob@example.com", 250),
                            ("Alice@EXAMPLE.net", 250),
                            ("staff@example.com", 250),
                            ("postmaster@example.com", 250),
                            ("nobody@example.com", 524),
                            ("bob@example.org", 550)):
        expect_equal(site.send(recipient), code, "mail for " + recipient)
    wait_for(lambda: (site.delivered("bob"), site.delivered("alice")) == (3, 2),
             30, "all is delivered")
    expect_equal(site.log_in("bob", BOB), (235, 250), "bob's password")
    expect_equal(site.log_in("alice", ALICE), (235, 250), "alice's password")
    for user, password in (("bob", ALICE), ("nobody", BOB)):
        expect_equal(site.try_log_in(user, password), 535,
                     "a wrong password of " + user)
    log = site.server.log_text()
    for secret in (BOB, ALICE, PASSWORD, "$6$"):
        expect(secret not in log, "no secret in the log", log)


@for_each()
def test_site_works(word):
    site = Site(word)
    check_site(site)
    site.server.check_clean()


def test_site_works_with_passwords_checked_by_the_directory():
    check_site(Site("ldap", auth=True))


class Flow(threading.Thread):
    """Mail and log-ins, one after the other, until stop() is called."""

    def __init__(self, site):
        super().__init__(daemon=True)
        self.site = site
        self.going = True
        self.wrong = []
        self.accepted = 0
        self.temporary = 0
        self.right = 0    # in a row

    def questions(self):
        site = self.site
        return [(lambda: site.send("bob@example.com"), 250),
                (lambda: site.send("nobody@example.com"), 524),
                (lambda: site.send("bob@example.org"), 550),
                (lambda: site.try_log_in("bob", BOB), 235),
                (lambda: site.try_log_in("bob", "wrong"), 535)]

    def run(self):
        while self.going:
            for number, (ask, wanted) in enumerate(self.questions()):
                try:
                    code = ask()
                except Exception as e:    # told by the thread that waits
                    self.wrong.append(repr(e))
                    return
                if code == wanted:
                    self.right += 1
                    self.accepted += code == 250
                elif 400 <= code <= 499:
                    self.temporary += 1
                    self.right = 0
                else:
                    self.wrong.append((number, code))

    def wait_right(self):
        self.right = 0
        wait_for(lambda: self.right >= 6 or self.wrong, 60, "right answers")
        expect(not self.wrong, "no wrong answer", self.wrong)

    def wait_temporary(self):
        before = self.temporary
        wait_for(lambda: self.temporary >= before + 3 or self.wrong, 60,
                 "temporary failures")
        expect(not self.wrong, "no wrong answer", self.wrong)


@for_each()
def test_a_restart_in_the_middle_of_mail(word):
    site = Site(word)
    flow = Flow(site)
    flow.start()
    for _ in range(2):
        flow.wait_right()
        site.database.kill()
        flow.wait_temporary()
        site.database.start()
    flow.wait_right()
    flow.going = False
    flow.join()
    expect(not flow.wrong, "no wrong answer", flow.wrong)
    site.server.wait_empty()
    expect_equal(site.delivered("bob"), flow.accepted,
                 "what was accepted is delivered")
    site.server.check_clean()


def test_a_changed_file_is_read_by_update_table():
    site = Site("sqlite")
    path = site.database.path("sqlite.conf")
    with open(path) as f:
        text = f.read()

    def update(text):
        with open(path, "w") as f:
            f.write(text)
        done = subprocess.run(
            [tool("smtpctl"), "--spool", site.server.spool, "update", "table",
             "virtuals"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    expect_equal(site.send("old@example.com"), 524, "nobody")
    site.database.fill("CREATE TABLE former (a TEXT, b TEXT);"
                       "INSERT INTO former VALUES ('old@example.com', 'bob');")
    other = text.replace("SELECT destination FROM virtuals WHERE email=?",
                         "SELECT b FROM former WHERE a=?")
    status, said = update(other.replace("former", "none"))
    expect(status != 0 and "no such table: none" in said, "a wrong file", said)
    expect_equal(site.send("bob@example.com"), 250, "the old one is kept")
    status, said = update(other)
    expect_equal(status, 0, "update table: " + said)
    expect_equal(site.send("old@example.com"), 250, "the new one")
    expect_equal(site.send("bob@example.com"), 524, "and only that")


def test_a_killed_program_is_started_again():
    site = Site("sqlite")
    flow = Flow(site)
    flow.start()
    for _ in range(3):
        flow.wait_right()
        found = site.server.room_pids("table-sqlite")
        expect_equal(len(found), 4, "programs of tables")
        for pid in found:
            os.kill(pid, signal.SIGKILL)
    flow.wait_right()
    flow.going = False
    flow.join()
    expect(not flow.wrong, "no wrong answer", flow.wrong)
    site.server.wait_empty()
    expect_equal(site.delivered("bob"), flow.accepted, "delivered")


def main():
    tests = []
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            tests += test if isinstance(test, list) else [test]
    return run_tests(tests)


if __name__ == "__main__":
    sys.exit(main())
