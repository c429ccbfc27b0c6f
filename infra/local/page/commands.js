// Commands for a shell that do what the page shows.

import { region, requiresSignature, signingName } from "./catalog.js";

/** A word as POSIX shells read it: what they could expand or split is quoted. */
export function quote(word) {
    const isPlain = /^[\w@%+:,./-][\w@%+=:,./-]*$/.test(word);
    return isPlain ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** The AWS CLI's command for a request to this catalog. It signs for the service alone. */
export function awsCommand(service, operation, parameters) {
    if (signingName && signingName !== service) {
        return undefined;
    }
    const words = ["aws", service, operation];
    for (const [name, value] of Object.entries(parameters)) {
        if (value !== undefined) {
            words.push(`--${name}`, quote(String(value)));
        }
    }
    words.push("--endpoint-url", quote(location.origin), "--region", quote(region));
    if (!requiresSignature) {
        words.push("--no-sign-request");
    }
    return words.join(" ");
}

/** The JMESPath expression of the repositories whose names contain a text. */
export function searchQuery(text) {
    const literal = JSON.stringify(text).replaceAll("`", "\\`");
    return `repositories[?contains(repositoryName, \`${literal}\`)]`;
}

/** The reference of an image by its first tag, or by its digest. */
export function reference(repositoryUri, image) {
    const [tag] = image.imageTags ?? [];
    return tag ? `${repositoryUri}:${tag}` : digestReference(repositoryUri, image);
}

export function digestReference(repositoryUri, image) {
    return `${repositoryUri}@${image.imageDigest}`;
}

/** Docker pulls indexes and images. Of other artifacts the reference alone is of use. */
export function pullCommand(reference, kind) {
    return kind === "artifact" ? reference : `docker pull ${quote(reference)}`;
}
