"""Milters from Debian, unpacked (scripts/setup), without a network."""
import os
import shutil
import subprocess
import tempfile

import dkim
from holdfast import OPEN, Failure, Skip, peer, wait_for


class Daemon:
    """A program in a folder of its own that runs as nobody."""

    def __init__(self, name):
        if os.geteuid() != 0:
            raise Skip("needs root")
        self.name = name
        self.folder = tempfile.mkdtemp(prefix="holdfast-%s." % name)
        os.chmod(self.folder, 0o777)
        self.processes = []
        self.socket = "unix:%s/socket" % self.folder
        OPEN.append(self)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "wb" if isinstance(text, bytes) else "w") as f:
            f.write(text)
        os.chmod(path, 0o644)
        return path

    def run(self, *words, socket="socket", seconds=60):
        """Starts it, and waits for its socket."""
        log = open(os.path.join(self.folder, "log"), "ab")
        process = subprocess.Popen(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] +
            list(words), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True, cwd=self.folder)
        log.close()
        self.processes.append(process)

        def ready():
            if process.poll() is not None:
                raise Failure("%s ended\n%s" % (words[0], self.said()))
            return os.path.exists(os.path.join(self.folder, socket))
        wait_for(ready, seconds, "the socket of " + words[0])

    def said(self):
        with open(os.path.join(self.folder, "log"), "rb") as f:
            return f.read().decode("utf-8", "replace")[-3000:]

    def close(self):
        for process in self.processes:    # libmilter takes 5 s over SIGTERM
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class OpenDkim(Daemon):
    """OpenDKIM; mode "s" signs what 127.0.0.1 sends as example.com, "v"
    verifies with `key`."""

    CONF = """\
Mode {mode}
Domain example.com
Selector {key.selector}
KeyFile {key.path}
TestDNSData file:{folder}/dns
Socket local:{folder}/socket
AuthservID mx.holdfast.example
AlwaysAddARHeader yes
RequireSafeKeys no
Syslog no
Background no
InternalHosts {internal}
"""

    def __init__(self, mode, selector="sel", key=None):
        super().__init__("opendkim")
        self.key = key or dkim.Key(self.folder, selector=selector)
        # The test of its data base wants the text without quotes.
        name, _, text = self.key.record.split(" ", 2)
        self.write("dns", "%s %s\n" % (
            name.rstrip("."), text.strip().replace('" "', "").strip('"')))
        conf = self.write("opendkim.conf", self.CONF.format(
            mode=mode, key=self.key, folder=self.folder,
            # Mail of internal hosts is not verified.
            internal="127.0.0.1" if mode == "s" else "192.0.2.1"))
        self.run(peer("opendkim", "usr/sbin/opendkim"), "-f", "-x", conf)


class ClamAv(Daemon):
    """clamav-milter with a clamd whose data base knows one virus: EICAR's test
    file."""

    EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR" \
        rb"-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
    CLAMD = """\
LocalSocket {folder}/clamd
LocalSocketMode 666
DatabaseDirectory {folder}/db
TemporaryDirectory {folder}
Foreground yes
LogFile {folder}/clamd.log
SelfCheck 0
"""
    MILTER = """\
MilterSocket unix:{folder}/socket
ClamdSocket unix:{folder}/clamd
Foreground yes
OnClean Accept
OnInfected Reject
RejectMsg Infected: %v
AddHeader Replace
TemporaryDirectory {folder}
LogFile {folder}/milter.log
"""

    def __init__(self):
        super().__init__("clamav")
        os.mkdir(self.folder + "/db")
        os.chmod(self.folder + "/db", 0o755)
        self.write("db/test.ndb", "Eicar-Test:0:*:%s\n" % self.EICAR.hex())
        for name, text in (("clamd.conf", self.CLAMD),
                           ("milter.conf", self.MILTER)):
            self.write(name, text.format(folder=self.folder))
        self.run(peer("clamav-daemon", "usr/sbin/clamd"),
                 "--config-file=%s/clamd.conf" % self.folder, socket="clamd")
        self.run(peer("clamav-milter", "usr/sbin/clamav-milter"),
                 "--config-file=%s/milter.conf" % self.folder)

    def infected(self):
        return b"Subject: x\r\n\r\n" + self.EICAR + b"\r\n"

    def said(self):
        text = super().said()
        for name in ("clamd.log", "milter.log"):
            path = os.path.join(self.folder, name)
            if os.path.exists(path):
                with open(path) as f:
                    text += f.read()[-2000:]
        return text
