// Draws only differences, so that focus, selection and scroll position stay.
//
// Children with the attribute `data-key` are recognized by it wherever they are, the others by
// their place.

/** Makes a node like another one, which must not be used afterwards. */
export function patch(node, fresh) {
    if (node.isEqualNode(fresh)) {
        return;
    }
    if (node.nodeType !== Node.ELEMENT_NODE || node.nodeName !== fresh.nodeName) {
        node.replaceWith(fresh);
        return;
    }
    for (const { name } of [...node.attributes]) {
        if (!fresh.hasAttribute(name)) {
            node.removeAttribute(name);
        }
    }
    for (const { name, value } of [...fresh.attributes]) {
        if (node.getAttribute(name) !== value) {
            node.setAttribute(name, value);
        }
    }
    patchChildren(node, [...fresh.childNodes]);
}

/** Makes the children of a node like others. */
export function patchChildren(parent, fresh) {
    const keys = new Set(fresh.map(key));
    const known = new Map();
    for (const child of [...parent.childNodes]) {
        if (!keys.has(key(child))) {
            child.remove();
        } else if (key(child)) {
            known.set(key(child), child);
        }
    }
    let next = parent.firstChild;
    for (const node of fresh) {
        const place = next && !key(next) ? next : undefined;
        const match = key(node) ? known.get(key(node)) : place;
        if (!match) {
            parent.insertBefore(node, next);
            continue;
        }
        if (match !== next) {
            parent.insertBefore(match, next);
        }
        next = match.nextSibling;
        patch(match, node);
    }
    while (next) {
        const after = next.nextSibling;
        next.remove();
        next = after;
    }
}

function key(node) {
    return node.dataset?.key;
}
