"""Partitions, loss and delay, on the links of one host."""

import itertools

from .base import Fault, register

_numbers = itertools.count()


class Links(Fault):
    roles = ("leader", "replica", "h3")

    def rule(self, source="*", target="*", **what):
        name = f"r{next(_numbers)}"
        self.deployment.network.set_rule(name, source, target, **what)
        self.undo.append(lambda: self.deployment.network.clear_rule(name))


@register
class CutHost(Links):
    name = "cut_host"
    duration = (2.0, 15.0)

    def act(self):
        self.rule(self.host, "*", loss=1)
        self.rule("*", self.host, loss=1)


@register
class CutOutgoing(Links):
    name = "cut_outgoing"

    def act(self):
        self.rule(self.host, "*", loss=1)


@register
class CutIncoming(Links):
    name = "cut_incoming"

    def act(self):
        self.rule("*", self.host, loss=1)


@register
class CutEtcd(Links):
    """The host reaches no etcd but its own, and its own no other."""
    name = "cut_etcd"

    def act(self):
        for port in (2379, 2380):
            self.rule(self.host, "*", port=port, loss=1)
            self.rule("*", self.host, port=port, loss=1)


class BetweenNodes(Links):
    roles = ("leader",)
    port = None

    def act(self):
        first, second = self.deployment.nodes
        self.rule(first, second, port=self.port, loss=1)
        self.rule(second, first, port=self.port, loss=1)


@register
class CutReplication(BetweenNodes):
    name, port = "cut_replication", 5432


@register
class CutRest(BetweenNodes):
    name, port = "cut_rest", 8008
    service_lasts = True


@register
class Loss(Links):
    name = "loss"

    def act(self):
        share = self.random.choice((0.05, 0.2, 0.4))
        self.rule(self.host, "*", loss=share)
        self.rule("*", self.host, loss=share)


@register
class Delay(Links):
    name = "delay"

    def act(self):
        delay = self.random.choice((20, 100, 400))
        self.rule(self.host, "*", delay_ms=delay, jitter_ms=delay // 2)
        self.rule("*", self.host, delay_ms=delay, jitter_ms=delay // 2)
