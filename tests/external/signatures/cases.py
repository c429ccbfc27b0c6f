"""Random requests that botocore signs, and what becomes of them on their way."""

import datetime
import email.utils
import hashlib
import urllib.parse
from unittest import mock

import botocore.auth
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from verifier import TIME_FORMAT, Request, decoded_query

TARGETS = {"ecr": "AmazonEC2ContainerRegistry_V20150921", "ecr-public": "SpencerFrontendService"}
PATHS = ["/DescribeImages", "//", "/./", "/a/../", "/a//b/./c/", "/a%20b", "/a+b"]
PATHS += ["/%2F%7e", "/%zz/%", "/ü/~*:@$"]
TEXTS = ["", "a", "A", "a b", "a+b", "/=&?", "ü ß", "%", "%41", "~-._", "a\tb", "*'()!"]
SIGNINGS = ("header", "date", "query")


class Case:
    """A request, its signing and its change."""

    def __init__(self, random, callers, url, region, number):
        self.random, self.callers, self.url, self.region = random, callers, url, region
        self.signing = SIGNINGS[number % len(SIGNINGS)]
        self.change = CHANGES[number // len(SIGNINGS) % len(CHANGES)]
        self.service = random.choice(list(TARGETS))
        self.signed_service, self.signed_region = self.service, region
        valid = [caller for caller in callers if "expiration" not in caller]
        self.caller = dict(random.choice(valid))
        self.now = datetime.datetime.now(datetime.timezone.utc)
        self.time = self.now + datetime.timedelta(seconds=random.choice([0, 0, -600, 600]))
        self.expires = random.choice([900, 3600, 604800])
        self.path = random.choice(["/"] * 8 + PATHS)
        parameters = range(random.choice([0, 0, 1, 2, 3]))
        self.query = [(random.choice(TEXTS), random.choice(TEXTS)) for _ in parameters]
        self.headers = [("X-Amz-Target", f"{TARGETS[self.service]}.DescribeImages")]
        for _ in range(random.choice([0, 1, 2])):
            name = random.choice(["X-More", "x-more", "X-Amz-Meta", "Accept", "Content-Type"])
            value = random.choice(["a", "a   b", "", "ü  ß", '"a  b"', "a,b"])
            self.headers.append((name, value))
        self.body = b'{"repositoryName":"team/app"}'

    def make(self):
        before = getattr(self, f"before_{self.change}", None)
        if before:
            before()
        request = self.sign()
        after = getattr(self, f"after_{self.change}", None)
        if after:
            after(request)
        return request

    def sign(self):
        """Signs with botocore, and encodes the query in some other way."""
        signed = AWSRequest("POST", self.url + self.path, data=None)
        signed.headers["Host"] = urllib.parse.urlsplit(self.url).netloc
        for name, value in self.headers:
            signed.headers[name] = value
        key, secret = self.caller["accessKeyId"], self.caller["secretAccessKey"]
        credentials = Credentials(key, secret, self.caller.get("sessionToken"))
        signer, options = SigV4Auth, {}
        # SigV4QueryAuth moves a body into the query, unless it cannot see it.
        signed.prepare = lambda: mock.Mock(body=self.body)
        if self.signing == "query":
            signer, options = SigV4QueryAuth, {"expires": self.expires}
            # It cannot have a name twice, either.
            self.query = list(dict(self.query).items())
            signed.url += "?" + urllib.parse.urlencode(self.query, quote_via=self.quote)
        else:
            signed.params = self.query
        if self.signing == "date":
            signed.headers["Date"] = ""
        auth = signer(credentials, self.signed_service, self.signed_region, **options)
        with mock.patch.object(botocore.auth, "get_current_datetime", lambda: self.time):
            auth.add_auth(signed)
        query = self.query
        if self.signing == "query":
            query = [(n.decode(), v.decode()) for n, v in decoded_query(signed.url.encode())]
        target = self.path + "?" * bool(query)
        target += "&".join(f"{self.encode(name)}={self.encode(value)}" for name, value in query)
        headers = [(name, value.encode()) for name, value in signed.headers.items()]
        return Request("POST", target.encode(), headers, self.body)

    @staticmethod
    def quote(text, *_):
        return urllib.parse.quote(text, safe="-_.~")

    def encode(self, text):
        """One of the encodings of a text in a query."""

        def character(char):
            if char == " ":
                return self.random.choice(["+", "%20"])
            if char.isalnum() or char in "-_.~/*:'()!":
                if self.random.random() < 0.9:
                    return char
            encoded = "".join(f"%{byte:02x}" for byte in char.encode())
            return self.random.choice([encoded, encoded.upper()])

        return "".join(map(character, text))

    # What differs before the request is signed.

    def before_wrong_secret(self):
        self.caller["secretAccessKey"] += "x"

    def before_unknown_key(self):
        self.caller["accessKeyId"] = "AKIDNOBODY"

    def before_wrong_token(self):
        self.caller["sessionToken"] = self.random.choice(["other", "", "token "])

    def before_expired_session(self):
        self.caller = dict(next(caller for caller in self.callers if caller.get("expiration")))

    def before_other_region(self):
        self.signed_region = self.random.choice(["eu-west-1", "US-EAST-1", "*"])

    def before_other_service(self):
        self.signed_service = self.random.choice(["ecr", "ecr-public", "execute-api", "s3"])

    def before_skewed_time(self):
        seconds = self.random.choice([-86400, -960, -840, 840, 960, 86400])
        self.time = self.now + datetime.timedelta(seconds=seconds)

    def before_expires(self):
        self.expires = self.random.choice([0, 1, 600, 604800, 604801, -1, "x", "060"])
        seconds = self.random.choice([-60, 30, 700, 604700, 604900])
        self.time = self.now - datetime.timedelta(seconds=seconds)

    def before_body_hash(self):
        right = hashlib.sha256(self.body).hexdigest()
        body_hash = self.random.choice([right, right, right.upper(), "UNSIGNED-PAYLOAD", "0" * 64])
        self.headers.append(("X-Amz-Content-SHA256", body_hash))

    def before_no_target(self):
        self.headers, self.path = self.headers[1:], self.random.choice(["/", "/DescribeImages"])

    # What happens to the request afterwards.

    def parameter(self, request, name, edit):
        """Edits a parameter of the signature, wherever it is."""
        if self.signing == "query":
            pairs = [(n.decode(), v.decode()) for n, v in decoded_query(request.target)]
            pairs = [(n, edit(v) if n == f"X-Amz-{name}" else v) for n, v in pairs]
            query = urllib.parse.urlencode(pairs, quote_via=self.quote)
            request.target = request.target.partition(b"?")[0] + b"?" + query.encode()
        else:
            text = dict(request.headers)["Authorization"].decode()
            before, _, rest = text.partition(f"{name}=")
            value, comma, after = rest.partition(",")
            text = f"{before}{name}={edit(value)}{comma}{after}"
            self.set(request, "Authorization", text.encode())

    @staticmethod
    def set(request, name, value):
        is_it = lambda other: other.lower() == name.lower()
        request.headers = [(n, value if is_it(n) else v) for n, v in request.headers]

    def after_body(self, request):
        bodies = [b"", b"{}", request.body + b" ", request.body.replace(b"a", b"b")]
        request.body = self.random.choice(bodies)

    def after_method(self, request):
        request.method = self.random.choice(["GET", "PUT", "PROPFIND"])

    def after_path(self, request):
        path, mark, query = request.target.partition(b"?")
        paths = [path + b"x", path + b"/", b"/." + path, b"/x/.." + path, b"/%2e" + path]
        request.target = self.random.choice(paths) + mark + query

    def after_query(self, request):
        more = [b"", b"&x", b"x=1", b"X-Amz-Date=1", b"x-amz-signature=1", b"%zz", b"%FF"]
        request.target += b"&" if b"?" in request.target else b"?"
        request.target += self.random.choice(more)

    def after_value(self, request):
        number = self.random.randrange(len(request.headers))
        name, value = request.headers[number]
        values = [value + b"x", b"\xff" + value, b"  " + value + b" ", b""]
        request.headers[number] = name, self.random.choice(values)

    def after_name(self, request):
        number = self.random.randrange(len(request.headers))
        name, value = request.headers[number]
        name = self.random.choice([name.upper(), name.lower(), f"X-{name}"])
        request.headers[number] = name, value

    def after_duplicate(self, request):
        request.headers.append(self.random.choice(request.headers))

    def after_removed(self, request):
        request.headers.remove(self.random.choice(request.headers))

    def after_order(self, request):
        self.random.shuffle(request.headers)

    def after_spaces(self, request):
        headers = request.headers
        request.headers = [(name, value.replace(b" ", b" \t ") + b" ") for name, value in headers]

    def after_unsigned(self, request):
        names = ["X-Other", "X-Amz-Other", "x-amzn-trace-id", "User-Agent", "Date", "X-Amz-Date"]
        value = self.random.choice([b"a", b"\xff", b""])
        request.headers.append((self.random.choice(names), value))

    def after_credential(self, request):
        def edit(text):
            parts = text.split("/")
            number = self.random.randrange(5)
            part = parts[number]
            parts[number] = self.random.choice(["", part + "/", part.upper(), part[:-1]])
            return "/".join(self.random.choice([parts, parts[:number], parts[number:]]))

        self.parameter(request, "Credential", edit)

    def after_signed_headers(self, request):
        def edit(text):
            names = text.split(";")
            name = self.random.choice(names)
            lists = [";".join(other for other in names if other != name), ";".join(names[::-1])]
            lists += [f"{text};", f"{name};{text}", text.title(), f"{text};zz", "", "ü"]
            return self.random.choice(lists)

        self.parameter(request, "SignedHeaders", edit)

    def after_signature(self, request):
        def edit(text):
            return self.random.choice([text.upper(), text[:-1], text + "0", text[::-1], ""])

        self.parameter(request, "Signature", edit)

    def after_authorization(self, request):
        text = dict(request.headers).get("Authorization", b"AWS4-HMAC-SHA256 Credential=a")
        if self.random.random() < 0.2:
            request.headers.append(("Authorization", text))
        edits = [(b", ", b","), (b", ", b" ,\t "), (b", ", b" "), (b", ", b", ,"), (b"=", b"")]
        edits += [(b", ", b", Other=1, "), (b"Signature=", b"Signature=, Signature=")]
        edits += [(b"AWS4", b"aws4"), (b"SHA256", b"SHA1"), (b"HMAC", b"ECDSA-P256")]
        edits += [(b"256 ", b"256"), (b"256 ", b"256  "), (b"/", b"\xff")]
        self.set(request, "Authorization", text.replace(*self.random.choice(edits)))

    def after_time(self, request):
        formats = ["%Y-%m-%dT%H:%M:%SZ", "%Y%m%d", TIME_FORMAT, "", "%Y%m%dT%H%M60Z"]
        forms = [self.time.strftime(form) for form in formats]
        forms += [email.utils.format_datetime(self.time, usegmt) for usegmt in (False, True)]
        form = self.random.choice(forms)
        if self.signing == "query":
            self.parameter(request, "Date", lambda _: form)
        else:
            self.set(request, "X-Amz-Date" if self.signing == "header" else "Date", form.encode())


CHANGES = ["nothing"] + sorted(
    name.partition("_")[2] for name in vars(Case) if name.startswith(("before_", "after_"))
)
