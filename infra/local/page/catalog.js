// The API of the catalog, and the access key of its caller.

const TARGETS = {
    ecr: "AmazonEC2ContainerRegistry_V20150921",
    "ecr-public": "SpencerFrontendService",
};

/** The errors that another access key, or a new session, may cure. */
const REFUSED_SIGNATURES = new Set([
    "ExpiredTokenException", "IncompleteSignatureException", "InvalidSignatureException",
    "MissingAuthenticationTokenException", "UnrecognizedClientException",
]);

const TIMEOUT_MILLISECONDS = 60_000;

/** The access key is kept in this tab only, and only until it is closed. */
const STORED_CREDENTIALS = "credentials";

const setting = (name) => document.querySelector(`meta[name="${name}"]`).content;

export const region = setting("region");

/** Whether callers must sign. */
export const requiresSignature = setting("requires-signature") === "true";

/** The service name in signatures; that of the request if it is empty. */
const signingName = setting("signing-name");

/** An error of the catalog, in its words; without a name, one on the way to it. */
export class CatalogError extends Error {
    constructor(name, message) {
        super(message);
        this.name = name;
    }

    get isRefusedSignature() {
        return REFUSED_SIGNATURES.has(this.name);
    }
}

export function credentials() {
    const stored = sessionStorage.getItem(STORED_CREDENTIALS);
    return stored ? JSON.parse(stored) : undefined;
}

/** Replaces the access key; `undefined` removes it. */
export function setCredentials(value) {
    if (value) {
        sessionStorage.setItem(STORED_CREDENTIALS, JSON.stringify(value));
    } else {
        sessionStorage.removeItem(STORED_CREDENTIALS);
    }
}

/** Sends a request of an operation. */
export async function request(service, operation, members, signal) {
    const body = JSON.stringify(members);
    let headers = {
        "content-type": "application/x-amz-json-1.1",
        "x-amz-target": `${TARGETS[service]}.${operation}`,
    };
    if (requiresSignature) {
        const { sign } = await import("./signature.js");
        const { host, ...signed } = await sign({
            headers: { ...headers, host: location.host },
            body,
            time: new Date(),
            region,
            service: signingName || service,
            credentials: credentials(),
        });
        headers = signed;
    }
    let response, text;
    try {
        signal = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MILLISECONDS)]);
        response = await fetch("/", {
            method: "POST", headers, body, signal, cache: "no-store", redirect: "error",
        });
        text = await response.text();
    } catch (error) {
        if (error.name === "AbortError") {
            throw error;
        }
        throw new CatalogError("", "The catalog does not respond.");
    }
    const result = parse(text);
    if (response.ok && result) {
        return result;
    }
    const message = result?.message ?? `The response has the status ${response.status}.`;
    throw new CatalogError(result?.__type ?? "", message);
}

function parse(text) {
    try {
        return JSON.parse(text);
    } catch {
        return undefined;
    }
}
