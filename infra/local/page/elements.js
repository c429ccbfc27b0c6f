// Elements that several views have. Data becomes text and attributes, never markup.

import { firstPage, format, pageNumber } from "./address.js";
import { age, exactTime } from "./formats.js";

const SVG = "http://www.w3.org/2000/svg";

/** An element. Children and attributes that are `undefined` or `false` are left out. */
export function element(name, attributes, ...children) {
    return fill(document.createElement(name), attributes, children);
}

function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes ?? {})) {
        if (value !== undefined && value !== false) {
            node.setAttribute(name, value === true ? "" : value);
        }
    }
    node.append(...children.flat().filter((child) => child !== undefined && child !== false));
    return node;
}

/** A button that copies a text. `what` names it. */
export function copyButton(text, what, ...label) {
    const shape = (name, attributes) => {
        return fill(document.createElementNS(SVG, name), attributes, []);
    };
    const icon = fill(document.createElementNS(SVG, "svg"), {
        viewBox: "0 0 16 16", width: "14", height: "14", "aria-hidden": "true",
    }, [
        shape("rect", { x: "5.5", y: "5.5", width: "8", height: "8", rx: "1.5" }),
        shape("path", {
            d: "M10.5 3.5v-.5A1.5 1.5 0 0 0 9 1.5H3A1.5 1.5 0 0 0 1.5 3v6A1.5 1.5 0 0 0 3 10.5h.5",
        }),
    ]);
    return element("button", {
        type: "button", class: "copy", "data-copy": text, "aria-label": `Copy ${what}`,
        title: text,
    }, icon, label);
}

/** A text to read and to copy, if there is one. */
export function command(label, text) {
    return text !== undefined && element("section", { class: "command", "aria-label": label },
        element("h2", {}, label),
        element("div", {},
            element("code", { tabindex: "0", role: "group", "aria-label": label }, text),
            copyButton(text, label, "Copy")));
}

/** A time in epoch seconds. */
export function time(seconds, text = age(seconds)) {
    return element("time", {
        datetime: new Date(seconds * 1000).toISOString(), title: exactTime(seconds),
    }, text);
}

/**
 * A table. The first cell of a row is its header. On a narrow screen each row is a block of its
 * own; browsers then need the roles.
 */
export function table(caption, columns, rows) {
    return element("table", { role: "table" },
        element("caption", { class: "unseen" }, caption),
        element("thead", { role: "rowgroup" }, element("tr", { role: "row" },
            columns.map(({ title, name }) => element("th", {
                role: "columnheader", scope: "col", class: name,
            }, title)))),
        element("tbody", { role: "rowgroup" }, rows.map(({ key, cells }) => {
            return element("tr", { role: "row", "data-key": key }, cells.map((cell, index) => {
                const { name } = columns[index];
                return index === 0
                    ? element("th", { role: "rowheader", scope: "row", class: name }, cell)
                    : element("td", { role: "cell", class: name }, cell);
            }));
        })));
}

/** The tokens of the pages that were shown, by their numbers, of one listing. */
const tokens = { listing: "", pages: new Map() };

/** What a page has, and the links to its neighbours. An empty listing has none. */
export function pager(address, length, count, nextToken) {
    const number = pageNumber(address);
    const listing = format(firstPage(address));
    if (tokens.listing !== listing) {
        tokens.listing = listing;
        tokens.pages.clear();
    }
    if (number > 1) {
        tokens.pages.set(number, address.after);
    }
    const page = (number, after) => format({ ...address, page: String(number), after });
    // A link that has the focus can become disabled: it stays focusable.
    const disabled = { role: "link", "aria-disabled": "true", tabindex: "-1" };
    const link = (label, fragment, rel) => {
        return element("a", fragment ? { href: fragment, rel } : disabled, label);
    };
    let previous = number > 1 && tokens.pages.get(number - 1);
    previous = number === 2 ? listing : previous && page(number - 1, previous);
    const next = nextToken && page(number + 1, nextToken);
    if (number === 1 && !nextToken) {
        return element("p", { class: "pager" }, element("span", { class: "count" },
            length > 0 && count));
    }
    return element("nav", { class: "pager", "aria-label": "Pages" },
        element("span", { class: "count" }, `${count} · page ${number}`),
        link("First", number > 1 && listing, "first"),
        link("Previous", previous, "prev"),
        link("Next", next, "next"));
}

/** On a later page, the link out of one that is empty, or whose token is not valid. */
export function firstPageLink(address) {
    return address.after && element("p", {},
        element("a", { href: format(firstPage(address)) }, "First page"));
}

/** What the page shows in place of a list. */
export function notice(title, ...content) {
    return element("div", { class: "notice" }, element("h2", {}, title), content);
}

/** An error with the name and the message that the API returns. */
export function failure(error, ...content) {
    return element("div", { class: "notice failure", role: "alert" },
        element("h2", {}, error.name || "Error"), element("p", {}, error.message), content);
}

export function number(count, singular, plural = `${singular}s`) {
    return `${count.toLocaleString("en")} ${count === 1 ? singular : plural}`;
}
