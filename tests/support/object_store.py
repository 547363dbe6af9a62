"""An object store that keeps small files in memory."""

import hashlib
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "bucket"


def etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


class Store(BaseHTTPRequestHandler):
    """The part of the S3 protocol that reading and writing small files needs.

    Source: docs.aws.amazon.com/AmazonS3/latest/API: ListObjectsV2, HeadObject, GetObject, PutObject, DeleteObject.
    """

    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        _, bucket, *key = unquote(url.path).split("/", 2)
        query = parse_qs(url.query)
        if bucket != BUCKET:
            self.answer(404, b"")
        elif "list-type" in query:
            self.answer(200, self.listing(query.get("prefix", [""])[0]))
        elif key and key[0] in self.objects:
            data = self.objects[key[0]]
            first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
            self.answer(200, data[int(first) : int(last) + 1 if last else None], ETag=etag(data))
        else:
            self.answer(404, b"")

    def do_DELETE(self) -> None:
        del self.objects[unquote(urlsplit(self.path).path).split("/", 2)[2]]
        self.answer(204, b"")

    def do_PUT(self) -> None:
        _, bucket, key = unquote(urlsplit(self.path).path).split("/", 2)
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if bucket != BUCKET:
            self.answer(403, b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")
            return
        self.objects[key] = data
        self.answer(200, b"", ETag=etag(data))

    def listing(self, prefix: str) -> bytes:
        found = "".join(
            f"<Contents><Key>{escape(key)}</Key><ETag>{escape(etag(data))}</ETag><Size>{len(data)}</Size>"
            "<LastModified>2025-01-01T00:00:00.000Z</LastModified><StorageClass>STANDARD</StorageClass></Contents>"
            for key, data in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        return (
            '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{BUCKET}</Name><IsTruncated>false</IsTruncated>{found}</ListBucketResult>"
        ).encode()

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Last-Modified", "Wed, 01 Jan 2025 00:00:00 GMT")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class IdentityStore(Store, BaseHTTPRequestHandler):
    """An object store with a token service, as workload identity uses it.

    Source: docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html.
    """

    keys: set[str]

    def do_GET(self) -> None:
        self.keys.add(self.headers["Authorization"].split("Credential=")[1].split("/")[0])
        super().do_GET()

    def do_POST(self) -> None:
        asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        assert asked["WebIdentityToken"] == ["token of the pod"]
        expires = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        fields = {"AccessKeyId": "of-the-role", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": expires}
        credentials = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
        self.answer(
            200,
            "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>"
            f"{credentials}</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>".encode(),
        )
