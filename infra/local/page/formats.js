// Values of images as people read them.

const INDEX_MEDIA_TYPES = new Set([
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
]);

const IMAGE_CONFIGURATIONS = new Set([
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
]);

const SEVERITIES = ["CRITICAL", "HIGH", "MEDIUM", "LOW", "INFORMATIONAL", "UNDEFINED", "UNTRIAGED"];

/** `index`, `image` or `artifact`. */
export function kind(image) {
    if (INDEX_MEDIA_TYPES.has(image.imageManifestMediaType)) {
        return "index";
    }
    const { artifactMediaType: type, subjectManifestDigest: subject } = image;
    return subject || (type && !IMAGE_CONFIGURATIONS.has(type)) ? "artifact" : "image";
}

/** In units of 1000, with three digits. */
export function size(bytes) {
    const units = ["B", "kB", "MB", "GB", "TB"];
    let unit = 0;
    while (bytes >= 999.5 && unit < units.length - 1) {
        bytes /= 1000;
        unit += 1;
    }
    const decimals = unit === 0 || bytes >= 99.95 ? 0 : bytes >= 9.995 ? 1 : 2;
    return `${bytes.toFixed(decimals)} ${units[unit]}`;
}

/** A time in epoch seconds, such as `2026-11-30 14:05:12 UTC`. */
export function exactTime(seconds) {
    return new Date(seconds * 1000).toISOString().replace("T", " ").replace(/\.\d+Z$/, " UTC");
}

/** How long ago a time is; of one more than 30 days ago the day. */
export function age(seconds, now = Date.now() / 1000) {
    const elapsed = Math.max(0, now - seconds);
    const count = (length, name) => {
        const number = Math.floor(elapsed / length);
        return `${number} ${name}${number === 1 ? "" : "s"} ago`;
    };
    if (elapsed < 60) return "just now";
    if (elapsed < 3600) return count(60, "minute");
    if (elapsed < 86400) return count(3600, "hour");
    if (elapsed < 30 * 86400) return count(86400, "day");
    return exactTime(seconds).slice(0, 10);
}

/** How long ago a time is, and the time. */
export function ageAndTime(seconds) {
    const [text, exact] = [age(seconds), exactTime(seconds)];
    return exact.startsWith(text) ? exact : `${text} (${exact})`;
}

/** The first 12 digits. */
export function shortDigest(digest) {
    const [algorithm, digits = ""] = digest.split(":");
    return `${algorithm}:${digits.slice(0, 12)}`;
}

/** The findings of a scan, the most severe first: pairs of severity and number. */
export function findings(image) {
    const counts = image.imageScanFindingsSummary?.findingSeverityCounts ?? {};
    const rank = (severity) => {
        const index = SEVERITIES.indexOf(severity);
        return index < 0 ? SEVERITIES.length : index;
    };
    return Object.entries(counts)
        .filter(([, number]) => number > 0)
        .sort(([one], [other]) => rank(one) - rank(other));
}

/** A value of an enumeration, such as `SCAN_ELIGIBILITY_EXPIRED`, as words. */
export function words(value) {
    const text = value.toLowerCase().replaceAll("_", " ");
    return text.charAt(0).toUpperCase() + text.slice(1);
}
