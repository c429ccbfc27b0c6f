// Reads the first page of a repository, and the rest with a new paginator and another
// page size, from the token that the first page ended with. Prints the tags of the
// images of each page as a line of JSON.

import { open } from './sdk.mjs';

const [service, endpoint, repositoryName, firstPageSize, pageSize] = process.argv.slice(2);

function print(page) {
  console.log(JSON.stringify(page.imageDetails.map((image) => image.imageTags ?? [])));
}

const { sdk, client } = open(service, endpoint);
const maxResults = Number(firstPageSize);
const first = await client.send(new sdk.DescribeImagesCommand({ repositoryName, maxResults }));
print(first);

const configuration = {
  client: open(service, endpoint).client,
  pageSize: Number(pageSize),
  startingToken: first.nextToken,
  stopOnSameToken: true,
};
for await (const page of sdk.paginateDescribeImages(configuration, { repositoryName })) {
  print(page);
}
