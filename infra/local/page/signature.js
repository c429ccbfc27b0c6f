// AWS Signature Version 4 of a request without a query.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

const ALGORITHM = "AWS4-HMAC-SHA256";
const TERMINATOR = "aws4_request";

/** The headers of a request, with its signature. The browser itself sends that of the host. */
export async function sign({
    method, path, host, headers, body = "", time, region, service, credentials,
}) {
    const timestamp = time.toISOString().replace(/[-:]|\.\d+/g, "");
    const date = timestamp.slice(0, 8);
    const sent = { ...headers, "x-amz-date": timestamp };
    if (credentials.sessionToken) {
        sent["x-amz-security-token"] = credentials.sessionToken;
    }
    const signed = { ...sent, host };
    const scope = [date, region, service, TERMINATOR];
    const request = canonicalRequest(method, path, signed, await sha256(body));
    const text = [ALGORITHM, timestamp, scope.join("/"), await sha256(request)].join("\n");
    let key = bytes(`AWS4${credentials.secretAccessKey}`);
    for (const part of scope) {
        key = await hmac(key, part);
    }
    const signature = hexadecimal(await hmac(key, text));
    return {
        ...sent,
        authorization: `${ALGORITHM} Credential=${credentials.accessKeyId}/${scope.join("/")}, `
            + `SignedHeaders=${signedHeaders(signed)}, Signature=${signature}`,
    };
}

/** The names of the headers are in lower case. */
export function canonicalRequest(method, path, headers, payloadHash) {
    const lines = Object.keys(headers).sort().map((name) => {
        return `${name}:${String(headers[name]).trim().replace(/[ \t]+/g, " ")}\n`;
    });
    return [method, path, "", lines.join(""), signedHeaders(headers), payloadHash].join("\n");
}

function signedHeaders(headers) {
    return Object.keys(headers).sort().join(";");
}

async function sha256(text) {
    return hexadecimal(await crypto.subtle.digest("SHA-256", bytes(text)));
}

async function hmac(key, text) {
    const algorithm = { name: "HMAC", hash: "SHA-256" };
    const imported = await crypto.subtle.importKey("raw", key, algorithm, false, ["sign"]);
    return crypto.subtle.sign("HMAC", imported, bytes(text));
}

function bytes(text) {
    return new TextEncoder().encode(text);
}

function hexadecimal(buffer) {
    const digits = (byte) => byte.toString(16).padStart(2, "0");
    return Array.from(new Uint8Array(buffer), digits).join("");
}
