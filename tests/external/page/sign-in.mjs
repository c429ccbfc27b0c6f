// Where callers must sign.

import assert from 'node:assert/strict';

import { REFUSED, becomes, go, isApiCall, rows, run, shown, url } from './browser.mjs';

const { reader, session, limited, hasCommand } = JSON.parse(process.argv[3]);

async function signIn(page, key) {
  await page.getByLabel('Access key ID').fill(key.accessKeyId);
  await page.getByLabel('Secret access key').fill(key.secretAccessKey);
  await page.getByLabel('Session token').fill(key.sessionToken ?? '');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await shown(page);
}

async function test(open) {
  const page = await open();
  let calls = 0;
  page.on('request', (request) => calls += isApiCall(request) ? 1 : 0);
  await go(page, '#/ecr/shop/api');
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  assert.equal(calls, 0, 'nothing is sent without a key');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'accessKeyId');

  const refusal = page.getByRole('alert');
  await signIn(page, { accessKeyId: 'AKIDUNKNOWN', secretAccessKey: 'secret' });
  await refusal.waitFor();
  assert.equal(
    await refusal.innerText(),
    'UnrecognizedClientException The security token included in the request is invalid.',
  );
  await signIn(page, { ...reader, secretAccessKey: 'another secret' });
  await page.getByText('InvalidSignatureException').waitFor();
  await signIn(page, reader);
  await page.getByRole('link', { name: 'v1', exact: true }).waitFor();
  assert.ok(await page.getByText(reader.accessKeyId).isVisible());
  // Who must sign signs the command, too. The AWS CLI cannot sign for another name.
  assert.deepEqual(await page.getByRole('group', { name: 'AWS CLI' }).allInnerTexts(), hasCommand
    ? [`aws ecr describe-images --repository-name shop/api --max-results 50 --endpoint-url ${url} `
      + '--region us-east-1'] : []);

  // The key stays in the tab, and nowhere else.
  await page.reload();
  await page.getByRole('link', { name: 'v1', exact: true }).waitFor();
  assert.deepEqual(await page.evaluate(() => [localStorage.length, document.cookie]), [0, '']);
  assert.ok(!page.url().includes(reader.secretAccessKey));
  const other = await page.context().newPage();
  await go(other, '#/ecr/shop/api');
  await other.getByRole('heading', { name: 'Sign in' }).waitFor();

  // Search and pages are signed, too.
  await go(page, '#/ecr?search=shop');
  assert.deepEqual(await rows(page), ['shop/api', 'shop/web']);

  // What one caller read is not shown to the next one.
  await page.getByRole('button', { name: 'Sign out' }).click();
  await signIn(page, limited);
  await page.getByRole('heading', { name: 'AccessDeniedException' }).waitFor();
  assert.deepEqual(await rows(page), []);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await signIn(page, reader);
  await becomes(() => rows(page), ['shop/api', 'shop/web']);

  // The status, for a caller who may read everything.
  await go(page, '#/status');
  await page.getByText('No delivery yet').waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await signIn(page, limited);
  await page.getByRole('heading', { name: 'AccessDeniedException' }).waitFor();
  await page.getByText('The status is for callers who may read all repositories.').waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await signIn(page, reader);
  await page.getByText('No delivery yet').waitFor();
  await go(page, '#/ecr-public');
  assert.deepEqual(await rows(page), ['shop/api']);

  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  assert.equal(await page.locator('#session').isVisible(), false);

  // A session.
  await signIn(page, { ...session, sessionToken: 'another token' });
  await page.getByText('UnrecognizedClientException').waitFor();
  await signIn(page, session);
  await page.getByRole('link', { name: 'shop/api', exact: true }).waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();

  // A caller who may not list the repositories opens one.
  await go(page, '#/ecr');
  await signIn(page, limited);
  await page.getByRole('heading', { name: 'AccessDeniedException' }).waitFor();
  await page.getByLabel('Name of a repository').fill('shop/api');
  await page.getByRole('button', { name: 'Open' }).click();
  await page.getByRole('link', { name: 'v1', exact: true }).waitFor();
  await go(page, '#/ecr/shop/web');
  await page.getByRole('heading', { name: 'AccessDeniedException' }).waitFor();

  // A clock that is wrong.
  const late = await open();
  await late.clock.setFixedTime(Date.now() - 3_600_000);
  await go(late, '#/ecr/shop/api');
  await signIn(late, reader);
  await late.getByRole('link', { name: 'v1', exact: true }).waitFor();

  // A page of before callers had to sign. It is loaded anew, but not without end.
  const old = await open();
  const asBefore = async (route) => {
    if (isApiCall(route.request())) return route.continue();
    const response = await route.fetch();
    const html = await response.text();
    return route.fulfill({ response, body: html.replace('content="true"', 'content="false"') });
  };
  await old.route(`${url}/`, asBefore);
  await old.goto(`${url}/`, { waitUntil: 'commit' });
  await old.getByRole('heading', { name: 'MissingAuthenticationTokenException' }).waitFor();
  await old.unroute(`${url}/`);
  await old.evaluate(() => sessionStorage.clear());
  await old.getByRole('link', { name: 'ECR Public' }).click();
  await old.getByRole('heading', { name: 'Sign in' }).waitFor();

  // A page of before the catalog had another region. The access key is kept.
  const moved = await open();
  await moved.route(`${url}/`, async (route) => {
    if (isApiCall(route.request())) return route.continue();
    const response = await route.fetch();
    const html = await response.text();
    return route.fulfill({ response, body: html.replace('us-east-1', 'eu-west-9') });
  });
  await moved.goto(`${url}/#/ecr/shop/api`);
  await moved.getByRole('heading', { name: 'Sign in' }).waitFor();
  await moved.unroute(`${url}/`);
  await signIn(moved, reader);
  await moved.getByRole('link', { name: 'v1', exact: true }).waitFor();

  // Without Web Crypto.
  const insecure = await open();
  await insecure.goto(`http://catalog.test:${new URL(url).port}/`);
  await insecure.getByRole('heading', { name: 'This page cannot sign here' }).waitFor();
  assert.ok(await insecure.evaluate(() => crypto.subtle === undefined));
}

await run(test, {
  expected: REFUSED, args: ['--host-resolver-rules=MAP catalog.test 127.0.0.1'],
});
