"""Prints the images of a repository as JSON, each value as its Python type and text."""

import json
import sys

import boto3


def described(value):
    if isinstance(value, dict):
        return {name: described(member) for name, member in value.items()}
    if isinstance(value, list):
        return [described(item) for item in value]
    return f"{type(value).__name__} {value}"


service, endpoint, repository = sys.argv[1:]
reply = boto3.client(service, endpoint_url=endpoint).describe_images(repositoryName=repository)
print(json.dumps(described(reply["imageDetails"]), indent=2))
