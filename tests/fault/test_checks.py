"""The checks of histories: each accepts a good one and finds what it is there for."""

import pytest
from chaos.checks import availability, durability, lists, reads, single_writer
from chaos.history import FAILED, OK, UNKNOWN, FaultRecord, Final, History, Read, Transaction, Write


def history(rows=(), switches=(), timeline=1, synchronous=False, lists_=None):
    return History(synchronous=synchronous, began=0.0, ended=100.0,
                   final=Final("h1", timeline, set(rows), lists_ or {}, [list(s) for s in switches]))


def write(number, sent, node="h1", timeline=1, outcome=OK, lsn=None, ended=None, client="network"):
    return Write(client, number, sent, sent + 0.01 if ended is None else ended, outcome, node, timeline, lsn or number * 100)


# --- single writer

def test_terms_after_one_another_are_accepted():
    h = history()
    h.writes = [write(1, 1.0), write(2, 2.0), write(3, 3.0, "h2", 2), write(4, 4.0, "h1", 3)]
    assert single_writer.check(h) == []


def test_an_acknowledgement_that_was_under_way_is_accepted():
    h = history()
    h.writes = [write(1, 1.0, ended=9.0), write(2, 5.0, "h2", 2)]
    assert single_writer.check(h) == []


def test_a_commit_of_an_old_term_is_found():
    h = history()
    h.writes = [write(1, 1.0), write(2, 3.0, "h2", 2), write(3, 3.5, client="on-h1")]
    assert len(single_writer.check(h)) == 1 and "h1 acknowledged 1 commits on timeline 1" in single_writer.check(h)[0]


def test_two_nodes_on_one_timeline_are_found():
    h = history()
    h.writes = [write(1, 1.0, "h1", 2), write(2, 8.0, "h2", 2)]
    assert any("both wrote on timeline 2" in p for p in single_writer.check(h))


def test_transactions_count_as_writes():
    h = history()
    h.writes = [write(2, 3.0, "h2", 2)]
    h.transactions = [Transaction("lists", 4.0, 4.1, OK, [["append", 1, 1]], "h1", 1)]
    assert single_writer.check(h)


# --- durability

def test_unknown_outcomes_may_be_lost_or_not():
    h = history(rows={("network", 1), ("network", 2)}, synchronous=True)
    h.writes = [write(1, 1.0), write(2, 2.0, outcome=UNKNOWN), write(3, 3.0, outcome=UNKNOWN)]
    assert durability.check(h) == []


def test_a_row_lost_under_synchronous_replication_is_found():
    h = history(rows={("network", 1)}, switches=[[1, 150]], timeline=2, synchronous=True)
    h.writes = [write(1, 1.0), write(2, 2.0)]
    assert "lost under synchronous replication: network/2" in durability.check(h)[0]


def test_a_row_behind_the_stated_position_may_be_lost_asynchronously():
    h = history(rows={("network", 1)}, switches=[[1, 150]], timeline=2)
    h.writes = [write(1, 1.0), write(2, 2.0), write(3, 3.0)]
    assert durability.check(h) == []


def test_a_row_before_the_stated_position_is_found():
    h = history(rows={("network", 1), ("network", 3)}, switches=[[1, 350]], timeline=2)
    h.writes = [write(1, 1.0), write(2, 2.0), write(3, 3.0)]
    assert "lost although it was committed before" in durability.check(h)[0]


def test_a_row_of_the_current_timeline_and_one_that_the_history_does_not_know_are_found():
    h = history(switches=[[1, 50]], timeline=3)
    h.writes = [write(1, 1.0, timeline=3), write(2, 2.0, timeline=2)]
    first, second = durability.check(h)
    assert "still the cluster's" in first and "knows nothing of its timeline" in second


def test_a_refused_row_that_is_there_is_found():
    h = history(rows={("network", 1)})
    h.writes = [write(1, 1.0, outcome=FAILED)]
    assert "refused" in durability.check(h)[0]


def test_no_final_state_is_a_violation():
    h = History(began=0.0, ended=1.0)
    assert durability.check(h)


# --- lists

def transaction(sent, *operations, outcome=OK):
    return Transaction("lists", sent, sent + 0.1, outcome, [list(o) for o in operations], "h1", 1)


def test_serial_transactions_are_accepted():
    h = history(lists_={1: [1, 2], 2: [3]})
    h.transactions = [transaction(1, ("append", 1, 1)), transaction(2, ("read", 1, [1]), ("append", 1, 2), ("read", 1, [1, 2])),
                      transaction(3, ("read", 1, [1, 2]), ("append", 2, 3))]
    assert lists.check(h) == []


def test_write_skew_is_found():
    h = history(lists_={1: [1], 2: [2]})
    h.transactions = [transaction(1, ("read", 2, []), ("append", 1, 1)), transaction(1, ("read", 1, []), ("append", 2, 2))]
    assert len(lists.check(h)) == 1 and "rw" in lists.check(h)[0]


def test_reads_of_one_another_are_found():
    h = history(lists_={1: [1], 2: [2]})
    h.transactions = [transaction(1, ("append", 1, 1), ("read", 2, [2])), transaction(1, ("append", 2, 2), ("read", 1, [1]))]
    assert "wr" in lists.check(h)[0]


def test_appends_in_opposite_orders_are_found():
    h = history(lists_={1: [1, 2], 2: [4, 3]})
    h.transactions = [transaction(1, ("append", 1, 1), ("append", 2, 3)), transaction(1, ("append", 1, 2), ("append", 2, 4))]
    assert "ww" in lists.check(h)[0]


def test_a_read_that_misses_the_middle_is_found():
    h = history(lists_={1: [1, 2, 3], 2: [4]})
    h.transactions = [transaction(1, ("append", 1, 1)), transaction(2, ("append", 1, 2)), transaction(3, ("append", 1, 3)),
                      transaction(4, ("read", 1, [1, 3]), ("append", 2, 4))]
    assert "no beginning" in lists.check(h)[0]


def test_half_a_transaction_a_refused_one_and_a_foreign_value_are_found():
    h = history(lists_={1: [1, 3], 2: [9]})
    h.transactions = [transaction(1, ("append", 1, 1), ("append", 2, 2)), transaction(2, ("append", 1, 3), outcome=FAILED)]
    problems = "\n".join(lists.check(h))
    assert "survives in part" in problems and "was refused" in problems and "nobody appended" in problems


def test_lost_transactions_are_left_out_asynchronously_and_found_synchronously():
    lost = [transaction(1, ("append", 1, 1)), transaction(2, ("read", 1, [1]), ("append", 1, 2))]
    for synchronous in (False, True):
        h = history(lists_={}, synchronous=synchronous)
        h.transactions = lost
        assert len(lists.check(h)) == (2 if synchronous else 0)


def test_a_survivor_that_read_what_was_lost_is_found():
    h = history(lists_={2: [2]})
    h.transactions = [transaction(1, ("append", 1, 1)), transaction(2, ("read", 1, [1]), ("append", 2, 2))]
    assert "no beginning" in lists.check(h)[0]


# --- reads

def read(node, before, after, number, timeline=1, sent=1.0, replica=True):
    return Read(node, sent, sent + 0.01, timeline, before, after, {"network": number}, replica)


def test_reads_that_grow_with_the_position_are_accepted():
    h = history(switches=[[1, 500]], timeline=2)
    h.reads = [read("h1", 100, 100, 1), read("h2", 90, 90, 0), read("h2", 100, 110, 1), read("h2", 600, 600, 6, timeline=2)]
    assert reads.check(h) == []


@pytest.mark.parametrize("node", ["h1", "h2"])
def test_a_read_that_goes_back_is_found(node):
    h = history(timeline=1)
    h.reads = [read("h1", 100, 100, 5), read(node, 120, 120, 4)]
    assert len(reads.check(h)) == 1


def test_a_primary_may_show_later_than_a_replica_but_not_go_back_itself():
    h = history(timeline=1)
    h.reads = [read("h2", 100, 100, 5), read("h1", 100, 100, 4, replica=False)]
    assert reads.check(h) == []
    h.reads = [read("h1", 100, 100, 5, replica=False, sent=2.0), read("h1", 100, 100, 4, replica=False, sent=1.0)]
    assert reads.check(h) == [], "at one position, but later"
    h.reads = [read("h1", 100, 100, 5, replica=False, sent=1.0), read("h1", 120, 120, 4, replica=False, sent=2.0)]
    assert len(reads.check(h)) == 1


def test_reads_of_a_branch_that_was_left_are_not_compared():
    h = history(switches=[[1, 500]], timeline=2)
    h.reads = [read("h1", 700, 700, 9, timeline=1), read("h2", 800, 800, 6, timeline=2)]
    assert reads.check(h) == []
    h.reads[0].before = h.reads[0].after = 450
    assert len(reads.check(h)) == 1


# --- availability

def service(gap, faults=()):
    """Writes every half second but for the gap."""
    h = history()
    h.writes = [write(i, i / 2) for i in range(200) if not gap[0] < i / 2 < gap[1]]
    h.faults = list(faults)
    return h


def test_an_outage_within_its_bound_is_accepted_and_has_its_cause():
    h = service((20, 28), [FaultRecord("kill_node", "h1", 20.5, 40.0, bound=15)])
    assert availability.check(h) == []
    outage, = availability.outages(h)
    assert 7.9 < outage.length() < 8.6 and outage.causes[0].name == "kill_node"


def test_an_outage_beyond_its_bound_is_found():
    assert "the bound is 5 s" in availability.check(service((20, 28), [FaultRecord("kill_node", "h1", 20.5, 40.0, bound=5)]))[0]


def test_service_that_is_not_back_after_healing_is_found():
    two = [FaultRecord("kill_node", "h1", 20.5, 24.0), FaultRecord("kill_etcd", "h2", 21.0, 25.0)]
    assert availability.check(service((20, 54), two)) == []
    assert "had been healed" in availability.check(service((20, 57), two))[0]


def test_service_that_never_returns_and_an_outage_without_a_cause_are_found():
    assert "had been healed" in availability.check(service((20, 101), [FaultRecord("kill_node", "h1", 20.5, 24.0)]))[0]
    assert "without a fault" in availability.check(service((20, 60)))[0]
