"""The checked-in stubs say what proto/ says."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

ROOT = Path(__file__).parents[2]
PROTOS = sorted(str(path.relative_to(ROOT / "proto")) for path in ROOT.glob("proto/*/v1/*.proto"))
# Where the stubs of each package live, and how they are imported.
HOMES = {"qwire": ROOT / "integrations", "tei": ROOT / "server" / "qwire_server" / "pb"}
MODULES = {"qwire": "qwire", "tei": "qwire_server.pb.tei"}


@pytest.fixture(scope="module")
def contract(tmp_path_factory):
    """What today's protoc reads in proto/, by file."""
    file = tmp_path_factory.mktemp("proto") / "descriptors"
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", "proto"]
    subprocess.run([*command, f"--descriptor_set_out={file}", *PROTOS], cwd=ROOT, check=True)
    return {each.name: each for each in FileDescriptorSet.FromString(file.read_bytes()).file}


@pytest.mark.parametrize("proto", PROTOS)
def test_stubs_describe_the_contract(contract, proto):
    """Messages, fields, numbers, services: `make proto` is due where this fails."""
    package, _, rest = proto.partition("/")
    name = f"{MODULES[package]}/{rest}".replace("/", ".").replace(".proto", "_pb2")
    stub = FileDescriptorProto.FromString(importlib.import_module(name).DESCRIPTOR.serialized_pb)
    stub.name = proto  # it is the path by which the stubs are imported
    assert stub == without_json_names(contract[proto])


@pytest.mark.parametrize("proto", PROTOS)
def test_every_method_has_a_stub(contract, proto):
    """The *_pb2_grpc.py file is text, so it can lag behind its descriptor."""
    home = HOMES[proto.partition("/")[0]]
    source = (home / proto.replace(".proto", "_pb2_grpc.py")).read_text()
    for service in contract[proto].service:
        for method in service.method:
            assert f"'/{contract[proto].package}.{service.name}/{method.name}'" in source


def test_no_stub_outlives_its_proto():
    """A renamed proto leaves no importable ghost behind."""
    for package, home in HOMES.items():
        stubs = {path.name for path in (home / package / "v1").glob("*_pb2*")}
        names = [Path(proto).stem for proto in PROTOS if proto.startswith(package + "/")]
        endings = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")
        assert stubs == {name + ending for name in names for ending in endings}


@pytest.mark.slow
@pytest.mark.timeout(300)  # may have to download grpcio-tools
@pytest.mark.skipif(sys.version_info >= (3, 13), reason="grpcio-tools 1.62.3 ends at Python 3.12")
def test_stubs_are_byte_for_byte_those_of_make_proto():
    """Comments and type stubs too."""
    command = [sys.executable, "scripts/proto.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def without_json_names(file: FileDescriptorProto) -> FileDescriptorProto:
    """Generated code leaves out json_name, which follows from the field's name."""
    messages = list(file.message_type)
    while messages:
        message = messages.pop()
        messages += message.nested_type
        for field in message.field:
            field.ClearField("json_name")
    return file
