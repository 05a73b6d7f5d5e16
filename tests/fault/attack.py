"""One named fault against a whole cluster under load: what happens meanwhile is the test's, what must hold afterwards is the same
for all of them."""

from chaos import checks, driver
from chaos.checks import availability
from chaos.clients import Clients
from chaos.history import History
from harness import wait_for

BACK = 30  # seconds in which the clients make progress again, and then those in which the cluster is whole
WHOLE = 60


class Attack:
    def __init__(self, deployment):
        self.deployment = deployment
        self.leader, self.other = deployment.pair()
        self.timeline = self.leader.status()["timeline"]
        driver.prepare(deployment)
        self.leader.query("TRUNCATE writes, lists")
        self.history = History(synchronous=bool(deployment.settings.get("synchronous_mode")))
        self.clients = Clients(deployment, self.history)
        self.healers = []

    def __enter__(self):
        self.clients.__enter__()
        wait_for(lambda: driver.progress(self.history, 0.0), BACK, "clients are served")
        return self

    def fault(self, name, role):
        """Begins it; gives what heals it (else that happens at the end)."""
        self.healers.append(driver.inject(self.deployment, self.history, name, role))
        return self.healers[-1]

    def heal(self):
        while self.healers:
            self.healers.pop()()

    def serves(self, client="network", after=0.0):
        """Waits until a row that is sent from `after` seconds from now on is acknowledged; gives that."""
        since = self.history.now() + after
        return wait_for(lambda: next((w for w in self.history.acknowledged(client)[-5:] if w.sent > since), None), after + BACK,
                        f"{client} is served")

    def other_leads(self, seconds):
        wait_for(self.other.is_leader, seconds, f"{self.other.name} leads")

    def outage(self):
        return max((o.length() for o in availability.outages(self.history, shortest=0.0)), default=0.0)

    def __exit__(self, kind, *_):
        try:
            self.heal()
            if kind is None:
                healed = self.history.now()
                wait_for(lambda: driver.progress(self.history, healed), BACK, "clients make progress after healing")
                self.deployment.wait_healthy(WHOLE)
        finally:
            self.clients.stop()
        if kind is not None:
            return
        self.history.ended = self.history.now()
        driver.collect(self.deployment, self.history, WHOLE)
        problems = [f"{name}: {text}" for name, found in checks.check(self.history).items() for text in found]
        assert not problems, "\n".join(problems)
        self.lost = checks.durability.lost(self.history)
