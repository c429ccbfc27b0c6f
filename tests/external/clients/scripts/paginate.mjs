// Reads a repository with the paginator, and prints as JSON how many images every page
// had, and the digest and tags of each image.

import { open } from './sdk.mjs';

const [service, endpoint, repositoryName, size] = process.argv.slice(2);
const { sdk, client } = open(service, endpoint);
const pageSize = size === 'default' ? undefined : Number(size);

const pages = [];
const images = [];
for await (const page of sdk.paginateDescribeImages({ client, pageSize }, { repositoryName })) {
  pages.push(page.imageDetails.length);
  images.push(...page.imageDetails.map((image) => [image.imageDigest, image.imageTags ?? []]));
}
console.log(JSON.stringify({ pages, images }));
