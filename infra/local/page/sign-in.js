// The form for an access key.

import { element } from "./elements.js";

/** Browsers have Web Crypto only in pages from https or from this computer. */
const canSign = globalThis.crypto?.subtle !== undefined;

/** Headers contain the ID and the token. Browsers send no other characters in them. */
const PATTERN = "[ -~]+";

export function draw(error) {
    if (!canSign) {
        return element("section", { class: "sign-in", "data-key": "sign-in" },
            element("h1", { tabindex: "-1" }, "This page cannot sign here"),
            element("p", {}, "Requests to this catalog must be signed. Browsers let a page sign "
                + "only if it comes from an https address, or from localhost."),
            element("p", {}, "Open the catalog through a proxy with TLS, or an SSH tunnel:"),
            element("p", {}, element("code", {},
                `ssh -L 5015:localhost:${location.port || 80} ${location.hostname}`)),
            element("p", {}, "Then open ", element("code", {}, "http://localhost:5015"), "."));
    }
    return element("section", { class: "sign-in", "data-key": "sign-in" },
        element("h1", { tabindex: "-1" }, "Sign in"),
        element("p", {}, "Requests to this catalog are signed with an access key. It stays in this "
            + "tab, and is gone when the tab is closed."),
        error && element("p", { role: "alert", class: "error" }, element("strong", {}, error.name),
            ` ${error.message}`),
        element("form", { name: "sign-in", "data-key": "sign-in-form" },
            field("accessKeyId", "Access key ID", { required: true, pattern: PATTERN }),
            field("secretAccessKey", "Secret access key", { required: true, type: "password" }),
            field("sessionToken", "Session token", { type: "password", pattern: PATTERN },
                "optional"),
            element("button", { class: "primary" }, "Sign in")));
}

function field(name, label, attributes, hint) {
    return element("p", {},
        element("label", { for: name }, label,
            hint && element("span", { class: "hint" }, ` ${hint}`)),
        element("input", {
            id: name, name, autocomplete: "off", autocapitalize: "off", spellcheck: "false",
            ...attributes,
        }));
}
