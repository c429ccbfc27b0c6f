// What the page shows, and when: by its address, after input, and again every few seconds.

import { firstPage, format, parse } from "./address.js";
import { CatalogError, credentials, requiresSignature, setCredentials } from "./catalog.js";
import { element, failure } from "./elements.js";
import { exactTime } from "./formats.js";
import * as image from "./image.js";
import * as images from "./images.js";
import { patchChildren } from "./patch.js";
import * as repositories from "./repositories.js";
import { endSearch } from "./search.js";
import * as signIn from "./sign-in.js";

/** The pause between two reads, and the longest pause after errors. */
const REFRESH_MILLISECONDS = 3_000;
const MAX_REFRESH_MILLISECONDS = 60_000;

/** How long typing must pause before a search begins. */
const TYPING_MILLISECONDS = 200;

const TOAST_MILLISECONDS = 2_500;
const HIGHLIGHT_MILLISECONDS = 3_000;

/** How long after the page was loaded anew for signatures it is not loaded anew once more. */
const RELOAD_MILLISECONDS = 60_000;

/** The page signs for the region and the service that the catalog had when the page was loaded. */
const WRONG_SCOPE = "Credential should be scoped";

/** After these errors, what was read before is still shown, and is read again. */
const TEMPORARY_ERRORS = new Set(["", "ServerException", "ThrottlingException"]);

const [main, announcer, toast, live, session] =
    ["main", "announcer", "toast", "live", "session"].map((id) => document.getElementById(id));

/** What is to be shown. */
let address;
/** What was read: `data`, the `time` of that read, and the `error` of a later one. */
let content = {};
let reading = new AbortController();
let delay = REFRESH_MILLISECONDS;
let refreshing;
let typing;
let toasting;

/** The values that the address gave to controls. What was entered since stays. */
const applied = new WeakMap();

let failures = 0;

/** The status is in a file that is loaded when it is opened. */
const status = {
    title: () => "Status",
    isLive: () => true,
    async read(...given) {
        // Some browsers keep a failure: another address is tried again.
        const view = await import(`./status.js?${failures}`).catch(() => {
            failures += 1;
            throw new CatalogError("", "A file of this page could not be loaded.");
        });
        return Object.assign(status, view).read(...given);
    },
    draw: (_, data, error) => [
        element("div", { class: "heading" }, element("h1", { tabindex: "-1" }, "Status")),
        ...error ? [failure(error)] : [],
    ],
};

function viewOf({ service, repository, image: name }) {
    return service === "status" ? status
        : repository === undefined ? repositories : name === undefined ? images : image;
}

/** Goes to the address of the browser. */
function navigate() {
    clearTimeout(typing);
    const before = address;
    address = parse(location.hash);
    const place = (address) => images.imageFragment(address, address.image);
    const isElsewhere = !before || place(before) !== place(address);
    for (const link of document.querySelectorAll("#views a")) {
        const { service } = link.dataset;
        link.href = format({ service, registry: address.registry });
        link.ariaCurrent = service === address.service ? "page" : null;
    }
    document.title = `${viewOf(address).title(address)} · Image catalog`;
    if (isElsewhere) {
        content = {};
        draw();
    }
    if (before && (isElsewhere || before.after !== address.after)) {
        scrollTo(0, 0);
        main.querySelector("h1")?.focus({ preventScroll: true });
    }
    load("navigation");
}

/** Reads what is to be shown, and shows it. The cause is `navigation`, `typing` or `refresh`. */
async function load(cause) {
    clearTimeout(refreshing);
    reading.abort();
    reading = new AbortController();
    const { signal } = reading;
    const view = viewOf(address);
    session.hidden = !credentials();
    session.firstElementChild.textContent = credentials()?.accessKeyId ?? "";
    if (requiresSignature && !credentials()) {
        requestAccessKey();
        return;
    }
    main.ariaBusy = cause !== "refresh";
    // What a refresh is compared with. A search is not live, and shows more as it goes on.
    const before = cause === "refresh" && view.isLive(address) && content.data
        && { keys: rows().map(({ dataset }) => dataset.key), nextToken: content.data.nextToken };
    const keep = (data) => content = { data, time: Date.now() / 1000 };
    try {
        const data = await view.read(address, signal, (data) => {
            keep(data);
            draw();
        });
        signal.throwIfAborted();
        delay = REFRESH_MILLISECONDS;
        keep(data);
    } catch (error) {
        if (signal.aborted) {
            return;
        }
        if (!(error instanceof CatalogError)) {
            throw error;
        }
        const isOutdated = !requiresSignature || error.message.startsWith(WRONG_SCOPE);
        if (error.isRefusedSignature && isOutdated && reload()) {
            return;
        }
        if (error.isRefusedSignature && requiresSignature) {
            setCredentials(undefined);
            session.hidden = true;
            requestAccessKey(error);
            return;
        }
        const isTemporary = TEMPORARY_ERRORS.has(error.name);
        delay = isTemporary ? Math.min(2 * delay, MAX_REFRESH_MILLISECONDS) : REFRESH_MILLISECONDS;
        content = isTemporary && cause === "refresh" ? { ...content, error } : { error };
    }
    draw();
    if (before) {
        showNew(before);
    } else if (content.data && !content.error) {
        announcer.textContent = view.summary(content.data);
    }
    main.ariaBusy = false;
    const { name } = content.error ?? {};
    const isTemporary = TEMPORARY_ERRORS.has(name);
    live.hidden = name === undefined ? !view.isLive(address)
        : !isTemporary && !name.endsWith("NotFoundException");
    live.dataset.state = isTemporary ? "failed" : "live";
    live.textContent = isTemporary ? "Retrying" : "Live";
    if (!live.hidden) {
        refreshing = setTimeout(() => document.hidden || load("refresh"), delay);
    }
}

function draw() {
    const view = viewOf(address);
    const { data, error, time } = content;
    const stale = data && error && element("p", {
        class: "stale", role: "alert", "data-key": "stale",
    }, error.name && element("strong", {}, error.name),
        ` ${error.message} What follows is of ${exactTime(time)}.`);
    const hadFocus = main.contains(document.activeElement);
    const drawn = view.draw(address, data, data ? undefined : error);
    patchChildren(main, stale ? [stale, ...drawn] : drawn);
    for (const control of main.querySelectorAll("[data-value]")) {
        const { value } = control.dataset;
        if (applied.get(control) !== value) {
            applied.set(control, value);
            control.value = value;
        }
    }
    if (hadFocus && !main.contains(document.activeElement)) {
        main.querySelector("h1").focus({ preventScroll: true });
    }
}

function rows() {
    return [...main.querySelectorAll("tbody tr")];
}

/** Points out the rows that came with a refresh of the first page. */
function showNew({ keys, nextToken }) {
    const isKnown = ({ dataset }) => keys.includes(dataset.key);
    const shown = rows();
    // What follows the last known row was on the next page, if there was one.
    const end = nextToken ? shown.findLastIndex(isKnown) : shown.length;
    const added = shown.slice(0, Math.max(0, end)).filter((row) => !isKnown(row));
    if (added.length === 0 || address.after) {
        return;
    }
    announcer.textContent = `New: ${viewOf(address).count(added.length)}`;
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
        return;
    }
    for (const row of added) {
        const color = getComputedStyle(row).getPropertyValue("--highlight");
        row.animate([{ backgroundColor: color }, {}], HIGHLIGHT_MILLISECONDS);
    }
}

/** Asks for an access key. What another one read is forgotten. */
function requestAccessKey(error) {
    clearTimeout(typing);
    endSearch();
    content = {};
    live.hidden = true;
    main.ariaBusy = false;
    patchChildren(main, [signIn.draw(error)]);
    (main.querySelector("input") ?? main.querySelector("h1")).focus();
}

/**
 * Loads the page anew: since it was loaded, the catalog was started with other options. If that
 * was done just before, it does not help, and the result is `false`.
 */
function reload() {
    const now = Date.now();
    if (now - Number(sessionStorage.getItem("reloaded")) < RELOAD_MILLISECONDS) {
        return false;
    }
    sessionStorage.setItem("reloaded", now);
    location.reload();
    return true;
}

/** Searches. The browser's Back leads to what was shown before the search. */
function search(text) {
    const wanted = text.trim();
    if (!wanted && !address.search) {
        return;
    }
    const change = address.search ? "replaceState" : "pushState";
    address = firstPage({ ...address, search: wanted });
    applied.set(document.getElementById("search"), wanted);
    history[change](null, "", format(address));
    load("typing");
}

async function copy(text) {
    let isCopied = true;
    try {
        await navigator.clipboard.writeText(text);
    } catch {
        isCopied = copySelection(text);
    }
    clearTimeout(toasting);
    toast.textContent = isCopied ? `Copied: ${text}` : "Could not copy";
    toasting = setTimeout(() => toast.textContent = "", TOAST_MILLISECONDS);
}

/** Pages that are neither from https nor from this computer have no clipboard of their own. */
function copySelection(text) {
    const focused = document.activeElement;
    const area = element("textarea", { class: "unseen" });
    area.value = text;
    document.body.append(area);
    area.select();
    const isCopied = document.execCommand("copy");
    area.remove();
    focused.focus({ preventScroll: true });
    return isCopied;
}

const SUBMITTED = {
    search: ({ search: text }) => search(text),
    open: ({ repository }) => go({ repository: repository.trim() }),
    image: ({ image: name }) => go({ repository: address.repository, image: name.trim() }),
    "sign-in": (entered) => {
        const trimmed = Object.entries(entered).map(([name, value]) => [name, value.trim()]);
        setCredentials(Object.fromEntries(trimmed));
        load("navigation");
    },
};

const CHANGED = {
    registry: (registry) => go({ registry: registry.trim() }),
    tagStatus: (tagStatus) => filter({ tagStatus }),
    imageStatus: (imageStatus) => filter({ imageStatus }),
};

/** Goes to an address in the same service and registry. */
function go(place) {
    const { service, registry } = address;
    location.hash = format({ service, registry, ...place });
}

function filter(statuses) {
    location.hash = format(firstPage({ ...address, ...statuses }));
}

main.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(typing);
    const form = event.target;
    SUBMITTED[form.getAttribute("name")]?.(Object.fromEntries(new FormData(form)));
});
main.addEventListener("change", ({ target }) => CHANGED[target.name]?.(target.value));
main.addEventListener("input", ({ target }) => {
    if (target.name === "search") {
        clearTimeout(typing);
        typing = setTimeout(search, TYPING_MILLISECONDS, target.value);
    }
});
main.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-copy]");
    if (button) {
        copy(button.dataset.copy);
    }
});
document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
});
document.getElementById("sign-out").addEventListener("click", () => {
    setCredentials(undefined);
    load("navigation");
});
document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !live.hidden && main.ariaBusy !== "true") {
        load("refresh");
    }
});
addEventListener("hashchange", navigate);
navigate();
