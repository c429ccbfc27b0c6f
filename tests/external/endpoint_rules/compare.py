"""Compares the project's endpoint rule sets with those of a botocore: for each region, with and
without FIPS and dual stack, without an endpoint and with endpoints of many forms. Prints what
differs, other than that endpoints of API Gateway, and the catalog's own, are signed for it.

endpoint_rules.py FOLDER PACKAGE; PACKAGE, awscli or boto3, has the botocore."""

import importlib
import itertools
import json
import os
import pathlib
import sys

folder, package = pathlib.Path(sys.argv[1]), importlib.import_module(sys.argv[2])
if package.__name__ == "awscli":
    # AWS CLI has a botocore of its own.
    sys.path.insert(0, os.path.dirname(package.__file__))

from botocore.endpoint_provider import EndpointProvider  # noqa: E402
from botocore.exceptions import EndpointProviderError  # noqa: E402
from botocore.loaders import Loader  # noqa: E402

# AWS CLI 2.9's own rules are older: hosts for FIPS and for dual stack that began with `api.` no
# longer do, and the other way round; and it ignores an endpoint that cannot be parsed.
OLD = package.__name__ == "awscli" and package.__version__.startswith("2.9.")

# Endpoints that are signed for API Gateway, with the region in them. CLIENT: the client's region.
CLIENT = None
EXECUTE_API = {
    "https://abcdefghij.execute-api.us-east-1.amazonaws.com/": "us-east-1",
    "https://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com/stage/path": "eu-central-1",
    "http://abcdefghij.execute-api.ap-southeast-1.amazonaws.com": "ap-southeast-1",
    "https://abcdefghij.execute-api.eu-newer-1.amazonaws.com": "eu-newer-1",
    "https://abcdefghij.execute-api.xx-newest-1.amazonaws.com": "xx-newest-1",
    "https://abcdefghij.execute-api.us-east-1.amazonaws.com:443": CLIENT,
    "https://abcdefghij.execute-api.us-east-1.amazonaws.com.example.com": CLIENT,
    "https://abcdefghij.execute-api.us-east-1.vpce.amazonaws.com": CLIENT,
    "https://abcdefghij.execute-api.localhost.localstack.cloud:4566": CLIENT,
    "http://abcdefghij.execute-api.localhost:5015": CLIENT,
    "https://catalog.example.com": CLIENT,
    "https://catalog.example.com/path": CLIENT,
}
OTHERS = [
    None,
    "https://api.ecr.us-east-1.amazonaws.com",
    "https://api.ecr-public.us-east-1.amazonaws.com",
    "https://vpce-0123456789abcdef0-abcdefgh.api.ecr.us-east-1.vpce.amazonaws.com",
    "https://abc.execute-api.us-east-1.amazonaws.com",
    "https://abcdefghijk.execute-api.us-east-1.amazonaws.com",
    "https://abcdefghij.execute-api-fips.us-east-1.amazonaws.com",
    "https://abcdefghij.execute-apis.us-east-1.amazonaws.com",
    "https://abcdefghij.EXECUTE-API.us-east-1.amazonaws.com",
    "https://example.com/abcdefghij.execute-api.us-east-1.amazonaws.com",
    "https://www.catalog.example.com",
    "https://catalog.example.com.example.org",
    "https://catalog.example.com:8443",
    "http://127.0.0.1:5015",
    "http://[::1]:5015",
    "http://localhost:5015/path/",
    "https://localhost",
    "https://a.b",
    "https://b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.execute-api.us-east-1.amazonaws.com",
]
UNPARSABLE = [
    "https://example.com?x=abcdefghij.execute-api.us-east-1.amazonaws.com",
    "https://abcdefghij.execute-api.us-east-1.amazonaws.com?query",
    "ftp://abcdefghij.execute-api.us-east-1.amazonaws.com",
    "http://localhost:port",
    "localhost:5015",
]

loader = Loader(include_default_search_paths=False, extra_search_paths=[Loader.BUILTIN_DATA_PATH])
partitions = loader.load_data("partitions")
regions = []
for partition in partitions["partitions"]:
    suffix = partition["outputs"]["dnsSuffix"]
    for region in partition["regions"]:
        regions.append(region)
        EXECUTE_API[f"https://abcdefghij.execute-api.{region}.{suffix}"] = region
regions += ["eu-newer-1", "us-gov-newer-1", "cn-newer-1", "xx-new-1", "fips-us-east-1", "x"]
endpoints = [*EXECUTE_API, *OTHERS]
if not OLD:
    regions += ["dkr-us-east-1", None]
    endpoints += UNPARSABLE


def resolve(provider, region, fips, dual_stack, endpoint):
    """The URL, the headers and how it is signed; or the error."""
    given = {"Region": region, "UseFIPS": fips, "UseDualStack": dual_stack, "Endpoint": endpoint}
    given = {name: value for name, value in given.items() if value is not None}
    try:
        url, properties, headers = provider.resolve_endpoint(**given)
    except EndpointProviderError as error:
        return str(error)
    if OLD and endpoint is None and (fips or dual_stack):
        url = url.replace("https://api.", "https://")
    return url, headers, properties


for service in "ecr", "ecr-public":
    (path,) = folder.glob(f"{service}/*/endpoint-rule-set-1.json")
    ours = EndpointProvider(json.loads(path.read_text()), partitions)
    # Of the same name, so that ours takes its place.
    theirs = loader.load_data(path.relative_to(folder).with_suffix("").as_posix())
    theirs = EndpointProvider(theirs, partitions)
    for given in itertools.product(regions, [False, True], [False, True], endpoints):
        endpoint = given[-1]
        expected, actual = resolve(theirs, *given), resolve(ours, *given)
        if endpoint in EXECUTE_API and not isinstance(expected, str):
            scheme = {"name": "sigv4", "signingName": "execute-api"}
            if EXECUTE_API[endpoint] is not CLIENT:
                scheme["signingRegion"] = EXECUTE_API[endpoint]
            expected = (*expected[:2], {"authSchemes": [scheme]})
        if actual != expected:
            print(service, given, "expected:", expected, "actual:", actual)
