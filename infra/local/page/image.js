// One image, by a tag or a digest.

import { format } from "./address.js";
import { request } from "./catalog.js";
import { awsCommand, digestReference, pullCommand, reference } from "./commands.js";
import { command, copyButton, element, failure, number, time } from "./elements.js";
import { ageAndTime, findings, kind, shortDigest, size, words } from "./formats.js";
import { breadcrumb, describeRepository, finding, imageFragment, kindOf } from "./images.js";

export const title = ({ repository, image }) => {
    return image.includes(":") ? `${repository}@${shortDigest(image)}` : `${repository}:${image}`;
};

export const isLive = () => true;

export async function read(address, signal) {
    const { service, registry } = address;
    const [page, repository] = await Promise.all([
        request(service, "DescribeImages", {
            registryId: registry, repositoryName: address.repository, imageIds: [imageId(address)],
        }, signal),
        describeRepository(address, signal),
    ]);
    return { image: page.imageDetails[0], repository };
}

export function summary({ image }) {
    return `${words(kind(image))} ${shortDigest(image.imageDigest)}`;
}

/** A tag has no colon. */
function imageId({ image }) {
    return image.includes(":") ? { imageDigest: image } : { imageTag: image };
}

export function draw(address, data, error) {
    const { image: name } = address;
    const isDigest = name.includes(":");
    return [
        element("div", { class: "heading", "data-key": "image" },
            breadcrumb(address),
            element("h1", { tabindex: "-1" }, isDigest ? shortDigest(name) : name)),
        element("div", { class: "content", "data-key": `image-${name}` },
            error ? failure(error, element("p", {}, element("a", {
                href: format({ ...address, image: undefined }),
            }, "All images of the repository")))
                : data ? drawImage(address, data) : []),
    ];
}

function drawImage(address, { image, repository }) {
    const { repositoryUri: uri } = repository;
    const { imageTags: tags = [], imageDigest: digest, imageSizeInBytes: bytes } = image;
    const summary = image.imageScanFindingsSummary;
    const counts = findings(image);
    const scanStatus = image.imageScanStatus;
    const pull = (label, reference) => command(label, pullCommand(reference, kind(image)));
    const fact = (name, ...content) => element("div", {}, element("dt", {}, name),
        element("dd", {}, content));
    const timeFact = (name, seconds) => seconds !== undefined
        && fact(name, time(seconds, ageAndTime(seconds)));
    return [
        element("dl", {},
            fact("Digest", element("code", {}, digest), copyButton(digest, "the digest")),
            fact("Tags", tags.length === 0 ? "Untagged" : element("ul", { class: "tag-list" },
                tags.map((tag) => element("li", { "data-key": tag }, element("a", {
                    class: "tag", href: imageFragment(address, tag),
                }, tag))))),
            fact("Kind", kindOf(address, image)),
            image.imageManifestMediaType
                && fact("Manifest type", element("code", {}, image.imageManifestMediaType)),
            image.artifactMediaType
                && fact("Artifact type", element("code", {}, image.artifactMediaType)),
            fact("Size", bytes === undefined ? "Unknown"
                : `${size(bytes)} (${number(bytes, "byte")})`),
            timeFact("Pushed", image.imagePushedAt),
            timeFact("Last pulled", image.lastRecordedPullTime),
            image.imageStatus && fact("Status", words(image.imageStatus)),
            timeFact("Archived", image.lastArchivedAt),
            timeFact("Activated", image.lastActivatedAt),
            scanStatus && fact("Scan", [scanStatus.status && words(scanStatus.status),
                scanStatus.description].filter(Boolean).join(": ")),
            summary && fact("Findings", counts.length === 0 ? "None"
                : element("div", { class: "findings" },
                    counts.map(([severity, count]) => finding(severity, count)))),
            timeFact("Scan completed", summary?.imageScanCompletedAt),
            timeFact("Vulnerabilities of", summary?.vulnerabilitySourceUpdatedAt)),
        uri && tags.length > 0 && pull("Pull by tag",
            tags.includes(address.image) ? `${uri}:${address.image}` : reference(uri, image)),
        uri && pull("Pull by digest", digestReference(uri, image)),
        command("AWS CLI", awsCommandOf(address)),
    ].filter(Boolean);
}

function awsCommandOf(address) {
    const [[name, value]] = Object.entries(imageId(address));
    return awsCommand(address.service, "describe-images", {
        "registry-id": address.registry,
        "repository-name": address.repository,
        "image-ids": `${name}=${value}`,
    });
}
