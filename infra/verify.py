#!/usr/bin/env python3
"""Compares the answers of a deployed catalog with those of Amazon ECR.

It creates a repository in Amazon ECR, pushes an image, waits until the catalog has it, asks Amazon
ECR and the catalog the same questions with each client that is installed (the AWS CLI, boto3 and
curl), and prints each member that differs. At last it deletes the image, waits until the catalog
has deleted it, and deletes the repository. The exit code is 1 if something differs.

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
from urllib.parse import urlsplit

TARGET = "AmazonEC2ContainerRegistry_V20150921"
TAG = "verify"
# How often the catalog is asked while it does not have an event yet, in seconds.
INTERVAL = 1
CURL_OPTIONS = "--silent --show-error --max-time 30 --suppress-connect-headers --include".split()

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("endpoint", help="the catalog's endpoint, the stack's output Endpoint")
parser.add_argument("--region", help="the catalog's region, if its host name does not contain it")
parser.add_argument("--timeout", type=float, default=120, help="for an event, in seconds [120]")
parser.add_argument("--ecr-endpoint", help="another Amazon ECR than that of the region")


class Refused(Exception):
    """An error of the service."""


class Missing(Exception):
    """A client that cannot be used, with the reason."""


class AwsCli:
    """`aws ecr`, which signs as the endpoint rule sets of this repository say."""

    name = "aws"

    def __init__(self, region):
        self.region = region
        if not shutil.which("aws"):
            sys.exit("there is no AWS CLI (aws)")

    def ask(self, endpoint, operation, request, *options):
        command = re.sub("(?<!^)(?=[A-Z])", "-", operation).lower()
        arguments = ["aws", "ecr", command, "--region", self.region, "--output", "json"]
        if endpoint:
            arguments += ["--endpoint-url", endpoint]
        arguments += ["--cli-input-json", json.dumps(request), *options]
        ended = subprocess.run(arguments, capture_output=True, text=True)
        if ended.returncode:
            raise Refused(ended.stderr.strip())
        return json.loads(ended.stdout or "{}")


class Boto3:
    name = "boto3"

    def __init__(self, region):
        try:
            import boto3
        except ImportError as error:
            raise Missing(f"{self.name}: {error}") from error
        self.clients = {}
        self.connect = lambda url: boto3.client("ecr", region_name=region, endpoint_url=url)

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

    def __init__(self, region, route, ecr):
        self.name = f"curl {route}"
        self.region, self.route, self.ecr = region, route, ecr
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
        service = "execute-api" if endpoint not in (None, self.ecr) else "ecr"
        url = endpoint or f"https://api.ecr.{self.region}.amazonaws.com" + (
            ".cn" if self.region.startswith("cn-") else ""
        )
        url = url.rstrip("/") + (self.route if service == "execute-api" else "/")
        key, secret = (self.credentials[name] for name in ("AccessKeyId", "SecretAccessKey"))
        # On standard input, because everybody can read the arguments of a process.
        options = {
            "url": url,
            "user": f"{key}:{secret}",
            "aws-sigv4": f"aws:amz:{self.region}:{service}",
            "header": [
                f"X-Amz-Target: {TARGET}.{operation}",
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
            if service == "execute-api" and header not in headers:
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


def differences(ecr, catalog, path=""):
    """Each member that differs, by its path."""
    if isinstance(ecr, dict) and isinstance(catalog, dict):
        for name in [*ecr, *(name for name in catalog if name not in ecr)]:
            member = f"{path}.{name}" if path else name
            yield from differences(ecr.get(name), catalog.get(name), member)
    elif isinstance(ecr, list) and isinstance(catalog, list) and len(ecr) == len(catalog):
        for index, pair in enumerate(zip(ecr, catalog)):
            yield from differences(*pair, f"{path}[{index}]")
    elif ecr != catalog:
        texts = ["absent" if value is None else json.dumps(value) for value in (ecr, catalog)]
        yield f"{path or 'answer'}: Amazon ECR {texts[0]}, the catalog {texts[1]}"


def blob(content, directory):
    path = pathlib.Path(directory, hashlib.sha256(content).hexdigest())
    path.write_bytes(content)
    return {"digest": f"sha256:{path.name}", "size": len(content)}, path


def push(cli, ecr, repository, directory):
    """Pushes an image, and returns its digest."""
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
        upload = cli.ask(ecr, "InitiateLayerUpload", {"repositoryName": repository})["uploadId"]
        part = {"repositoryName": repository, "uploadId": upload, "partFirstByte": 0}
        part["partLastByte"] = len(content) - 1
        cli.ask(ecr, "UploadLayerPart", part, "--layer-part-blob", f"fileb://{path}")
        complete = {"repositoryName": repository, "uploadId": upload}
        cli.ask(ecr, "CompleteLayerUpload", complete | {"layerDigests": [descriptor["digest"]]})
        descriptor = {"mediaType": f"application/vnd.oci.image.{kind}", **descriptor}
        manifest[member] = [descriptor] if member == "layers" else descriptor
    image = {"repositoryName": repository, "imageTag": TAG, "imageManifest": json.dumps(manifest)}
    return cli.ask(ecr, "PutImage", image)["image"]["imageId"]["imageDigest"]


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


def verify(options, region, directory):
    """Returns the number of answers that differ."""
    cli = AwsCli(region)
    clients = []
    for client in (
        lambda: cli,
        lambda: Boto3(region),
        lambda: Curl(region, "/", options.ecr_endpoint),
        lambda: Curl(region, "/DescribeImages", options.ecr_endpoint),
    ):
        try:
            clients.append(client())
        except Missing as missing:
            print(f"skipped  {missing}")

    repository = f"image-catalog-verify-{secrets.token_hex(4)}"
    ecr = options.ecr_endpoint
    scratch = {"repositoryName": repository}
    cli.ask(ecr, "CreateRepository", scratch)
    try:
        digest = push(cli, ecr, repository, directory)
        print(f"pushed {digest} to {repository}:{TAG}", flush=True)
        differing = 0

        def question(operation, **members):
            return operation, scratch | members

        def is_complete():
            # The size comes last.
            answer = ask(cli, options.endpoint, *whole)
            images = [] if isinstance(answer, str) else answer["imageDetails"]
            return any("imageSizeInBytes" in image for image in images)

        def is_deleted():
            answer = ask(cli, options.endpoint, *whole)
            is_error = isinstance(answer, str)
            return "NotFoundException" in answer if is_error else not answer["imageDetails"]

        whole = question("DescribeImages")
        wait("the image and its size", options.timeout, is_complete)
        questions = {
            "all images": whole,
            "the image of a tag": question("DescribeImages", imageIds=[{"imageTag": TAG}]),
            "the image of a digest": question("DescribeImages", imageIds=[{"imageDigest": digest}]),
            "tagged images": question("DescribeImages", filter={"tagStatus": "TAGGED"}),
            "untagged images": question("DescribeImages", filter={"tagStatus": "UNTAGGED"}),
            "a tag that is not there": question("DescribeImages", imageIds=[{"imageTag": "none"}]),
            "the ids of all images": question("ListImages"),
        }
        for client in clients:
            for what, (operation, request) in questions.items():
                if client.name == "curl /DescribeImages" and operation != "DescribeImages":
                    continue
                answers = [ask(client, url, operation, request) for url in (ecr, options.endpoint)]
                found = list(differences(*answers))
                differing += bool(found)
                print(f"{'differs' if found else 'same':8} {client.name}: {operation}, {what}")
                for difference in found:
                    print(f"         {difference}", flush=True)

        cli.ask(ecr, "BatchDeleteImage", scratch | {"imageIds": [{"imageDigest": digest}]})
        differing += not wait("deleted the image", options.timeout, is_deleted)
        return differing
    finally:
        cli.ask(ecr, "DeleteRepository", scratch | {"force": True})


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
            differing = verify(options, region, directory)
        except Refused as refused:
            sys.exit(str(refused))
    print(f"{differing} answers differ" if differing else "no answer differs")
    sys.exit(differing > 0)


main()
