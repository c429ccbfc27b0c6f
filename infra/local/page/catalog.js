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

/** Signatures of a clock that differs by more are refused, or soon will be. */
const MAX_CLOCK_DIFFERENCE_MILLISECONDS = 300_000;

/** The access key is kept in this tab only, and only until it is closed. */
const STORED_CREDENTIALS = "credentials";

const setting = (name) => document.querySelector(`meta[name="${name}"]`).content;

export const region = setting("region");

/** Whether callers must sign. */
export const requiresSignature = setting("requires-signature") === "true";

/** Only some catalogs need it. As if imported, it is there before the page shows anything. */
const { sign } = requiresSignature ? await import("./signature.js") : {};

/** The service name in signatures; that of the request if it is empty. */
export const signingName = setting("signing-name");

/** How far the clock of the catalog is ahead, in milliseconds, as far as it matters. */
let clockOffset = 0;

/**
 * An error that the catalog returned. Without a name: no usable response arrived. `time` is that of
 * the catalog, in epoch milliseconds.
 */
export class CatalogError extends Error {
    constructor(name, message, time) {
        super(message);
        this.name = name;
        this.time = time;
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
export function request(service, operation, members, signal) {
    const headers = {
        "content-type": "application/x-amz-json-1.1",
        "x-amz-target": `${TARGETS[service]}.${operation}`,
    };
    const body = JSON.stringify(members);
    return send({ method: "POST", path: "/", headers, body, service }, signal);
}

/** Sends a request, signed for a service. As in the SDKs, a wrong clock is corrected once. */
export async function send(request, signal) {
    const usedOffset = clockOffset;
    try {
        return await sendOnce(request, signal);
    } catch (error) {
        const offset = error.time - Date.now();
        const isWrong = Math.abs(offset - usedOffset) > MAX_CLOCK_DIFFERENCE_MILLISECONDS;
        if (!error.isRefusedSignature || !isWrong) {
            throw error;
        }
        clockOffset = offset;
        return sendOnce(request, signal);
    }
}

async function sendOnce({ method, path, headers, body, service }, signal) {
    if (requiresSignature) {
        headers = await sign({
            method, path, host: location.host, headers, body,
            time: new Date(Date.now() + clockOffset),
            region,
            service: signingName || service,
            credentials: credentials(),
        });
    }
    let response, result;
    try {
        signal = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MILLISECONDS)]);
        response = await fetch(path, {
            method, headers, body, signal, cache: "no-store", redirect: "error",
        });
        result = await response.json();
    } catch (error) {
        if (error.name === "AbortError") {
            throw error;
        }
        if (error.name !== "SyntaxError") {
            throw new CatalogError("", "The catalog does not respond.");
        }
    }
    if (response.ok && result) {
        return result;
    }
    const message = result?.message ?? `The response has the status ${response.status}.`;
    const time = Date.parse(response.headers.get("date"));
    throw new CatalogError(result?.__type ?? "", message, time);
}
