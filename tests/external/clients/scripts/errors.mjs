// Sends requests, given as JSON: a list of [class of the error, operation, request]. Each
// must fail with that class, and its error is printed as a line of JSON.

import { open } from './sdk.mjs';

const [service, endpoint, cases] = process.argv.slice(2);
const { sdk, client } = open(service, endpoint);

for (const [errorClass, operation, request] of JSON.parse(cases)) {
  const error = await client.send(new sdk[`${operation}Command`](request)).then(
    () => new Error(`${operation} ${JSON.stringify(request)} does not fail`),
    (error) => error,
  );
  if (!(error instanceof sdk[errorClass])) {
    throw error;
  }
  console.log(
    JSON.stringify({
      class: error.constructor.name,
      code: error.name,
      message: error.message,
      status: error.$metadata.httpStatusCode,
      requestId: error.$metadata.requestId,
    }),
  );
}
