"""The S3 server that everybody uploads to: the one embedded in the demo, as a process of its own, and its TLS front.

It keeps objects as files, so the bytes stored are the files' sizes. Its CPU is told apart from the clients'. pgBackRest speaks
nothing but HTTPS and goes through stunnel, whose CPU is counted as the store's.
"""

import json
import shutil
import subprocess
from pathlib import Path

from cluster import free_port
from processes import bytes_below, cpu_of, run, surroundings

BUCKET = "bench"
KEYS = {"AWS_ACCESS_KEY_ID": "bench-access", "AWS_SECRET_ACCESS_KEY": "bench-secret-key", "AWS_REGION": "us-east-1"}


class Store:
    def __init__(self, program: Path, place: Path):
        self.root, self.tls = place / "s3", place / "tls"
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True)
        self.server = subprocess.Popen(
            [program, "s3-server", "--root", self.root, "--bucket", BUCKET],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**surroundings(), **KEYS},
        )
        self.endpoint = json.loads(self.server.stdout.readline())["endpoint"]
        self.tls_port = free_port()
        self.front = self._start_front()

    def _start_front(self) -> subprocess.Popen:
        self.tls.mkdir(exist_ok=True)
        self.tls.chmod(0o755)
        certificate, key = self.tls / "certificate.pem", self.tls / "key.pem"
        run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
             "subjectAltName=DNS:127.0.0.1", "-keyout", key, "-out", certificate])
        settings = self.tls / "stunnel.conf"
        settings.write_text(
            f"foreground = yes\npid =\ndebug = 3\n[s3]\naccept = 127.0.0.1:{self.tls_port}\n"
            f"connect = {self.endpoint.removeprefix('http://')}\ncert = {certificate}\nkey = {key}\n"
        )
        log = (self.tls / "stunnel.log").open("w")
        return subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", "stunnel4", settings], stdout=log, stderr=log)

    @property
    def certificate(self) -> Path:
        return self.tls / "certificate.pem"

    def requests(self) -> dict[str, int]:
        """How often each operation was asked for so far."""
        self.server.stdin.write("\n")
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())

    def cpu(self) -> float:
        return cpu_of(self.server.pid) + cpu_of(self.front.pid)

    def stored_bytes(self, prefix: str) -> int:
        return bytes_below(self.root / BUCKET / prefix)

    def forget(self, prefix: str):
        shutil.rmtree(self.root / BUCKET / prefix, ignore_errors=True)

    def stop(self):
        self.front.terminate()
        self.server.stdin.close()
        self.server.wait()
        self.front.wait()
        shutil.rmtree(self.root, ignore_errors=True)
