"""Keys for DKIM, and whether a signature holds: OpenDKIM's opendkim-testmsg
asks nsd for the key, both in namespaces of their own without any network."""
import os
import shutil
import subprocess
import tempfile

from holdfast import Skip, peer

INSIDE = """\
mount --make-rprivate /
mount --bind %(folder)s/resolv.conf /etc/resolv.conf
ip link set lo up
%(nsd)s -d -c %(folder)s/nsd.conf >%(folder)s/log 2>&1 &
server=$!
for i in $(seq 200); do
	grep -q started %(folder)s/log && break
	sleep 0.05
done
opendkim-testmsg -t %(folder)s <%(folder)s/message
status=$?
kill $server
wait $server
exit $status
"""


class Key:
    """A key below `folder`, which `user` may read, and what DNS says of it."""

    def __init__(self, folder, domain="example.com", selector="sel",
                 algorithm="rsa"):
        self.path = os.path.join(folder, "%s.%s.key" % (selector, algorithm))
        self.domain, self.selector = domain, selector
        words = ["-algorithm", "ed25519"] if algorithm == "ed25519" else \
            ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]
        subprocess.run(["openssl", "genpkey", "-out", self.path] + words,
                       check=True, stderr=subprocess.DEVNULL)
        os.chmod(self.path, 0o644)
        out = subprocess.run(["openssl", "pkey", "-in", self.path, "-pubout"],
                             check=True, stdout=subprocess.PIPE, text=True)
        text = "v=DKIM1; k=%s; p=%s" % (
            algorithm, "".join(out.stdout.splitlines()[1:-1]))
        self.record = "%s._domainkey.%s. TXT %s\n" % (
            selector, domain, " ".join('"%s"' % text[i:i + 200]
                                       for i in range(0, len(text), 200)))


def verify(message, *keys):
    """(whether it verifies, what the tool said).  message: bytes."""
    nsd = peer("nsd", "usr/sbin/nsd")
    if os.geteuid() != 0 or not shutil.which("opendkim-testmsg"):
        raise Skip("needs root and opendkim-tools")
    folder = tempfile.mkdtemp(prefix="holdfast-dkim.")
    try:
        os.chmod(folder, 0o755)
        domain = keys[0].domain
        files = {
            "resolv.conf": "nameserver 127.0.0.1\noptions timeout:1\n",
            "log": "",
            "zone": "$TTL 300\n%s. SOA ns.%s. root.%s. 1 3600 600 86400 60\n"
                    "%s. NS ns.%s.\nns.%s. A 127.0.0.1\n" % ((domain,) * 6) +
                    "".join(key.record for key in keys),
            "nsd.conf": """\
server:
  ip-address: 127.0.0.1@53
  username: ""
  zonesdir: "{f}"
  database: ""
  pidfile: ""
  xfrdfile: "{f}/xfrd"
  zonelistfile: "{f}/zones"
  xfrdir: "{f}"
  rrl-ratelimit: 0
  verbosity: 1
remote-control:
  control-enable: no
zone:
  name: {d}
  zonefile: zone
""".format(f=folder, d=domain)}
        for name, text in files.items():
            with open(os.path.join(folder, name), "w") as f:
                f.write(text)
        with open(os.path.join(folder, "message"), "wb") as f:
            f.write(message.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        run = subprocess.run(
            ["unshare", "--mount", "--net", "sh", "-c",
             INSIDE % {"folder": folder, "nsd": nsd}],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=60)
        return run.returncode == 0, run.stdout.decode("utf-8", "replace")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
