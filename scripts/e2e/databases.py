"""Databases behind tables, unpacked from their Debian packages (scripts/setup):
each runs as nobody, in a mount namespace in which its package lies over /usr,
on a socket in a folder of its own, and may be killed and started again.
"""
import contextlib
import os
import pwd
import re
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile

from certificates import Authority
from holdfast import (NOBODY, OPEN, PEERS, Failure, Skip, as_user, descendants,
                      free_port, peer, wait_for)

USER = "smtpd"
PASSWORD = "Rules!"


class Database:
    """`word` of its tables; fill(text) after the constructor; replaced: what
    stands in documents -> where it is here."""

    word = ""
    packages = ()
    program = ""    # of the first package; its absence skips the test

    def __init__(self, tls=False):
        """tls: with a certificate of `authority`."""
        self.folder = tempfile.mkdtemp(prefix="holdfast-database.")
        os.chmod(self.folder, 0o755)
        self.process = None
        OPEN.append(self)
        if self.packages:
            if os.geteuid() != 0:
                raise Skip("needs root")
            peer(self.packages[0], self.program)
        self.own(self.folder)
        self.port = free_port()
        self.authority = None
        if tls:
            self.authority = Authority(self.folder)
            self.certificate = self.authority.issue(
                "localhost", addresses=["127.0.0.1"])
            for path in self.certificate:
                self.own(path)
        self.create()

    def own(self, path):
        if os.geteuid() == 0:
            entry = pwd.getpwnam(NOBODY)
            os.chown(path, entry.pw_uid, entry.pw_gid)

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def write(self, name, text):
        with open(self.path(name), "w") as f:
            f.write(text)
        self.own(self.path(name))
        return self.path(name)

    def words(self, command):
        """Words that run `command` as nobody, with the packages over /usr."""
        layers = ":".join(os.path.join(PEERS, p, "usr")
                          for p in self.packages)
        return ["unshare", "--mount", "--propagation", "private", "sh", "-ec",
                "mount -t overlay overlay -o lowerdir=%s:/usr /usr\n"
                "exec %s" % (layers, shlex.join(as_user(NOBODY) + command))]

    def run(self, command, text=""):
        done = subprocess.run(
            self.words(command), input=text.encode(), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, cwd=self.folder, timeout=120,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C",
                 "REDISCLI_AUTH": PASSWORD})
        out = done.stdout.decode("utf-8", "replace")
        if done.returncode != 0:
            raise Failure("%s: exit %d\n%s" % (command[0], done.returncode,
                                               out))
        return out

    def create(self):
        raise NotImplementedError

    def command(self):
        raise NotImplementedError

    def ready(self):
        raise NotImplementedError

    def start(self):
        with open(self.path("log"), "ab") as log:
            self.process = subprocess.Popen(
                self.words(self.command()), stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, cwd=self.folder,
                start_new_session=True,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"})
        wait_for(self.is_ready, 60, type(self).__name__)
        return self

    def is_ready(self):
        if self.process.poll() is not None:
            with open(self.path("log")) as f:
                raise Failure("%s ended\n%s" % (type(self).__name__,
                                                f.read()[-2000:]))
        try:
            self.ready()
        except Failure:
            return False
        return True

    def signal(self, number):
        """To all its processes, the first one first."""
        for pid, _, _ in descendants(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self):
        """As if the machine had lost power."""
        self.signal(signal.SIGSTOP)    # none makes another
        self.signal(signal.SIGKILL)
        self.process.wait()

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Sqlite(Database):
    """Killing it is: the file is away."""

    word = "sqlite"

    def create(self):
        self.replaced = {"/etc/mail/smtp.sqlite": self.path("smtp.sqlite")}

    def fill(self, text):
        with sqlite3.connect(self.path("smtp.sqlite")) as connection:
            connection.executescript(text)
        connection.close()

    def start(self):
        if os.path.exists(self.path("away")):
            os.rename(self.path("away"), self.path("smtp.sqlite"))
        return self

    def kill(self):
        os.rename(self.path("smtp.sqlite"), self.path("away"))


class Postgres(Database):
    word = "postgres"
    packages = ("postgresql-15", "postgresql-client-15")
    program = "usr/lib/postgresql/15/bin/postgres"
    bin = "/usr/lib/postgresql/15/bin/"

    def create(self):
        self.replaced = {"/run/postgresql": self.folder}
        self.run([self.bin + "initdb", "-D", self.path("data"), "-U", "root",
                  "-A", "trust", "--no-sync", "--locale=C", "-E", "UTF8"])
        self.write("data/pg_hba.conf", "local all root trust\n"
                   "local all all scram-sha-256\n")

    def command(self):
        # A killed one leaves its file behind, and perhaps another has its pid.
        if os.path.exists(self.path("data/postmaster.pid")):
            os.unlink(self.path("data/postmaster.pid"))
        return [self.bin + "postgres", "-D", self.path("data"), "-k",
                self.folder, "-c", "listen_addresses=", "-c",
                "shared_buffers=16MB"]

    def sql(self, text, database="mail"):
        return self.run([self.bin + "psql", "-h", self.folder, "-U", "root",
                         "-v", "ON_ERROR_STOP=1", "-q", database], text)

    def ready(self):
        self.sql("SELECT 1", "postgres")

    def fill(self, text, rights):
        self.start()
        self.sql("CREATE DATABASE mail", "postgres")
        self.sql(text)
        self.sql(rights)


class Mariadb(Database):
    word = "mysql"
    packages = ("mariadb-server-core", "mariadb-client-core")
    program = "usr/sbin/mariadbd"
    scripts = ("mysql_system_tables.sql", "mysql_performance_tables.sql",
               "mysql_system_tables_data.sql")

    def server(self):
        return ["/usr/sbin/mariadbd", "--no-defaults",
                "--datadir=" + self.path("data"),
                "--lc-messages-dir=/usr/share/mysql/english",
                "--innodb-log-file-size=8M", "--innodb-buffer-pool-size=16M"]

    def create(self):
        self.replaced = {"host localhost": "host localhost\nsocket " +
                         self.path("socket")}
        os.mkdir(self.path("data"))
        self.own(self.path("data"))
        text = "CREATE DATABASE mysql;\nUSE mysql;\n" \
            "SET @auth_root_socket=NULL;\n"
        for name in self.scripts:
            with open(peer(self.packages[0], "usr/share/mysql/" + name)) as f:
                text += f.read()
        self.run(self.server() + ["--bootstrap"],
                 text + "\nCREATE DATABASE mail;\n")

    def command(self):
        network = ["--skip-networking"]
        if self.authority:
            network = ["--bind-address=127.0.0.1", "--port=%d" % self.port,
                       "--skip-name-resolve",
                       "--ssl-cert=" + self.certificate[0],
                       "--ssl-key=" + self.certificate[1]]
        return self.server() + network + ["--socket=" + self.path("socket")]

    def sql(self, text, database="mail"):
        return self.run(["/usr/bin/mariadb", "--no-defaults", "-u", "root",
                         "-S", self.path("socket"), database], text)

    def ready(self):
        self.sql("SELECT 1", "mysql")

    def fill(self, text, rights):
        self.start()
        self.sql(text)
        self.sql(rights)


class Slapd(Database):
    word = "ldap"
    packages = ("slapd",)
    program = "usr/sbin/slapd"
    suffix = "dc=example,dc=com"

    def create(self):
        self.tls_port = free_port()
        self.replaced = {"ldap://127.0.0.1":
                         "ldap://127.0.0.1:%d" % self.port}
        schemas = []
        for name in ("core", "cosine", "nis", "inetorgperson"):
            schemas.append(self.path(name + ".schema"))
            shutil.copy(peer("slapd", "etc/ldap/schema/%s.schema" % name),
                        schemas[-1])
        os.mkdir(self.path("data"))
        self.own(self.path("data"))
        tls = "TLSCertificateFile %s\nTLSCertificateKeyFile %s\n" % \
            self.certificate if self.authority else ""
        self.write("slapd.conf", "".join(
            "include %s\n" % schema for schema in schemas) + tls + """
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
maxsize 10485760
suffix "%s"
directory %s
access to attrs=userPassword by dn="cn=smtpd,%s" read by anonymous auth
access to * by dn="cn=smtpd,%s" read
""" % (self.suffix, self.path("data"), self.suffix, self.suffix))

    def command(self):
        return ["/usr/sbin/slapd", "-d", "0", "-f", self.path("slapd.conf"),
                "-h", "ldap://127.0.0.1:%d%s" % (
                    self.port, " ldaps://127.0.0.1:%d" % self.tls_port
                    if self.authority else "")]

    def ready(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 5).close()
        except OSError as e:
            raise Failure(str(e))

    def fill(self, text):
        self.run(["/usr/sbin/slapd", "-T", "add", "-f",
                  self.path("slapd.conf"), "-l",
                  self.write("entries.ldif", text)])
        self.start()


class Redis(Database):
    word = "redis"
    packages = ("redis-tools",)
    program = "usr/bin/redis-check-rdb"

    def create(self):
        self.replaced = {"/run/redis/redis-server.sock": self.path("socket")}
        # The server is known by its name.
        os.symlink("/usr/bin/redis-check-rdb", self.path("redis-server"))

    def command(self):
        return [self.path("redis-server"), "--port", "0", "--unixsocket",
                self.path("socket"), "--unixsocketperm", "777",
                "--requirepass", PASSWORD, "--dir", self.folder,
                "--appendonly", "yes", "--appendfsync", "always", "--save", ""]

    def cli(self, text):
        out = self.run(["/usr/bin/redis-cli", "-s", self.path("socket")], text)
        # It ends with 0 whatever it was told.
        if re.search("ERR|NOAUTH|LOADING|Could not connect", out):
            raise Failure("redis-cli: " + out)
        return out

    def ready(self):
        if "PONG" not in self.cli("PING\n"):
            raise Failure("no PONG")

    def fill(self, text):
        self.start()
        self.cli(text)
