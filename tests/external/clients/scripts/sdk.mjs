// The SDK's module of a service, and a client of it. Node.js looks for modules beside
// the script that imports them; these are in the folder that SDK_FOLDER names.

import { createRequire } from 'node:module';

const require = createRequire(`${process.env.SDK_FOLDER}/`);

export function open(service, endpoint) {
  const sdk = require(`@aws-sdk/client-${service}`);
  const Client = service === 'ecr' ? sdk.ECRClient : sdk.ECRPUBLICClient;
  return { sdk, client: new Client({ endpoint, maxAttempts: 1 }) };
}
