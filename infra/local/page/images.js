// The images of a repository, the newest first.

import { format } from "./address.js";
import { request } from "./catalog.js";
import { awsCommand, pullCommand, reference } from "./commands.js";
import {
    command, copyButton, element, failure, firstPageLink, notice, number, pager, table, time,
} from "./elements.js";
import { findings, kind, shortDigest, size, words } from "./formats.js";

const PAGE_SIZE = 50;

/** Tags that a row shows. An image may have 1,000. */
const MAX_TAGS = 4;

/** Severities that a row shows. */
const MAX_FINDINGS = 2;

const TAG_STATUSES = { ANY: "Any tags", TAGGED: "Tagged", UNTAGGED: "Untagged" };

/** Without `imageStatus`, active images are listed. */
const IMAGE_STATUSES = {
    ACTIVE: "Active", ARCHIVED: "Archived", ACTIVATING: "Activating", ANY: "Any status",
};

export const title = ({ repository }) => repository;

export const isLive = () => true;

export async function read(address, signal) {
    const { service, registry, after } = address;
    const filter = filterOf(address);
    const [page, repository] = await Promise.all([
        request(service, "DescribeImages", {
            registryId: registry, repositoryName: address.repository, filter,
            maxResults: PAGE_SIZE, nextToken: after,
        }, signal),
        describeRepository(address, signal),
    ]);
    return { ...page, repository };
}

/** The repository of an address. */
export async function describeRepository({ service, registry, repository }, signal) {
    const members = { registryId: registry, repositoryNames: [repository] };
    const response = await request(service, "DescribeRepositories", members, signal);
    return response.repositories[0];
}

export const count = (length) => number(length, "image");

export const summary = ({ imageDetails }) => count(imageDetails.length);

/** The filter of DescribeImages; Amazon ECR Public has none. */
function filterOf({ service, tagStatus, imageStatus }) {
    return service === "ecr" && (tagStatus || imageStatus) ? { tagStatus, imageStatus } : undefined;
}

export function draw(address, data, error) {
    return [
        element("div", { class: "heading", "data-key": "images" },
            breadcrumb(address),
            element("h1", { tabindex: "-1" }, address.repository),
            data && facts(data.repository)),
        element("div", { class: "toolbar", "data-key": "images-toolbar" },
            element("form", { name: "image", role: "search", class: "wide" },
                element("label", { for: "image", class: "unseen" }, "Tag or digest"),
                element("input", {
                    id: "image", name: "image", required: true, autocomplete: "off",
                    autocapitalize: "off", spellcheck: "false", placeholder: "Tag or digest",
                }),
                element("button", {}, "Look up")),
            address.service === "ecr" && [
                select("tagStatus", "Tag status", TAG_STATUSES, address.tagStatus),
                select("imageStatus", "Image status", IMAGE_STATUSES, address.imageStatus),
            ]),
        element("div", { class: "content", "data-key": "images-content" },
            error ? failure(error, firstPageLink(address)) : data ? drawList(address, data) : []),
    ];
}

/** The links to what contains a repository or an image. */
export function breadcrumb({ service, registry, repository, image }) {
    return element("nav", { class: "breadcrumb", "aria-label": "Breadcrumb" },
        element("a", { href: format({ service, registry }) }, "Repositories"),
        image !== undefined
            && element("a", { href: format({ service, registry, repository }) }, repository));
}

function facts({ repositoryUri: uri, createdAt, imageTagMutability, imageScanningConfiguration }) {
    return element("p", { class: "facts" },
        uri && element("span", {}, element("code", {}, uri), copyButton(uri, "the address")),
        createdAt !== undefined && element("span", {}, "Created ", time(createdAt)),
        imageTagMutability && element("span", {}, `${words(imageTagMutability)} tags`),
        imageScanningConfiguration?.scanOnPush && element("span", {}, "Scan on push"));
}

/** The first option is the default. */
function select(name, label, options, value = Object.keys(options)[0]) {
    return element("form", { name },
        element("label", { for: name, class: "unseen" }, label),
        element("select", { id: name, name, "data-value": value },
            Object.entries(options).map(([value, text]) => element("option", { value }, text))));
}

function drawList(address, data) {
    const { imageDetails: images } = data;
    const parts = [];
    if (images.length > 0) {
        parts.push(drawTable(address, data));
    } else if (address.after) {
        parts.push(notice("No more images", firstPageLink(address)));
    } else {
        const { service, tagStatus = "ANY", imageStatus } = address;
        const isAll = service === "ecr-public" || (tagStatus === "ANY" && imageStatus === "ANY");
        parts.push(notice("No images", element("p", {}, isAll ? "This repository has no images."
            : ["No image passes the filters. ", element("a", {
                href: format({ ...address, tagStatus: undefined, imageStatus: "ANY" }),
            }, "Show all images")])));
    }
    parts.push(pager(address, images.length, summary(data), data.nextToken));
    parts.push(command("AWS CLI", awsCommandOf(address)));
    return parts;
}

function drawTable(address, { imageDetails, repository }) {
    const isPrivate = address.service === "ecr";
    const columns = [
        { title: "Tags", name: "tags" },
        { title: "Digest", name: "digest" },
        { title: "Kind", name: "kind" },
        { title: "Size", name: "size" },
        { title: "Pushed", name: "time" },
        ...isPrivate ? [{ title: "Scan", name: "scan" }, { title: "Status", name: "status" }] : [],
        { title: "Pull", name: "action" },
    ];
    const rows = imageDetails.map((image) => {
        const { imageDigest: digest, imageSizeInBytes: bytes, imagePushedAt } = image;
        return {
            key: digest,
            cells: [
                tags(address, image),
                element("code", { title: digest }, shortDigest(digest)),
                kindOf(address, image),
                bytes === undefined ? unknown() : size(bytes),
                time(imagePushedAt),
                ...isPrivate ? [scan(image), status(image)] : [],
                pullButton(repository.repositoryUri, image),
            ],
        };
    });
    return table(`Images of ${address.repository}, the newest first`, columns, rows);
}

function tags(address, image) {
    const href = imageFragment(address, image.imageDigest);
    const [first, ...others] = image.imageTags ?? [];
    const more = others.length - (MAX_TAGS - 1);
    const label = `Untagged image ${shortDigest(image.imageDigest)}`;
    return element("div", { class: "tag-list" },
        first === undefined
            ? element("a", { href, class: "untagged", "aria-label": label }, "untagged")
            : element("a", { href, class: "tag", title: first }, first),
        others.slice(0, MAX_TAGS - 1).map((tag) => {
            return element("span", { class: "tag", title: tag }, tag);
        }),
        more > 0 && element("span", { class: "more" }, `+${more}`));
}

/** The fragment of an image of the same repository. */
export function imageFragment({ service, registry, repository }, image) {
    return format({ service, registry, repository, image });
}

/** The kind of an image, and what an artifact is about. */
export function kindOf(address, image) {
    const { subjectManifestDigest: subject, artifactMediaType: title } = image;
    return element("div", {},
        element("span", { class: `mark ${kind(image)}`, title }, words(kind(image))),
        subject && [" of ", element("a", {
            href: imageFragment(address, subject), title: subject, class: "subject",
        }, shortDigest(subject).replace("sha256:", ""))]);
}

function scan(image) {
    const counts = findings(image);
    const status = image.imageScanStatus?.status;
    if (counts.length > 0) {
        const rest = counts.slice(MAX_FINDINGS).reduce((sum, [, count]) => sum + count, 0);
        return element("div", { class: "findings" },
            counts.slice(0, MAX_FINDINGS).map(([severity, count]) => finding(severity, count)),
            rest > 0 && element("span", { class: "more" }, `+${rest}`));
    }
    if (image.imageScanFindingsSummary && (status === undefined || status === "COMPLETE")) {
        return "No findings";
    }
    return status ? words(status) : unknown();
}

/** The number of findings of a severity. */
export function finding(severity, count) {
    return element("span", { class: `finding ${severity.toLowerCase()}` },
        `${count.toLocaleString("en")} ${severity.toLowerCase()}`);
}

function status({ imageStatus }) {
    return element("span", { class: `badge ${imageStatus.toLowerCase()}` }, words(imageStatus));
}

/** What the catalog does not know. */
function unknown() {
    return element("span", { class: "unknown" }, element("span", { "aria-hidden": "true" }, "–"),
        element("span", { class: "unseen" }, "unknown"));
}

function pullButton(uri, image) {
    if (!uri) {
        return unknown();
    }
    return copyButton(pullCommand(reference(uri, image), kind(image)),
        `the reference of ${image.imageTags?.[0] ?? shortDigest(image.imageDigest)}`);
}

function awsCommandOf(address) {
    const { service, registry, repository, after } = address;
    const filter = Object.entries(filterOf(address) ?? {})
        .filter(([, value]) => value)
        .map(([name, value]) => `${name}=${value}`);
    return awsCommand(service, "describe-images", {
        "registry-id": registry,
        "repository-name": repository,
        filter: filter.length > 0 ? filter.join(",") : undefined,
        "max-results": PAGE_SIZE,
        "next-token": after,
    });
}
