// What the page shows is in the fragment of its address: `#/<service>`, the repositories;
// `#/<service>/<repositoryName>`, the images of one; with the parameter `image`, one image;
// `#/status`, the status.

const PARAMETERS = [
    "registry", "search", "tagStatus", "imageStatus", "image", "page", "after",
];

export const SERVICES = { ecr: "Amazon ECR", "ecr-public": "Amazon ECR Public" };

/** The address of a fragment. Another one than those above is that of the repositories. */
export function parse(fragment) {
    const [path, query] = split(fragment.replace(/^#\/?/, ""), "?");
    const [service, repository] = split(path, "/");
    const isKnown = service === "status" || Object.hasOwn(SERVICES, service);
    const address = { service: isKnown ? service : "ecr" };
    if (repository) {
        address.repository = decode(repository);
    }
    const parameters = new URLSearchParams(query);
    for (const name of PARAMETERS) {
        if (parameters.get(name)) {
            address[name] = parameters.get(name);
        }
    }
    return address;
}

/** The fragment of an address. Members that are not given are left out. */
export function format(address) {
    let fragment = `#/${address.service}`;
    if (address.repository) {
        fragment += `/${address.repository.split("/").map(encodeURIComponent).join("/")}`;
    }
    const parameters = new URLSearchParams();
    for (const name of PARAMETERS) {
        if (address[name]) {
            parameters.set(name, address[name]);
        }
    }
    return parameters.size > 0 ? `${fragment}?${parameters}` : fragment;
}

/** The number of the page, from 1. */
export function pageNumber({ after, page }) {
    const number = Number(page);
    return after && Number.isSafeInteger(number) && number > 1 ? number : 1;
}

/** The address of the first page. */
export function firstPage(address) {
    return { ...address, page: undefined, after: undefined };
}

function split(text, separator) {
    const index = text.indexOf(separator);
    return index < 0 ? [text, ""] : [text.slice(0, index), text.slice(index + 1)];
}

function decode(text) {
    try {
        return decodeURIComponent(text);
    } catch {
        return text;
    }
}
