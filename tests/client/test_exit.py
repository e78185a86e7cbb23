"""A program ends, whatever its client is doing: each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from support.machine_speed import hang_limit

# gRPC's own thread is made slow where it has a call's lock, and the program ends while it is there:
# Python does not wait for it. In a module of its own, because what that thread refers to is never
# collected. The calls themselves are kept to the end, as by the traceback of an error.
_SLOW = """
import gc, time
import grpc._channel as inside

tell, busy = inside._handle_event, []

def slowly(*event):
    busy.append(event)
    time.sleep(0.3)
    busy.clear()
    return tell(*event)

def begin():
    inside._handle_event = slowly

def keep():
    return [each for each in gc.get_objects() if isinstance(each, inside._Rendezvous)]

def wait():
    ends = time.monotonic() + 2
    while not busy and time.monotonic() < ends:
        time.sleep(0.001)
"""
_PROGRAM = """
import itertools, sys, threading, time
import qwire, slow

client = qwire.Client(sys.argv[1])
client.embed(["a"])
slow.begin()
{ending}
slow.wait()
"""
_STREAM = """\
answers = client.embed_stream(map(str, itertools.count()), window=64, chunk_size=1)
next(answers)
kept = slow.keep()
"""
_ENDINGS = {
    "a stream left open": _STREAM,
    "a stream that was closed": f"{_STREAM}answers.close()",
    "a client that was closed": f"{_STREAM}client.close()",
    "a stream of a client that is gone": f"{_STREAM}del client",
    "calls of which one failed": """
try:
    client.embed(["slow", "slow"], batch_size=1, timeout=0.5)
except qwire.DeadlineExceededError:
    kept = slow.keep()
""",
    "calls in a thread": """
def call():
    try:
        while True:
            client.embed(["a"])
    except qwire.ClosedError:
        pass
threading.Thread(target=call, daemon=True).start()
while "in_flight=1" not in repr(client):
    time.sleep(0.01)
kept = slow.keep()
""",
}


def run(program, server, folder):
    command = [sys.executable, "-c", program, server.target]
    (folder / "slow.py").write_text(_SLOW)
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"PYTHONPATH": path, "GRPC_VERBOSITY": "ERROR"}  # it tells of forks
    ran = subprocess.run(
        command, env=env, stderr=subprocess.PIPE, text=True, timeout=hang_limit(50), check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("ending", _ENDINGS)
def test_a_program_ends_with(server, tmp_path, ending):
    server.hold("slow")
    run(_PROGRAM.format(ending=_ENDINGS[ending]), server, tmp_path)


def test_a_forked_child_ends_though_its_parent_streams(server, tmp_path):
    """The lock of the parent's call is taken in the child, and nobody there ever gives it back."""
    program = f"""
import itertools, os, qwire, slow, sys, warnings
warnings.simplefilter("ignore")  # Python 3.12 warns of threads
client = qwire.Client(sys.argv[1])
slow.begin()
{_STREAM}
slow.wait()
child = os.fork()
if not child:
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
    run(program, server, tmp_path)
