// Reads a repository of both services page by page, and the image of a tag, with the AWS SDK for
// JavaScript v2. Prints both as JSON. This SDK reads no address from the environment.

const AWS = require('aws-sdk');

const [repositoryName, imageTag] = process.argv.slice(2);

function details(image) {
  return {
    digest: image.imageDigest,
    tags: image.imageTags ?? [],
    size: image.imageSizeInBytes,
    pushedAt: image.imagePushedAt.getTime() / 1000,
    mediaType: image.imageManifestMediaType,
  };
}

async function read(client) {
  const pages = [];
  let nextToken;
  do {
    const page = await client.describeImages({ repositoryName, nextToken }).promise();
    pages.push(...page.imageDetails.map(details));
    nextToken = page.nextToken;
  } while (nextToken);
  const found = await client.describeImages({ repositoryName, imageIds: [{ imageTag }] }).promise();
  return { pages, byTag: details(found.imageDetails[0]) };
}

Promise.all([
  read(new AWS.ECR({ endpoint: process.env.AWS_ENDPOINT_URL_ECR })),
  read(new AWS.ECRPUBLIC({ endpoint: process.env.AWS_ENDPOINT_URL_ECR_PUBLIC })),
]).then((both) => console.log(JSON.stringify(both)));
