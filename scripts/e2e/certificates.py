"""Certificates of a test's own: made when it runs, never kept."""
import os
import subprocess


def _openssl(*words):
    subprocess.run(("openssl",) + words, check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


class Authority:
    """A certificate authority in a folder; what it signs lies beside it."""

    def __init__(self, folder, name="Test CA"):
        self.folder = folder
        self.cert = os.path.join(folder, "ca.crt")
        self.key = os.path.join(folder, "ca.key")
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt",
                 "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key,
                 "-out", self.cert, "-days", "30", "-subj", "/CN=" + name,
                 "-addext", "basicConstraints=critical,CA:TRUE")

    def issue(self, name, *others, rsa=False, client=False, file=None,
              addresses=(), days=30):
        """(certificate, key) for `name`, the other DNS names and addresses;
        with days=-1 it has expired."""
        base = os.path.join(self.folder, file or name.replace("*", "any") +
                            ("-rsa" if rsa else ""))
        kind = ["rsa:2048"] if rsa else \
            ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        _openssl("req", "-new", "-newkey", *kind, "-nodes",
                 "-keyout", base + ".key", "-out", base + ".csr",
                 "-subj", "/CN=" + name)
        with open(base + ".ext", "w") as f:
            f.write("subjectAltName=%s\nextendedKeyUsage=%s\n" % (
                ",".join(["DNS:" + n for n in (name,) + others] +
                         ["IP:" + a for a in addresses]),
                "clientAuth" if client else "serverAuth"))
        _openssl("x509", "-req", "-in", base + ".csr", "-CA", self.cert,
                 "-CAkey", self.key, "-CAcreateserial", "-days",
                 str(days), "-extfile", base + ".ext", "-out", base + ".crt")
        os.chmod(base + ".key", 0o600)
        return base + ".crt", base + ".key"


def self_signed(folder, name):
    """(certificate, key) that nobody else vouches for."""
    base = os.path.join(folder, "self-" + name)
    _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt",
             "ec_paramgen_curve:P-256", "-nodes", "-keyout", base + ".key",
             "-out", base + ".crt", "-days", "30", "-subj", "/CN=" + name,
             "-addext", "subjectAltName=DNS:" + name)
    return base + ".crt", base + ".key"
