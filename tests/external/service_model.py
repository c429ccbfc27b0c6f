"""Compares the project's service model with the one of Amazon ECR that botocore has: what its operation
DescribeImages takes and gives, member by member, its errors, and how it pages. Prints what differs.

service_model.py FOLDER, which holds service-2.json and paginators-1.json."""

import json
import pathlib
import sys

from botocore.loaders import Loader
from botocore.model import ServiceModel

CONSTRAINTS = ("min", "max", "pattern", "enum", "required", "exception", "fault")


def members(shape, path):
    """Each member of a shape: its path, its type and what it must be like."""
    constraints = {name: shape.metadata[name] for name in CONSTRAINTS if name in shape.metadata}
    constraints["required"] = sorted(getattr(shape, "required_members", []))
    yield path, shape.type_name, json.dumps(constraints, sort_keys=True)
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            yield from members(member, f"{path}.{name}")
    elif shape.type_name == "list":
        yield from members(shape.member, f"{path}[]")
    elif shape.type_name == "map":
        yield from members(shape.key, f"{path}{{key}}")
        yield from members(shape.value, f"{path}{{value}}")


def described(service, paginators):
    operation = ServiceModel(service).operation_model("DescribeImages")
    yield operation.http, service["metadata"]["targetPrefix"], service["metadata"]["jsonVersion"]
    yield from members(operation.input_shape, "input")
    yield from members(operation.output_shape, "output")
    for error in operation.error_shapes:
        yield error.name, *list(members(error, "error"))[0]
    yield paginators["pagination"]["DescribeImages"]


folder = pathlib.Path(sys.argv[1])
ours = list(
    described(
        json.loads((folder / "service-2.json").read_text()),
        json.loads((folder / "paginators-1.json").read_text()),
    )
)
loader = Loader()
theirs = list(
    described(loader.load_service_model("ecr", "service-2"), loader.load_service_model("ecr", "paginators-1"))
)
for line in theirs:
    if line not in ours:
        print("missing:", line)
for line in ours:
    if line not in theirs:
        print("not in Amazon ECR's:", line)
if [line[0] for line in ours[:-1]] != [line[0] for line in theirs[:-1]]:
    print("the order differs")
waiters = loader.load_service_model("ecr", "waiters-2")["waiters"]
for name, waiter in waiters.items():
    if waiter["operation"] == "DescribeImages":
        print("a waiter for it:", name)
