"""Compares responses with the shapes of botocore's models.

models.py ENDPOINT 'SERVICE OPERATION REQUEST'... prints a line of JSON for each request: the members of the response,
those among them that the model does not have, and the required ones that it lacks.
"""

import json
import sys
import urllib.request

from botocore.session import get_session


def differences(value, shape, path):
    if shape.type_name == "structure":
        for name in value:
            if name not in shape.members:
                yield f"{path}.{name} is unknown"
        for name in shape.required_members:
            if name not in value:
                yield f"{path}.{name} is missing"
        for name, member in shape.members.items():
            if name in value:
                yield from differences(value[name], member, f"{path}.{name}")
    elif shape.type_name == "list":
        for item in value:
            yield from differences(item, shape.member, f"{path}[]")
    elif shape.type_name == "map":
        for item in value.values():
            yield from differences(item, shape.value, f"{path}{{}}")
    else:
        types = {"string": str, "boolean": bool, "integer": int, "long": int, "timestamp": (int, float)}
        if not isinstance(value, types[shape.type_name]):
            yield f"{path} is no {shape.type_name}"


endpoint, *requests = sys.argv[1:]
session = get_session()
for request in requests:
    service, operation, request = request.split(" ", 2)
    model = session.get_service_model(service)
    target = f"{model.metadata['targetPrefix']}.{operation}"
    headers = {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"}
    message = urllib.request.Request(endpoint, request.encode(), headers)
    with urllib.request.urlopen(message) as response:
        body = json.load(response)
    found = sorted(set(differences(body, model.operation_model(operation).output_shape, "")))
    print(json.dumps({"operation": f"{service} {operation}", "differences": found, "members": sorted(body)}))
