// The search of repositories by a part of their names. The API has no such request, so all of them
// are read, until more than a hundred match. What was read is kept until the search ends, and used
// for a minute.

import { request } from "./catalog.js";

const MAX_MATCHES = 100;

const MAX_AGE_MILLISECONDS = 60_000;

/** What was read of a listing since `begin`, in the order of names. */
let known;

export function endSearch() {
    known = undefined;
}

/**
 * Finds repositories. `progress` receives what is found until then. `read` is how many were read,
 * and `isComplete` whether all matches are found.
 */
export async function search({ service, registry, search: text }, signal, progress) {
    const now = Date.now();
    const isOld = known && now - known.begin > MAX_AGE_MILLISECONDS;
    if (known?.service !== service || known.registry !== registry || isOld) {
        known = { service, registry, begin: now, repositories: [], hasMore: true };
    }
    const wanted = text.toLowerCase();
    const matches = [];
    let read = 0;
    for (;;) {
        while (read < known.repositories.length && matches.length <= MAX_MATCHES) {
            const repository = known.repositories[read];
            read += 1;
            if (repository.repositoryName.includes(wanted)) {
                matches.push(repository);
            }
        }
        const isComplete = matches.length <= MAX_MATCHES && !known.hasMore;
        const isDone = isComplete || matches.length > MAX_MATCHES;
        const found = { repositories: matches.slice(0, MAX_MATCHES), read, isComplete, isDone };
        if (isDone) {
            return found;
        }
        if (read > 0) {
            progress(found);
        }
        await readMore(signal);
    }
}

async function readMore(signal) {
    const { service, registry, nextToken } = known;
    const members = { registryId: registry, maxResults: 1000, nextToken };
    const page = await request(service, "DescribeRepositories", members, signal);
    // Another search may have begun, which reads the same page.
    signal.throwIfAborted();
    for (const {
        repositoryName, registryId, repositoryUri, createdAt, imageTagMutability,
    } of page.repositories) {
        known.repositories.push({
            repositoryName, registryId, repositoryUri, createdAt, imageTagMutability,
        });
    }
    known.nextToken = page.nextToken;
    known.hasMore = page.nextToken !== undefined;
}
