#!/usr/bin/env python3
"""Compares the answers of a deployed catalog with those of Amazon ECR.

It creates a repository in Amazon ECR, pushes an image, waits until the catalog has both, asks
Amazon ECR and the catalog the same questions with each client that is installed (the AWS CLI, boto3
and curl), and prints each member that differs. At last it deletes the image, waits until the
catalog has deleted it, and deletes the repository. The exit code is 1 if something differs.

With --ecr-public it then does the same in Amazon ECR Public. Everybody can see that repository.
CloudTrail may take some minutes for its events: raise --timeout.

It needs the AWS CLI with credentials of the account. It installs nothing.
"""

import argparse
import hashlib
import json
import os
import pathlib
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections import namedtuple
from datetime import datetime
from urllib.parse import urlsplit

TAG = "verify"
# How often the catalog is asked while it does not have an event yet, in seconds.
INTERVAL = 1
# How far the times of a service's `events_have` may be from the catalog's, in seconds.
INEXACTNESS = 60
CURL_OPTIONS = "--silent --show-error --max-time 30 --suppress-connect-headers --include".split()

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("endpoint", help="the catalog's endpoint, the stack's output Endpoint")
parser.add_argument("--region", help="the catalog's region, if its host name does not contain it")
parser.add_argument("--timeout", type=float, default=120, help="for an event, in seconds [120]")
parser.add_argument("--ecr-public", action="store_true", help="also compare Amazon ECR Public")
parser.add_argument("--ecr-endpoint", help="another Amazon ECR than that of the region")
parser.add_argument("--ecr-public-endpoint", help="another Amazon ECR Public than that of AWS")

# `url` is None for the endpoint of AWS.
Endpoint = namedtuple("Endpoint", "url region signing_name")
# `command` is its name in the AWS CLI and in boto3, `target` in the header X-Amz-Target.
# `events_have` are the times that a reconciliation makes exact. Until then they are the whole
# seconds of CloudTrail, or the time of the first event of a repository.
Service = namedtuple("Service", "name command target endpoint events_have")


class Refused(Exception):
    """An error of the service."""


class Missing(Exception):
    """A client that cannot be used, with the reason."""


class AwsCli:
    """The AWS CLI, which signs as the endpoint rule sets of this repository say."""

    name = "aws"

    def __init__(self, service):
        self.service = service
        if not shutil.which("aws"):
            sys.exit("there is no AWS CLI (aws)")

    def ask(self, endpoint, operation, request, *options):
        command = re.sub("(?<!^)(?=[A-Z])", "-", operation).lower()
        arguments = ["aws", self.service.command, command]
        arguments += ["--region", endpoint.region, "--output", "json"]
        if endpoint.url:
            arguments += ["--endpoint-url", endpoint.url]
        arguments += ["--cli-input-json", json.dumps(request), *options]
        ended = subprocess.run(arguments, capture_output=True, text=True)
        if ended.returncode:
            raise Refused(ended.stderr.strip())
        return json.loads(ended.stdout or "{}")


class Boto3:
    name = "boto3"

    def __init__(self, service):
        try:
            import boto3
        except ImportError as error:
            raise Missing(f"{self.name}: {error}") from error
        self.clients = {}
        self.connect = lambda endpoint: boto3.client(
            service.command, region_name=endpoint.region, endpoint_url=endpoint.url
        )

    def ask(self, endpoint, operation, request):
        from botocore.exceptions import ClientError

        client = self.clients.setdefault(endpoint, self.connect(endpoint))
        method = re.sub("(?<!^)(?=[A-Z])", "_", operation).lower()
        try:
            answer = getattr(client, method)(**request)
        except ClientError as error:
            raise Refused(str(error)) from error
        del answer["ResponseMetadata"]
        return json.loads(json.dumps(answer, default=str))


class Curl:
    """curl, which signs by itself, on one of the routes of the catalog."""

    def __init__(self, service, route):
        self.name = f"curl {route}"
        self.service, self.route = service, route
        if not shutil.which("curl"):
            raise Missing(f"{self.name}: there is no curl")
        names = ["AccessKeyId", "SecretAccessKey", "SessionToken"]
        variables = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]
        self.credentials = dict(zip(names, map(os.environ.get, variables)))
        if not self.credentials["AccessKeyId"]:
            # AWS CLI 2 has this command.
            exported = subprocess.run(
                ["aws", "configure", "export-credentials"], capture_output=True, text=True
            )
            if exported.returncode:
                raise Missing(f"{self.name}: {variables[0]} is not set")
            self.credentials = json.loads(exported.stdout)

    def ask(self, endpoint, operation, request):
        region, signing_name = endpoint.region, endpoint.signing_name
        url = endpoint.url or f"https://api.{signing_name}.{region}.amazonaws.com" + (
            ".cn" if region.startswith("cn-") else ""
        )
        is_catalog = signing_name == "execute-api"
        url = url.rstrip("/") + (self.route if is_catalog else "/")
        key, secret = (self.credentials[name] for name in ("AccessKeyId", "SecretAccessKey"))
        # On standard input, because everybody can read the arguments of a process.
        options = {
            "url": url,
            "user": f"{key}:{secret}",
            "aws-sigv4": f"aws:amz:{region}:{signing_name}",
            "header": [
                f"X-Amz-Target: {self.service.target}.{operation}",
                "Content-Type: application/x-amz-json-1.1",
            ],
            "data": json.dumps(request),
        }
        if self.credentials.get("SessionToken"):
            options["header"].append(f"X-Amz-Security-Token: {self.credentials['SessionToken']}")
        lines = []
        for option, values in options.items():
            for value in values if isinstance(values, list) else [values]:
                lines.append(f"{option} = {json.dumps(value)}\n")
        ended = subprocess.run(
            ["curl", *CURL_OPTIONS, "--config", "-"],
            input="".join(lines),
            capture_output=True,
            text=True,
        )
        if ended.returncode:
            raise Refused(ended.stderr.strip())
        head, _, body = ended.stdout.replace("\r\n", "\n").partition("\n\n")
        status, *headers = head.split("\n")
        headers = {line.split(":")[0].lower() for line in headers}
        is_error = status.split()[1] != "200"
        if is_error and '"__type"' not in body:
            # It is not of the service.
            raise Refused(f"{status}: {body}")
        for header in ["x-amzn-requestid", *["x-amzn-errortype"] * is_error]:
            if is_catalog and header not in headers:
                raise Refused(f"the header {header} is missing: {head}")
        if is_error:
            error = json.loads(body)
            raise Refused(f"{status.split()[1]} {error['__type']}: {error.get('message')}")
        return json.loads(body)


def ask(client, endpoint, operation, request):
    """An answer, or the text of an error."""
    try:
        return client.ask(endpoint, operation, request)
    except Refused as refused:
        return str(refused)


def seconds(value):
    """A time, which each client prints in its own way, in seconds since 1970."""
    if isinstance(value, str):
        return datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()
    return value


def differences(service, answer, catalog, path=""):
    """Each member that differs, by its path."""
    if isinstance(answer, dict) and isinstance(catalog, dict):
        for name in [*answer, *(name for name in catalog if name not in answer)]:
            member = f"{path}.{name}" if path else name
            pair = answer.get(name), catalog.get(name)
            if name in service.events_have and None not in pair:
                if abs(seconds(pair[0]) - seconds(pair[1])) <= INEXACTNESS:
                    continue
            yield from differences(service, *pair, member)
    elif isinstance(answer, list) and isinstance(catalog, list) and len(answer) == len(catalog):
        for index, pair in enumerate(zip(answer, catalog)):
            yield from differences(service, *pair, f"{path}[{index}]")
    elif answer != catalog:
        texts = ["absent" if value is None else json.dumps(value) for value in (answer, catalog)]
        yield f"{path or 'answer'}: {service.name} {texts[0]}, the catalog {texts[1]}"


def blob(content, directory):
    path = pathlib.Path(directory, hashlib.sha256(content).hexdigest())
    path.write_bytes(content)
    return {"digest": f"sha256:{path.name}", "size": len(content)}, path


def push(cli, repository, directory):
    """Pushes an image, and returns its digest."""
    endpoint = cli.service.endpoint
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"}
    layer = secrets.token_bytes(1024)
    configuration = json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}
    )
    for member, content, kind in (
        ("config", configuration.encode(), "config.v1+json"),
        ("layers", layer, "layer.v1.tar"),
    ):
        descriptor, path = blob(content, directory)
        initiated = cli.ask(endpoint, "InitiateLayerUpload", {"repositoryName": repository})
        upload = initiated["uploadId"]
        part = {"repositoryName": repository, "uploadId": upload, "partFirstByte": 0}
        part["partLastByte"] = len(content) - 1
        cli.ask(endpoint, "UploadLayerPart", part, "--layer-part-blob", f"fileb://{path}")
        complete = {"repositoryName": repository, "uploadId": upload}
        complete["layerDigests"] = [descriptor["digest"]]
        cli.ask(endpoint, "CompleteLayerUpload", complete)
        descriptor = {"mediaType": f"application/vnd.oci.image.{kind}", **descriptor}
        manifest[member] = [descriptor] if member == "layers" else descriptor
    image = {"repositoryName": repository, "imageTag": TAG, "imageManifest": json.dumps(manifest)}
    return cli.ask(endpoint, "PutImage", image)["image"]["imageId"]["imageDigest"]


def wait(what, timeout, condition):
    """Waits until a condition is true, and prints how long; returns whether it became true."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > timeout:
            print(f"after {timeout:.0f} s the catalog still has not {what}")
            return False
        time.sleep(INTERVAL)
    print(f"after {time.monotonic() - started:.1f} s the catalog has {what}", flush=True)
    return True


def verify(service, catalog, timeout, directory):
    """Returns the number of answers that differ."""
    cli = AwsCli(service)
    clients = []
    for client in (
        lambda: cli,
        lambda: Boto3(service),
        lambda: Curl(service, "/"),
        lambda: Curl(service, "/DescribeImages"),
    ):
        try:
            clients.append(client())
        except Missing as missing:
            print(f"skipped  {missing}")

    repository = f"image-catalog-verify-{secrets.token_hex(4)}"
    scratch = {"repositoryName": repository}
    cli.ask(service.endpoint, "CreateRepository", scratch)
    try:
        digest = push(cli, repository, directory)
        print(f"pushed {digest} to {repository}:{TAG} in {service.name}", flush=True)
        differing = 0

        def question(operation, **members):
            return operation, scratch | members

        whole = question("DescribeImages")
        itself = "DescribeRepositories", {"repositoryNames": [repository]}

        def is_complete():
            # Of Amazon ECR, the size comes last; of Amazon ECR Public, the URI may.
            members = {"imageSizeInBytes": whole, "repositoryUri": itself}
            return all(
                f'"{member}"' in json.dumps(ask(cli, catalog, *request))
                for member, request in members.items()
            )

        def is_deleted():
            answer = ask(cli, catalog, *whole)
            is_error = isinstance(answer, str)
            return "NotFoundException" in answer if is_error else not answer["imageDetails"]

        wait("the repository, the image and its size", timeout, is_complete)
        questions = {
            "all images": whole,
            "the image of a tag": question("DescribeImages", imageIds=[{"imageTag": TAG}]),
            "the image of a digest": question("DescribeImages", imageIds=[{"imageDigest": digest}]),
            "a tag that is not there": question("DescribeImages", imageIds=[{"imageTag": "none"}]),
            "the repository": itself,
            "a repository that is not there": (
                "DescribeRepositories",
                {"repositoryNames": [f"{repository}-none"]},
            ),
        }
        if service.command == "ecr":
            questions |= {
                "tagged images": question("DescribeImages", filter={"tagStatus": "TAGGED"}),
                "untagged images": question("DescribeImages", filter={"tagStatus": "UNTAGGED"}),
                "the ids of all images": question("ListImages"),
            }
        for client in clients:
            for what, (operation, request) in questions.items():
                if client.name == "curl /DescribeImages" and operation != "DescribeImages":
                    continue
                answers = [
                    ask(client, endpoint, operation, request)
                    for endpoint in (service.endpoint, catalog)
                ]
                found = list(differences(service, *answers))
                differing += bool(found)
                print(f"{'differs' if found else 'same':8} {client.name}: {operation}, {what}")
                for difference in found:
                    print(f"         {difference}", flush=True)

        deletion = scratch | {"imageIds": [{"imageDigest": digest}]}
        cli.ask(service.endpoint, "BatchDeleteImage", deletion)
        differing += not wait("deleted the image", timeout, is_deleted)
        return differing
    finally:
        cli.ask(service.endpoint, "DeleteRepository", scratch | {"force": True})


def main():
    options = parser.parse_args()
    options.endpoint = options.endpoint.rstrip("/")
    authority = urlsplit(options.endpoint).netloc
    if not authority:
        sys.exit(f"{options.endpoint} is not a URL")
    in_name = re.search(r"\.execute-api\.([a-z0-9-]+)\.amazonaws\.com", authority)
    region = options.region or (in_name and in_name[1]) or os.environ.get("AWS_REGION")
    region = region or os.environ.get("AWS_DEFAULT_REGION")
    if not region:
        sys.exit(f"{authority} does not contain a region: add --region REGION")
    catalog = Endpoint(options.endpoint, region, "execute-api")
    services = [
        Service(
            "Amazon ECR",
            "ecr",
            "AmazonEC2ContainerRegistry_V20150921",
            Endpoint(options.ecr_endpoint, region, "ecr"),
            ["createdAt"],
        )
    ]
    if options.ecr_public:
        services.append(
            Service(
                "Amazon ECR Public",
                "ecr-public",
                "SpencerFrontendService",
                Endpoint(options.ecr_public_endpoint, "us-east-1", "ecr-public"),
                ["createdAt", "imagePushedAt"],
            )
        )
    # Requests go to no other endpoints than those that are named here.
    os.environ["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] = "true"
    os.environ["AWS_PAGER"] = ""
    with tempfile.TemporaryDirectory() as directory:
        models = pathlib.Path(directory, "models")
        shutil.copytree(pathlib.Path(__file__).with_name("service-model"), models)
        for path in models.glob("*/*/*.json"):
            path.write_text(path.read_text().replace("catalog.example.com", authority))
        os.environ["AWS_DATA_PATH"] = str(models)
        try:
            differing = sum(
                verify(service, catalog, options.timeout, directory) for service in services
            )
        except Refused as refused:
            sys.exit(str(refused))
    print(f"{differing} answers differ" if differing else "no answer differs")
    sys.exit(differing > 0)


main()
