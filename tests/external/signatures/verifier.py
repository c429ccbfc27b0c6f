"""Decides with botocore's canonical requests whether a request is accepted, and the error if not.

This is a second implementation of the checks, which shares nothing with the catalog's. It follows
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html. What AWS does not document,
such as the order of the checks, is as in the catalog."""

import dataclasses
import datetime
import email.utils
import hashlib
import re
import urllib.parse

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ALGORITHM = "AWS4-HMAC-SHA256"
TIME_FORMAT = "%Y%m%dT%H%M%SZ"
CLOCK_SKEW = 15 * 60
QUERY_PARAMETERS = [b"X-Amz-Algorithm", b"X-Amz-Credential", b"X-Amz-Date", b"X-Amz-Expires"]
QUERY_PARAMETERS += [b"X-Amz-SignedHeaders", b"X-Amz-Security-Token", b"X-Amz-Signature"]
DATE = r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d (GMT|[+-]\d{4})"
SERVICES = {"AmazonEC2ContainerRegistry_V20150921": "ecr", "SpencerFrontendService": "ecr-public"}


@dataclasses.dataclass
class Request:
    """A request as it is sent."""

    method: str
    target: bytes
    headers: list  # of pairs of a name and the bytes of its value
    body: bytes

    def values(self, name):
        return [value.strip(b" \t") for other, value in self.headers if other.lower() == name]


class Refused(Exception):
    """Its argument is the name of the error."""


class Auth(SigV4Auth):
    """Signs the headers that the request says are signed, and no others."""

    def headers_to_sign(self, request):
        return request.headers


def require(condition, error="IncompleteSignatureException"):
    if not condition:
        raise Refused(error)


def once(values, encoding):
    """The text of a value that is there once at most."""
    require(len(values) <= 1)
    try:
        return values[0].decode(encoding) if values else None
    except UnicodeDecodeError:
        raise Refused("IncompleteSignatureException") from None


def decoded_query(target):
    pairs = [pair.partition(b"=") for pair in target.partition(b"?")[2].split(b"&") if pair]
    unquote = lambda text: urllib.parse.unquote_to_bytes(text.replace(b"+", b" "))
    return [(unquote(name), unquote(value)) for name, _, value in pairs]


def basic_time(text):
    require(re.fullmatch(r"\d{8}T\d{6}Z", text, re.ASCII))
    try:
        return datetime.datetime.strptime(text, TIME_FORMAT).replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        raise Refused("IncompleteSignatureException") from None


def date_time(text):
    text = " ".join(text.split())
    if not re.fullmatch(DATE, text, re.ASCII):
        return basic_time(text)
    # For `-0000`, Python returns no time zone.
    time = email.utils.parsedate_to_datetime(text.replace("-0000", "GMT"))
    return time.astimezone(datetime.timezone.utc)


def header_parameters(request):
    algorithm, _, rest = once(request.values("authorization"), "ascii").partition(" ")
    require(algorithm == ALGORITHM)
    found = {}
    for parameter in rest.split(","):
        name, equals, value = parameter.strip().partition("=")
        require(equals and name not in found)
        found[name] = value
    require({"Credential", "SignedHeaders", "Signature"} <= found.keys())
    time, date = once(request.values("x-amz-date"), "ascii"), None
    if time is None:
        date = once(request.values("date"), "ascii")
        require(date is not None)
    found["time"] = date_time(date) if time is None else basic_time(time)
    found["token"] = once(request.values("x-amz-security-token"), "ascii") or ""
    found["lifetime"] = CLOCK_SKEW
    return found


def query_parameters(query):
    def value(name):
        return once([value for other, value in query if other == b"X-Amz-" + name], "utf-8")

    found = {name.decode(): value(name) for name in (b"Credential", b"SignedHeaders", b"Signature")}
    require(value(b"Algorithm") == ALGORITHM and None not in found.values())
    require(value(b"Date") is not None and re.fullmatch("[0-9]+", value(b"Expires") or ""))
    found["lifetime"] = int(value(b"Expires"))
    require(1 <= found["lifetime"] <= 604800)
    found["time"] = basic_time(value(b"Date"))
    found["token"] = value(b"Security-Token") or ""
    return found


def path_of(target):
    return re.sub(rb"^http://[^/]*", b"", target.partition(b"?")[0]).decode()


def signing_services(request):
    target = (request.values("x-amz-target") or [b""])[0].decode("ascii", "replace")
    service = SERVICES.get(target.partition(".")[0] if "." in target else None)
    if service is None and path_of(request.target) == "/DescribeImages":
        service = "ecr-public"
    return [service] if service else list(SERVICES.values())


def signature(request, query, secret, found, signed_headers, scope):
    quote = lambda text: urllib.parse.quote(text, safe="-_.~")
    # botocore sorts the query and the headers, and makes the rest of the canonical request.
    query = [(name, value) for name, value in query if name != b"X-Amz-Signature"]
    text = "&".join(f"{quote(name)}={quote(value)}" for name, value in query)
    url = f"http://host{path_of(request.target)}?{text}"
    signed = AWSRequest(request.method, url, data=request.body)
    for name in signed_headers:
        for value in request.values(name):
            signed.headers[name] = value.decode()
    signed.context["timestamp"] = found["time"].strftime(TIME_FORMAT)
    key, _, region, service, _ = scope
    auth = Auth(Credentials(key, secret), service, region)
    return auth.signature(auth.string_to_sign(signed, auth.canonical_request(signed)), signed)


def check(request, callers, region, now):
    query = decoded_query(request.target)
    in_query = any(name in QUERY_PARAMETERS for name, _ in query)
    in_header = bool(request.values("authorization"))
    require(in_query or in_header, "MissingAuthenticationTokenException")
    require(not (in_query and in_header))
    found = query_parameters(query) if in_query else header_parameters(request)

    scope = found["Credential"].split("/")
    require(len(scope) == 5 and all(scope))
    signed_headers = found["SignedHeaders"].split(";")
    require(signed_headers == sorted(set(signed_headers)) and "" not in signed_headers)
    require(found["SignedHeaders"] == found["SignedHeaders"].lower())
    present = {name.lower() for name, _ in request.headers}
    required = {"host"} | {name for name in present if name.startswith("x-amz-")}
    require(required <= set(signed_headers) <= present)
    for name in signed_headers:
        for value in request.values(name):
            once([value], "utf-8")

    caller = next((caller for caller in callers if caller["accessKeyId"] == scope[0]), None)
    is_known = caller and caller.get("sessionToken", "") == found["token"]
    require(is_known, "UnrecognizedClientException")
    expiration = caller.get("expiration")
    is_expired = expiration and datetime.datetime.fromisoformat(expiration) < now
    require(not is_expired, "ExpiredTokenException")

    invalid = "InvalidSignatureException"
    require(scope[1] == found["time"].strftime("%Y%m%d"), invalid)
    age = (now - found["time"]).total_seconds()
    require(-CLOCK_SKEW <= age <= found["lifetime"], invalid)
    require(scope[2] == region and scope[3] in signing_services(request), invalid)
    require(scope[4] == "aws4_request", invalid)
    body_hash = hashlib.sha256(request.body).hexdigest().encode()
    require(all(value == body_hash for value in request.values("x-amz-content-sha256")), invalid)
    expected = signature(request, query, caller["secretAccessKey"], found, signed_headers, scope)
    require(expected == found["Signature"], invalid)


def error_of(request, callers, region, now):
    """The name of the error, or None for a request that is accepted."""
    try:
        check(request, callers, region, now)
    except Refused as refused:
        return refused.args[0]
    return None
