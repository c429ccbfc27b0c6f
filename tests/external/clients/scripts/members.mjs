// Prints the images of a repository as JSON, each value as its JavaScript class and text.

import { open } from './sdk.mjs';

function described(value) {
  if (Array.isArray(value)) {
    return value.map(described);
  }
  if (value.constructor === Object) {
    return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, described(member)]));
  }
  return `${value.constructor.name} ${value instanceof Date ? value.toISOString() : value}`;
}

const [service, endpoint, repositoryName] = process.argv.slice(2);
const { sdk, client } = open(service, endpoint);
const { imageDetails } = await client.send(new sdk.DescribeImagesCommand({ repositoryName }));
console.log(JSON.stringify(described(imageDetails), null, 2));
