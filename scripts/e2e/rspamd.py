"""rspamd, unpacked from its Debian package (scripts/setup), without a network:
one worker, GTUBE, and a rule of ours (a subject with "pills" is worth 7 points
of the 6 that mark a message)."""
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.request

from holdfast import OPEN, PEERS, Failure, Skip, free_port, peer, wait_for

CONF = """\
options {
  pidfile = "%(folder)s/pid";
  tempdir = "%(folder)s";
  control_socket = "%(folder)s/control mode=0600";
  url_tld = "%(folder)s/tld";
  disable_hyperscan = true;
  filters = "";
  gtube_patterns = "all";
  dns { nameserver = ["127.0.0.1:1"]; timeout = 0.1s; retransmits = 1; }
}
logging { type = "console"; level = "info"; }
worker "normal" { bind_socket = "127.0.0.1:%(port)d"; count = 1; }
actions { reject = 15; add_header = 6; }
lua = "%(folder)s/rules.lua";
"""
RULES = """\
rspamd_config.PILLS = {
  score = 7,
  callback = function(task)
    return (task:get_subject() or ''):find('pills') ~= nil
  end,
}
"""
# rspamd wants some text behind it.
GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X" \
    b"\r\nis what spam looks like\r\n"


class Rspamd:
    def __init__(self):
        if os.geteuid() != 0:
            raise Skip("needs root")
        peer("rspamd", "usr/bin/rspamd")
        self.folder = tempfile.mkdtemp(prefix="holdfast-rspamd.")
        os.chmod(self.folder, 0o777)
        self.port = free_port()
        for name, text in (("rspamd.conf", CONF), ("rules.lua", RULES),
                           ("tld", "com\nexample\n")):
            with open(os.path.join(self.folder, name), "w") as f:
                f.write(text % {"folder": self.folder, "port": self.port}
                        if name == "rspamd.conf" else text)
            os.chmod(os.path.join(self.folder, name), 0o644)
        self.process = None
        self.log = open(os.path.join(self.folder, "log"), "ab")
        OPEN.append(self)
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-ec",
             "mount -t overlay overlay -o lowerdir=%s/rspamd/usr:/usr /usr\n"
             "exec setpriv --reuid=65534 --regid=65534 --clear-groups "
             "/usr/bin/rspamd -f -c %s/rspamd.conf" % (PEERS, self.folder)],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            start_new_session=True, cwd=self.folder)
        wait_for(self.ready, 60, "rspamd")

    def ready(self):
        if self.process.poll() is not None:
            raise Failure("rspamd ended\n" + self.text())
        try:
            with urllib.request.urlopen("%s/ping" % self.url, timeout=5) as f:
                return f.read().startswith(b"pong")
        except OSError:
            return False

    @property
    def url(self):
        return "http://127.0.0.1:%d" % self.port

    def text(self):
        with open(os.path.join(self.folder, "log"), errors="replace") as f:
            return f.read()

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()

    def close(self):
        self.stop()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)
