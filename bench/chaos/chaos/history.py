"""What clients saw and what was done to the cluster; times are seconds of the client's monotonic clock since the run began."""

import dataclasses
import threading
import time

OK, FAILED, UNKNOWN = "ok", "failed", "unknown"


@dataclasses.dataclass
class Write:
    """One row that was inserted and committed, or not."""
    client: str
    number: int
    sent: float
    ended: float
    outcome: str
    node: str = None
    timeline: int = None
    lsn: int = None  # of the insertion, so before that of the commit
    error: str = None


@dataclasses.dataclass
class Transaction:
    """operations: ["append", key, value] and ["read", key, [values]]; a read of a transaction that failed may be missing."""
    client: str
    sent: float
    ended: float
    outcome: str
    operations: list
    node: str = None
    timeline: int = None
    error: str = None


@dataclasses.dataclass
class Read:
    """The highest number of each writer that a node showed, between two positions of its WAL."""
    node: str
    sent: float
    ended: float
    timeline: int
    before: int
    after: int
    highest: dict
    replica: bool = False


@dataclasses.dataclass
class FaultRecord:
    name: str
    target: str
    began: float
    healed: float = None
    bound: float = None  # seconds after which there is service although it lasts; None: only after it has been healed


@dataclasses.dataclass
class Final:
    """The cluster at the end, whole again."""
    leader: str
    timeline: int
    rows: set  # (client, number)
    lists: dict  # key -> [values]
    history: list  # [[timeline, LSN where it was left, ...]]


@dataclasses.dataclass
class History:
    synchronous: bool = False
    began: float = dataclasses.field(default_factory=time.monotonic)
    writes: list = dataclasses.field(default_factory=list)
    transactions: list = dataclasses.field(default_factory=list)
    reads: list = dataclasses.field(default_factory=list)
    faults: list = dataclasses.field(default_factory=list)
    final: Final = None
    ended: float = None
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock, repr=False)

    def now(self):
        return time.monotonic() - self.began

    def add(self, place, entry):
        with self.lock:
            place.append(entry)

    def acknowledged(self, client=None):
        with self.lock:
            return [w for w in self.writes if w.outcome == OK and (client is None or w.client == client)]

    def switch_points(self):
        """timeline -> LSN at which the surviving history left it."""
        return {entry[0]: entry[1] for entry in (self.final.history if self.final else [])}
