// Reads a repository with the paginator, once for each page size, and prints a line of
// JSON for each: how many images every page had, and the images.

import { open } from './sdk.mjs';

const [service, endpoint, repositoryName, ...pageSizes] = process.argv.slice(2);
const { sdk, client } = open(service, endpoint);

for (const size of pageSizes) {
  const pageSize = size === 'default' ? undefined : Number(size);
  const pages = [];
  const images = [];
  for await (const page of sdk.paginateDescribeImages({ client, pageSize }, { repositoryName })) {
    pages.push(page.imageDetails.length);
    images.push(...page.imageDetails.map((image) => [image.imageDigest, image.imageTags ?? []]));
  }
  console.log(JSON.stringify({ pages, images }));
}
