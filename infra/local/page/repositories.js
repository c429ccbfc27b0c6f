// The repositories of a registry.

import { SERVICES, format } from "./address.js";
import { request } from "./catalog.js";
import { awsCommand, searchQuery } from "./commands.js";
import {
    command, copyButton, element, failure, firstPageLink, notice, number, pager, table, time,
} from "./elements.js";
import { words } from "./formats.js";
import { endSearch, search } from "./search.js";

const PAGE_SIZE = 50;

export const title = () => "Repositories";

/** A search reads very many repositories, so it is not repeated. */
export const isLive = ({ search }) => !search;

export async function read(address, signal, progress) {
    if (address.search) {
        return search(address, signal, progress);
    }
    endSearch();
    const { service, registry, after } = address;
    const members = { registryId: registry, maxResults: PAGE_SIZE, nextToken: after };
    return request(service, "DescribeRepositories", members, signal);
}

export const count = (length) => number(length, "repository", "repositories");

export function summary({ repositories, isComplete }) {
    const found = count(repositories.length);
    return isComplete === false ? `The first ${found} that match` : found;
}

export function draw(address, data, error) {
    const registry = address.registry ?? data?.repositories[0]?.registryId;
    return [
        element("div", { class: "heading", "data-key": "repositories" },
            element("h1", { tabindex: "-1" }, "Repositories"),
            element("p", { class: "facts" }, element("span", {}, SERVICES[address.service]),
                registry && element("span", {}, `Registry ${registry}`))),
        element("div", { class: "toolbar", "data-key": "repositories-toolbar" },
            element("form", { name: "search", role: "search", class: "wide" },
                element("label", { for: "search", class: "unseen" }, "Search repositories"),
                element("input", {
                    id: "search", name: "search", type: "search", autocomplete: "off",
                    autocapitalize: "off", spellcheck: "false", placeholder: "Search repositories",
                    "data-value": address.search ?? "",
                })),
            element("form", { name: "registry" },
                element("label", { for: "registry" }, "Registry"),
                element("input", {
                    id: "registry", name: "registry", inputmode: "numeric", autocomplete: "off",
                    placeholder: "default", size: "12", "data-value": address.registry ?? "",
                }))),
        element("div", { class: "content", "data-key": "repositories-content" },
            error ? drawFailure(address, error) : data ? drawList(address, data) : []),
    ];
}

function drawFailure(address, error) {
    if (error.name !== "AccessDeniedException") {
        return failure(error, firstPageLink(address));
    }
    return failure(error,
        element("p", {}, "A repository that you may read can be opened by its name."),
        element("form", { name: "open" },
            element("label", { for: "open", class: "unseen" }, "Name of a repository"),
            element("input", {
                id: "open", name: "repository", required: true, autocomplete: "off",
                autocapitalize: "off", spellcheck: "false", placeholder: "team/app",
            }),
            element("button", { class: "primary" }, "Open")));
}

function drawList(address, data) {
    const { repositories } = data;
    const parts = [];
    if (repositories.length > 0) {
        parts.push(drawTable(address, repositories));
    } else if (!address.search) {
        parts.push(address.after ? notice("No more repositories", firstPageLink(address))
            : drawEmpty(address));
    } else if (data.isDone) {
        parts.push(notice("No match", element("p", {},
            `None of ${count(data.read)} has “${address.search}” in its name.`)));
    }
    parts.push(address.search ? drawProgress(data)
        : pager(address, repositories.length, summary(data), data.nextToken));
    parts.push(command("AWS CLI", awsCommandOf(address)));
    return parts;
}

function drawProgress(data) {
    const { read, isDone, isComplete } = data;
    const found = isComplete ? summary(data)
        : `${summary(data)}. Others follow; type more of the name.`;
    return element("p", { class: "pager" }, element("span", { class: "count" },
        isDone ? found : `Searching: ${count(read)} read`));
}

function drawTable(address, repositories) {
    const isPrivate = address.service === "ecr";
    const columns = [
        { title: "Repository", name: "name" },
        { title: "Address", name: "text" },
        ...isPrivate ? [{ title: "Tags", name: "mutability" }] : [],
        { title: "Created", name: "time" },
    ];
    const rows = repositories.map((repository) => {
        const { repositoryName: name, repositoryUri: uri, createdAt } = repository;
        const fragment = format({
            service: address.service, registry: address.registry, repository: name,
        });
        return {
            key: name,
            cells: [
                element("a", { href: fragment }, mark(name, address.search)),
                uri ? [element("code", {}, uri), copyButton(uri, `the address of ${name}`)] : "",
                ...isPrivate ? [words(repository.imageTagMutability)] : [],
                createdAt === undefined ? "" : time(createdAt),
            ],
        };
    });
    return table(`${title()} of ${SERVICES[address.service]}`, columns, rows);
}

/** The name, and in it what was searched for. */
function mark(name, search) {
    const wanted = search?.toLowerCase();
    const start = wanted ? name.indexOf(wanted) : -1;
    if (start < 0) {
        return name;
    }
    const end = start + wanted.length;
    return [name.slice(0, start), element("mark", {}, name.slice(start, end)), name.slice(end)];
}

function drawEmpty(address) {
    const [other] = Object.keys(SERVICES).filter((service) => service !== address.service);
    return notice("No repositories",
        element("p", {}, "A repository appears with the first event about it. The images that a "
            + "registry has already come with a reconciliation:"),
        command("For example", "image-catalog reconcile --from http://registry.example:5000"
            + (address.service === "ecr" ? "" : ` --service ${address.service}`)),
        element("p", {}, "The repositories of the other service are in ",
            element("a", { href: format({ service: other, registry: address.registry }) },
                SERVICES[other]), "."));
}

function awsCommandOf({ service, registry, search, after }) {
    return awsCommand(service, "describe-repositories", {
        "registry-id": registry,
        ...search ? { query: searchQuery(search.toLowerCase()) }
            : { "max-results": PAGE_SIZE, "next-token": after },
    });
}
