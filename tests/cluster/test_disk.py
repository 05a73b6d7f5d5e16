"""A leader whose PostgreSQL keeps failing, and one whose disk is full, hand over; nothing is lost, and they do not come back
as leaders at once."""

import os
import pathlib
import signal
import subprocess
import tempfile
import time

import pytest
from harness import Cluster, wait_for
from writer import Writer

SETTINGS = {"ttl": 10, "loop_wait": 1, "retry_timeout": 3}


def kill_postmaster(node):
    pid = wait_for(node.postmaster_pid, 10, "a postmaster")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: node.postmaster_pid() not in (None, pid) or not node.is_leader(), 20, "it has started again")


def test_the_third_failure_within_a_minute_costs_the_lead():
    with Cluster(settings=SETTINGS) as cluster:
        cluster.start()
        leader, other = cluster.pair()
        leader.query("CREATE TABLE writes (number bigint)")
        for _ in range(6):  # a replica that has not connected again yet may lack something, and the lead stays
            kill_postmaster(leader)
            time.sleep(1)
            if other.is_leader():
                break
            cluster.wait_healthy()
        wait_for(other.is_leader, 10, "the other member leads")
        assert "has failed 3 times within a minute" in leader.log()
        assert cluster.wait_healthy() is other


@pytest.fixture
def small_disk():
    directory = pathlib.Path(tempfile.mkdtemp(prefix="pgvigil-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", directory]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        directory.rmdir()
        pytest.skip("a small file system cannot be mounted here")
    os.chmod(directory, 0o777)
    yield directory
    subprocess.run(["umount", "-l", directory], check=False)
    directory.rmdir()


def test_a_full_disk_costs_the_lead_and_no_row(small_disk):
    def local(node):
        return {"postgresql": {"data_dir": str(small_disk / "data")}} if node.name == "a" else {}

    with Cluster(settings=SETTINGS, local=local, parameters={"wal_keep_size": "16MB"}) as cluster:
        cluster.nodes["a"].data = small_disk / "data"
        cluster.start()
        leader, other = cluster.pair()
        assert leader.name == "a"
        leader.query("CREATE TABLE writes (number bigint)")
        with Writer(list(cluster.nodes.values())) as writer:
            wait_for(lambda: len(writer.acknowledged) > 20, 10, "writes")
            with open(small_disk / "filler", "wb") as filler:
                try:
                    while True:
                        filler.write(b"x" * 65536)
                        filler.flush()
                except OSError:
                    pass
            wait_for(other.is_leader, 60, "the other member leads")
            before = len(writer.acknowledged)
            wait_for(lambda: len(writer.acknowledged) > before + 10, 20, "writes go on there")
        assert not writer.lost(other)
        os.unlink(small_disk / "filler")
        cluster.wait_healthy(90)
        assert other.is_leader()
