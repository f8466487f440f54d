#!/usr/bin/env python3
"""Calls a cluster from outside: prints its status, asks for a group to be moved, and watches until it
runs where it should.

    move_group.py ADDRESS:PORT FOLDER GROUP SERVER

FOLDER is what `tasuki cluster certificate` made. See README.md beside this file."""

import pathlib
import sys

import grpc
from grpc_status import rpc_status

from tasuki.v1 import (
    cluster_pb2,
    cluster_pb2_grpc,
    common_pb2,
    group_pb2,
    group_pb2_grpc,
    registry_pb2,
    registry_pb2_grpc,
)


def connect(address, folder):
    """A channel with the certificate in a folder."""
    folder = pathlib.Path(folder)
    key = next(folder.glob("*.key"))
    credentials = grpc.ssl_channel_credentials(
        root_certificates=(folder / "ca.pem").read_bytes(),
        private_key=key.read_bytes(),
        certificate_chain=key.with_suffix(".pem").read_bytes(),
    )
    return grpc.secure_channel(address, credentials, options=[("grpc.keepalive_time_ms", 10_000)])


def show(status):
    print(f"cluster {status.cluster}, led by {status.leader}, revision {status.revision}")
    for server in status.servers:
        print(f"  server {server.name:<8} {type_name(server, 'state')}")
    for group in status.groups:
        print(f"  group  {group.name:<8} {type_name(group, 'state')} {group.server}")


def type_name(message, field):
    """The word for an enum's value; the number of one that is newer than these stubs."""
    values = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
    number = getattr(message, field)
    return values[number].name if number in values else number


def move(channel, group, to):
    status = cluster_pb2_grpc.ClusterStub(channel).Status(cluster_pb2.ClusterStatusRequest(), timeout=10)
    show(status)

    # Watched from a revision that was read before the move: nothing between the two can be missed.
    watch = registry_pb2.WatchRegistryRequest(after=status.revision, prefix=f"groups/{group}")
    changes = registry_pb2_grpc.RegistryStub(channel).Watch(watch)

    groups = group_pb2_grpc.GroupStub(channel)
    accepted = groups.Move(group_pb2.MoveGroupRequest(group=group, to=to), timeout=10)
    print(f"accepted as revision {accepted.revision}")

    # Accepted is not done: each change is a reason to look, and only the look counts.
    for said in changes:
        print(f"  revision {said.change.revision}: {said.change.what} ({said.change.author})")
        now = groups.Get(group_pb2.GetGroupRequest(group=group), timeout=10)
        if now.server == to and now.state == common_pb2.RUN_STATE_ONLINE:
            print(f"group {group} is online on {to}")
            changes.cancel()
            return
    sys.exit("the node has ended: ask another server")


def explain(error):
    """An error of the cluster with its code and remedy, any other one as gRPC says it."""
    status = rpc_status.from_call(error)
    for any_detail in status.details if status else []:
        detail = common_pb2.ErrorDetail()
        if any_detail.Unpack(detail):
            return f"{detail.code}: {detail.message}\n  -> {detail.remedy}"
    return f"{error.code().name}: {error.details()}"


def main():
    if len(sys.argv) != 5:
        sys.exit("move_group.py ADDRESS:PORT FOLDER GROUP SERVER")
    address, folder, group, to = sys.argv[1:]
    with connect(address, folder) as channel:
        try:
            move(channel, group, to)
        except grpc.RpcError as error:
            sys.exit(explain(error))


if __name__ == "__main__":
    main()
