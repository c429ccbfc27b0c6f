// The status of the catalog: deliveries, refusals, pending lookups and reconciliations. The page
// loads this file when the status is opened.

import { send } from "./catalog.js";
import { element, failure, number, table, time } from "./elements.js";
import { age, exactTime } from "./formats.js";

/** Refusals that are shown. The catalog keeps ten of each source. */
const MAX_REFUSALS = 50;

export function read(address, signal) {
    // The catalog takes signatures for either service.
    return send({ method: "GET", path: "/status", headers: {}, service: "ecr" }, signal);
}

export const count = (length) => number(length, "entry", "entries");

export function summary({ sources, registries }) {
    const registryCount = number(registries.length, "registry", "registries");
    return `${number(sources.length, "source")}, ${registryCount}`;
}

export function draw(address, data, error) {
    return [
        element("div", { class: "heading" },
            element("h1", { tabindex: "-1" }, "Status"),
            data && element("p", { class: "facts" },
                element("span", {}, `Version ${data.version}`),
                element("span", {}, "Running since ", exact(data.since)))),
        element("div", { class: "content" },
            error ? drawFailure(error) : data ? drawParts(data) : []),
    ];
}

function drawFailure(error) {
    return failure(error, error.name === "AccessDeniedException" && element("p", {},
        "The status is for callers who may read all repositories."));
}

function drawParts(data) {
    const clock = clockOf(data);
    return [
        data.tableError !== undefined && element("div", { class: "part", "data-key": "error" },
            failure({ name: "The table cannot be read", message: data.tableError })),
        drawSources(data, clock),
        drawRefusals(data, clock),
        drawLookups(data, clock),
        drawReconciliations(data, clock),
    ];
}

function drawSources({ sources }, { ago }) {
    const columns = [
        { title: "Source", name: "name" },
        { title: "Subscription", name: "text" },
        { title: "Last delivery", name: "time" },
        ...["Deliveries", "Applied", "Ignored", "Too late", "Malformed", "Refused"].map(ofNumbers),
    ];
    const rows = sources.map((source) => ({
        key: `source ${source.source} ${source.subscription}`,
        cells: [
            source.source,
            source.subscription,
            source.lastDelivery ? ago(source.lastDelivery) : "none yet",
            digits(source.deliveries),
            digits(source.applied),
            digits(source.ignored),
            digits(source.tooLate),
            digits(source.malformed),
            digits(source.refused),
        ],
    }));
    return part("Sources", "Deliveries and their events since the start, by source",
        "No delivery yet", columns, rows);
}

/** Those of all sources, the newest first. */
function drawRefusals({ sources }, { ago }) {
    const columns = [
        { title: "Time", name: "time" },
        { title: "Source" },
        { title: "Subscription", name: "text" },
        { title: "Status", name: "status" },
        { title: "Reason", name: "text" },
    ];
    const refusals = sources.flatMap(({ source, subscription, refusals }) => {
        return refusals.map((refusal) => ({ source, subscription, ...refusal }));
    });
    refusals.sort((one, other) => seconds(other.time) - seconds(one.time));
    const rows = refusals.slice(0, MAX_REFUSALS).map((refusal) => ({
        key: `refusal ${refusal.time} ${refusal.source} ${refusal.subscription}`,
        cells: [
            ago(refusal.time), refusal.source, refusal.subscription, String(refusal.status),
            refusal.reason,
        ],
    }));
    return part("Last refusals", "Deliveries that were refused or have malformed events, "
        + "the newest first", "No refusal since the start", columns, rows);
}

function drawLookups({ pendingLookups }, { ago }) {
    const columns = [
        { title: "Registry", name: "name" },
        { title: "Subscription", name: "text" },
        { title: "Oldest", name: "time" },
        ofNumbers("Number"),
    ];
    const rows = pendingLookups.map(({ registry, subscription, oldest, number: pending }) => ({
        key: `lookups ${registry} ${subscription}`,
        cells: [registry, subscription, oldest && ago(oldest), digits(pending)],
    }));
    return part("Pending lookups", "Pending lookups of manifests, by registry",
        "No lookup is pending", columns, rows);
}

/** What remains is what `image-catalog status` calls so: it includes what failed. */
function drawReconciliations({ registries }, { ago, until }) {
    const columns = [
        { title: "Registry", name: "name" },
        { title: "Last time", name: "time" },
        ...["Repositories", "Drift", "Repaired", "Remaining", "Failed"].map(ofNumbers),
        { title: "Error", name: "text" },
        { title: "Next due", name: "time" },
    ];
    const rows = registries.map((registry) => {
        const { id, lastReconcile: last, nextReconcile: next, runningSince } = registry;
        const hasName = id.includes(registry.registry);
        return {
            key: `registry ${id}`,
            cells: [
                hasName ? id : element("span", {}, `${id} `,
                    element("span", { class: "hint" }, registry.registry)),
                last ? ago(last.endedAt) : "never",
                ...last ? [
                    digits(last.repositories),
                    digits(last.drift),
                    digits(last.repaired),
                    digits(last.notRepaired + last.kept + last.skipped + last.failed),
                    digits(last.failed),
                ] : Array(5).fill(undefined),
                last?.error,
                runningSince ? time(seconds(runningSince), "running")
                    : next ? until(next) : "not scheduled",
            ],
        };
    });
    return part("Reconciliations", "The last and the next reconciliation with each registry",
        "No registry to reconcile with", columns, rows);
}

/** A table with its heading, or what is shown in place of an empty one. */
function part(title, caption, empty, columns, rows) {
    // Keys that are the same, such as those of refusals at the same time, are numbered.
    const keys = new Map();
    const keyed = rows.map(({ key, cells }) => {
        const before = keys.get(key) ?? 0;
        keys.set(key, before + 1);
        return {
            key: before > 0 ? `${key} ${before}` : key,
            cells: cells.map((cell, index) => index > 0 ? labelled(columns[index], cell) : cell),
        };
    });
    return element("section", { class: "part", "data-key": title },
        element("h2", {}, title),
        rows.length > 0 ? table(caption, columns, keyed)
            : element("p", { class: "notice hint" }, empty));
}

/** A narrow screen has no headers of columns. There each value has a label. */
function labelled({ title }, cell) {
    return cell !== undefined && [
        element("span", { class: "label", "aria-hidden": "true" }, `${title} `), cell,
    ];
}

/** Numbers are drawn as sizes are. */
function ofNumbers(title) {
    return { title, name: "size" };
}

function digits(value) {
    return value.toLocaleString("en");
}

function seconds(text) {
    return Date.parse(text) / 1000;
}

function exact(text) {
    return time(seconds(text), exactTime(seconds(text)));
}

/** Times as seen from that of the response: the clock of the browser may be wrong. */
function clockOf(data) {
    const now = seconds(data.time);
    return {
        ago: (text) => time(seconds(text), age(seconds(text), now)),
        until: (text) => time(seconds(text), remaining(seconds(text) - now)),
    };
}

/** How long it is until a time. */
function remaining(left) {
    if (left <= 0) return "now";
    if (left < 60) return "in less than a minute";
    if (left < 3600) return `in ${number(Math.floor(left / 60), "minute")}`;
    if (left < 86400) return `in ${number(Math.floor(left / 3600), "hour")}`;
    return `in ${number(Math.floor(left / 86400), "day")}`;
}
