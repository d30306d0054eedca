"""The test servers themselves: real, separate for each test, and gone with the process that started them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import psycopg
import pytest
import redis
from obstore.exceptions import AlreadyExistsError
from obstore.store import S3Store

from tests.servers import S3_OPTIONS, answers

START_AND_DIE = """
import os, signal
from tests.servers import {kind}
server = {kind}()
print(server.port, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def wait_until_free(port: int) -> None:
    deadline = time.monotonic() + 20
    while answers(port):
        assert time.monotonic() < deadline, f"the server at port {port} outlived the process that started it"
        time.sleep(0.02)


@pytest.mark.parametrize("kind", ["PostgreSQL", "Redis", "S3"])
def test_a_server_ends_with_the_process_that_started_it_even_when_that_was_killed(
    kind: str, pytestconfig: pytest.Config
) -> None:
    script = START_AND_DIE.format(kind=kind)
    died = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=pytestconfig.rootpath)
    assert died.returncode == -signal.SIGKILL
    wait_until_free(int(died.stdout))


@pytest.mark.parametrize("attempt", [1, 2])
def test_every_test_has_an_empty_postgresql_database(postgresql_url: str, attempt: int) -> None:
    with psycopg.connect(postgresql_url) as connection:
        connection.execute("CREATE TABLE taken (id integer)")


@pytest.mark.parametrize("attempt", [1, 2])
def test_every_test_has_an_empty_redis(redis_url: str, attempt: int) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("taken", "1")


def test_of_two_writers_who_create_one_s3_object_the_second_is_refused(s3_endpoint: str, s3_url: str) -> None:
    bucket = s3_url.removeprefix("s3://").partition("/")[0]
    keys = {"access_key_id": S3_OPTIONS["access_key_id"], "secret_access_key": S3_OPTIONS["secret_access_key"]}
    store = S3Store(bucket, endpoint=s3_endpoint, region="us-east-1", client_options={"allow_http": True}, **keys)
    store.put("key", b"first", mode="create")
    with pytest.raises(AlreadyExistsError):
        store.put("key", b"second", mode="create")
    assert bytes(store.get("key").bytes()) == b"first"
