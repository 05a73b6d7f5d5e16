"""Status codes of every REST endpoint on a leader, a replica, a stopped and a starting node."""

import json
import os
import signal

import pytest
from harness import Cluster, wait_for


@pytest.fixture(scope="module")
def cluster():
    def slow_restore(node):
        hold = node.directory / "hold"
        return {"postgresql": {"recovery_conf": {"restore_command": f"while test -e {hold}; do sleep 0.1; done; false"}}}
    with Cluster(names=("a", "b"), settings={"ttl": 20, "loop_wait": 2, "retry_timeout": 3}, tags={"b": {"nosync": True}},
                 local=slow_restore) as running:
        running.start()
        yield running


LEADER = {"/": 200, "/primary": 200, "/leader": 200, "/read-write": 200, "/master": 200, "/replica": 503, "/read-only": 200,
          "/standby-leader": 503, "/standby_leader": 503, "/health": 200, "/liveness": 200, "/readiness": 200,
          "/synchronous": 503, "/sync": 503, "/asynchronous": 503, "/async": 503, "/patroni": 200, "/cluster": 200,
          "/history": 200, "/config": 200, "/metrics": 200}
REPLICA = {"/": 503, "/primary": 503, "/leader": 503, "/read-write": 503, "/master": 503, "/replica": 200, "/read-only": 200,
           "/standby-leader": 503, "/health": 200, "/liveness": 200, "/readiness": 200, "/synchronous": 503, "/sync": 503,
           "/asynchronous": 200, "/async": 200, "/replica?lag=10MB": 200, "/patroni": 200, "/cluster": 200, "/history": 200,
           "/config": 200, "/metrics": 200}


@pytest.mark.parametrize("path,code", LEADER.items())
def test_leader(cluster, path, code):
    assert cluster.nodes["a"].code(path) == code


@pytest.mark.parametrize("path,code", REPLICA.items())
def test_replica(cluster, path, code):
    assert cluster.nodes["b"].code(path) == code


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
def test_head_and_options_answer_with_the_status_alone(cluster, method):
    assert cluster.nodes["a"].rest_call("/primary", method) == (200, "")
    assert cluster.nodes["b"].rest_call("/primary", method) == (503, "")


def test_documents(cluster):
    leader, replica = cluster.nodes["a"].status(), cluster.nodes["b"].status()
    assert (leader["role"], leader["state"], leader["timeline"]) == ("primary", "running", 1)
    assert (replica["role"], replica["state"], replica["replication_state"]) == ("replica", "running", "streaming")
    assert leader["replication"][0]["application_name"] == "b"

    def members():
        return [(m["name"], m["role"], m["state"]) for m in json.loads(cluster.nodes["a"].rest_call("/cluster")[1])["members"]]
    wait_for(lambda: members() == [("a", "leader", "running"), ("b", "replica", "streaming")], 3, "both members are as they are")


def test_unsafe_requests_that_are_wrong(cluster):
    node = cluster.nodes["a"]
    assert node.rest_call("/switchover", "POST", {"candidate": "b"}) == (400, "Switchover could be performed only from a specific leader")
    assert node.rest_call("/switchover", "POST", {"leader": "b"}) == (412, "leader name does not match")
    assert node.rest_call("/switchover", "POST", {"leader": "a", "candidate": "x"}) == (412, "candidate does not exists")
    assert node.rest_call("/restart", "POST", {"role": "master"})[0] == 400
    assert node.rest_call("/restart", "DELETE") == (404, "no restarts are scheduled")
    assert node.rest_call("/switchover", "DELETE")[0] in (404, 409)
    assert node.rest_call("/config", "PATCH", "text")[0] == 400
    assert node.code("/nothing-here") in (404, 503)


def test_config_round_trip(cluster):
    node = cluster.nodes["b"]
    assert json.loads(node.rest_call("/config", "PATCH", {"postgresql": {"parameters": {"work_mem": "5MB"}}})[1])["ttl"] == 20
    config = json.loads(node.rest_call("/config")[1])
    assert config["postgresql"]["parameters"]["work_mem"] == "5MB"
    node.rest_call("/config", "PATCH", {"postgresql": {"parameters": {"work_mem": None}}})
    assert "work_mem" not in json.loads(node.rest_call("/config")[1])["postgresql"]["parameters"]


def test_stopped_node(cluster):
    node = cluster.nodes["b"]
    cluster.nodes["a"].rest_call("/config", "PATCH", {"pause": True})
    wait_for(lambda: node.status().get("pause"), 10, "paused")
    os.kill(node.postmaster_pid(), signal.SIGINT)
    wait_for(lambda: node.code("/health") == 503, 10, "the end of PostgreSQL is noticed")
    for path, code in {"/primary": 503, "/replica": 503, "/read-only": 503, "/health": 503, "/readiness": 503,
                       "/liveness": 200, "/patroni": 200, "/cluster": 200, "/metrics": 200}.items():
        assert node.code(path) == code, path
    cluster.nodes["a"].rest_call("/config", "PATCH", {"pause": None})
    wait_for(node.streams, 30, "it streams again")


def test_starting_node(cluster):
    """A replica whose postmaster runs and does not let anybody in yet: its restore_command takes its time."""
    node = cluster.nodes["b"]
    hold = node.directory / "hold"
    hold.touch()
    os.kill(node.postmaster_pid(), signal.SIGKILL)
    wait_for(lambda: node.status()["state"] == "starting", 20, "it starts")
    for path, code in {"/": 503, "/primary": 503, "/leader": 503, "/replica": 503, "/read-only": 503, "/standby-leader": 503,
                       "/synchronous": 503, "/asynchronous": 503, "/health": 503, "/readiness": 503, "/liveness": 200,
                       "/patroni": 200, "/cluster": 200, "/history": 200, "/config": 200, "/metrics": 200}.items():
        assert node.code(path) == code, path
    assert node.status()["state"] == "starting", "through all of these"
    hold.unlink()
    wait_for(node.streams, 30, "it streams again")
