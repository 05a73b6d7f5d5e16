"""What the agents know of a pooler: a key in etcd under a lease of its own, and answers to a leader that asks it to drain."""

import json
import threading
import time


class FakePooler:
    def __init__(self, cluster, name, answers=True, after=0.1, active=3):
        self.etcd, self.name = cluster.etcd, name
        self.prefix = f"/service/{cluster.scope}/"
        self.answers, self.after, self.active = answers, after, active
        self.requests = []  # [request, when it was seen, when it was gone]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.lease = self.etcd.ctl("lease", "grant", "60").stdout.split()[1]
        self.write()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(20)
        self.etcd.ctl("lease", "revoke", self.lease)

    def write(self, drain=None):
        record = {"name": self.name, "host": "here", "pid": 1, "version": "0.1.0", "listen": "127.0.0.1:6432", "term": "0"}
        if drain:
            record["drain"] = drain
        self.etcd.ctl("put", "--lease", self.lease, self.prefix + "poolers/" + self.name, json.dumps(record))

    def request(self):
        text = self.etcd.ctl("get", "--print-value-only", self.prefix + "drain").stdout.strip()
        return json.loads(text) if text else None

    def _run(self):
        while not self._stop.is_set():
            request = self.request()
            if request and (not self.requests or self.requests[-1][0]["id"] != request["id"]):
                self.requests.append([request, time.monotonic(), None])
                self.write({"id": request["id"], "state": "draining", "active": self.active, "waiting": 1})
                if self.answers:
                    time.sleep(self.after)
                    self.write({"id": request["id"], "state": "drained", "active": 0, "waiting": 4})
            if not request and self.requests and self.requests[-1][2] is None:
                self.requests[-1][2] = time.monotonic()
                self.write()
            time.sleep(0.02)
