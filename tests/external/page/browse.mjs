// Repositories, their search, images, pages, filters, look-ups, and what is copied.

import assert from 'node:assert/strict';

import { REFUSED, becomes, copied, go, isApiCall, rows, run, shown, url } from './browser.mjs';

const expected = JSON.parse(process.argv[3]);

// The digests of `load/app`, the newest first.
const load = Array.from({ length: expected.load }, (_, index) => {
  return `sha256:${(expected.load - index).toString(16).padStart(64, '0')}`;
});

async function firstView(open) {
  const page = await open();
  const finished = [];
  page.on('requestfinished', (request) => finished.push(request));
  await go(page, '');
  await page.waitForLoadState('networkidle');
  const calls = finished.filter(isApiCall);
  assert.equal(calls.length, 1, 'one call of the API');
  assert.equal(
    calls[0].headers()['x-amz-target'],
    'AmazonEC2ContainerRegistry_V20150921.DescribeRepositories',
  );
  let bytes = 0;
  for (const request of finished) {
    const { responseBodySize, responseHeadersSize } = await request.sizes();
    bytes += responseBodySize + responseHeadersSize;
  }
  console.log(`the first view takes ${bytes} bytes in ${finished.length} requests`);
  assert.ok(bytes < 100_000, `${bytes} bytes`);
  assert.ok(finished.every((request) => request.url().startsWith(`${url}/`)), 'no other site');
  assert.deepEqual(await rows(page), expected.repositories.slice(0, 50));

  // A second visit gets no file again. Chromium says of a document that it got it, in any case.
  const statuses = [];
  page.on('response', (response) => {
    if (/\.(js|css)$/.test(response.url())) statuses.push(response.status());
  });
  await page.reload();
  await shown(page);
  assert.deepEqual(new Set(statuses), new Set([304]));
}

async function search(open) {
  const page = await open();
  await go(page, '');
  const input = page.getByRole('searchbox', { name: 'Search repositories' });
  await input.pressSequentially('SERVICE-11');
  const matches = expected.repositories.filter((name) => name.includes('service-11'));
  await becomes(() => rows(page), matches);
  assert.ok(await input.evaluate((input) => input === document.activeElement), 'focus stays');
  assert.equal(new URL(page.url()).hash, '#/ecr?search=SERVICE-11');
  assert.deepEqual(
    await page.$$eval('mark', (all) => all.map((mark) => mark.textContent)),
    matches.map(() => 'service-11'),
  );
  // What was read before is searched at once.
  let calls = 0;
  page.on('request', (request) => calls += isApiCall(request) ? 1 : 0);
  await input.fill('no such name');
  await page.getByRole('heading', { name: 'No match' }).waitFor();
  assert.equal(calls, 0);
  await input.fill('');
  await becomes(() => rows(page), expected.repositories.slice(0, 50));

  // A search leaves the page of before in the history; an empty one does nothing.
  await page.getByRole('link', { name: 'Next' }).click();
  await becomes(() => rows(page), expected.repositories.slice(50, 100));
  const second = page.url();
  await input.press('Enter');
  assert.equal(page.url(), second);
  await input.fill(' service-11 ');
  await becomes(() => rows(page), matches);
  await page.goBack();
  await becomes(() => rows(page), expected.repositories.slice(50, 100));
  assert.equal(page.url(), second);
  assert.equal(await input.inputValue(), '');

  // What is typed before the first answer stays.
  const slow = await open();
  let answer;
  const answered = new Promise((resolve) => answer = resolve);
  await slow.route(`${url}/`, async (route) => {
    if (isApiCall(route.request())) await answered;
    await route.continue();
  });
  await slow.goto(`${url}/`);
  const box = slow.getByRole('searchbox', { name: 'Search repositories' });
  await box.fill('service-11');
  answer();
  await becomes(() => rows(slow), matches);
  assert.equal(await box.inputValue(), 'service-11');

  // The search is in the address.
  await go(page, '#/ecr?search=service-11');
  await page.reload();
  await shown(page);
  assert.deepEqual(await rows(page), matches);
  await page.getByRole('link', { name: 'Amazon ECR' }).first().click();
  await becomes(() => rows(page), expected.repositories.slice(0, 50));
  assert.equal(await input.inputValue(), '');
}

async function pages(open) {
  const page = await open();
  await go(page, '#/ecr');
  await page.getByRole('link', { name: 'Next' }).click();
  await becomes(() => rows(page), expected.repositories.slice(50, 100));
  await go(page, '#/ecr/load/app');
  const all = [];
  for (let number = 1; ; number += 1) {
    await becomes(() => page.locator('.count').innerText(), `50 images · page ${number}`);
    all.push(...await rows(page));
    const next = page.locator('a[rel=next]');
    if (await next.count() === 0) break;
    await next.click();
  }
  assert.deepEqual(all, load);

  // The last page, its link, and the way back.
  const last = page.url();
  const lastRows = await rows(page);
  await page.getByRole('link', { name: 'Previous' }).click();
  await becomes(() => rows(page), load.slice(-100, -50));
  await page.goBack();
  await becomes(() => rows(page), lastRows);
  const linked = await open();
  await linked.goto(last);
  await shown(linked);
  assert.deepEqual(await rows(linked), lastRows);
  await linked.getByRole('link', { name: 'First' }).click();
  await becomes(() => rows(linked), load.slice(0, 50));

  // A token that is not valid, and a later page without images: both lead to the first one.
  const toFirst = linked.getByRole('link', { name: 'First page' });
  for (const view of ['#/ecr/load/app', '#/ecr']) {
    await go(linked, `${view}?page=2&after=none`);
    await linked.getByRole('heading', { name: 'InvalidParameterException' }).waitFor();
    await toFirst.click();
    await becomes(async () => (await rows(linked)).length, 50);
    assert.equal(new URL(linked.url()).hash, view);
  }
  await go(linked, '#/ecr/load/app?tagStatus=TAGGED');
  await linked.route(`${url}/`, (route) => {
    const { nextToken } = route.request().postDataJSON();
    return nextToken ? route.fulfill({ json: { imageDetails: [] } }) : route.continue();
  });
  await linked.getByRole('link', { name: 'Next' }).click();
  await linked.getByRole('heading', { name: 'No more images' }).waitFor();
  await toFirst.click();
  await becomes(() => rows(linked), load.slice(0, 50));
}

async function filters(open) {
  const page = await open();
  await go(page, '#/ecr/shop/api');
  const names = async () => {
    return page.$$eval('tbody th', (all) => all.map((cell) => cell.innerText.split('\n')[0]));
  };
  assert.deepEqual(await names(), expected.active);
  const [tags, status] = [page.getByLabel('Tag status'), page.getByLabel('Image status')];
  await status.selectOption('Any status');
  await becomes(names, expected.all);
  await tags.selectOption('Untagged');
  await becomes(names, expected.all.filter((name) => name === 'untagged'));
  assert.equal(new URL(page.url()).hash, '#/ecr/shop/api?tagStatus=UNTAGGED&imageStatus=ANY');
  await status.selectOption('Archived');
  await page.getByRole('heading', { name: 'No images' }).waitFor();
  await page.getByRole('link', { name: 'Show all images' }).click();
  await becomes(names, expected.all);
  assert.equal(await tags.inputValue(), 'ANY');
  for (const wanted of [['UNTAGGED', 'ARCHIVED'], ['UNTAGGED', 'ANY'], ['ANY', 'ANY']]) {
    await page.goBack();
    await becomes(async () => [await tags.inputValue(), await status.inputValue()], wanted);
  }

  // What each row says.
  const cells = await page.$$eval('tbody tr', (all) => all.map((row) => {
    return [...row.querySelectorAll('.kind, .size, .scan, .status')].map((cell) => {
      return cell.innerText.replaceAll('\n', ' ');
    });
  }));
  assert.deepEqual(cells, expected.cells);

  // Amazon ECR Public has no filters, scans and statuses.
  await page.getByRole('link', { name: 'ECR Public' }).click();
  await page.getByRole('link', { name: 'shop/api' }).click();
  await becomes(names, ['v1']);
  assert.equal(await page.getByLabel('Image status').count(), 0);
  assert.equal(await page.getByRole('columnheader', { name: 'Scan' }).count(), 0);
}

async function lookUps(open) {
  const page = await open();
  await go(page, '#/ecr/shop/api');
  const input = page.getByRole('textbox', { name: 'Tag or digest' });
  const details = () => page.$$eval('dl > div', (all) => Object.fromEntries(all.map((fact) => {
    return [fact.querySelector('dt').innerText, fact.querySelector('dd').innerText];
  })));
  await input.fill('stable');
  await input.press('Enter');
  await becomes(async () => (await details()).Digest, expected.stable);
  const found = await details();
  assert.equal(found.Findings.replaceAll('\n', ' '), '1 critical 20 low');
  assert.match(found.Pushed, /\d\d:\d\d:\d\d UTC/);
  await page.goBack();
  await input.fill(expected.archived);
  await page.getByRole('button', { name: 'Look up' }).click();
  await becomes(async () => (await details()).Status, 'Archived');

  // An artifact leads to its subject.
  await go(page, '#/ecr/shop/api?image=signature');
  await page.locator('a.subject').click();
  await becomes(async () => (await details()).Digest, expected.stable);

  // Errors have the catalog's words.
  await go(page, '#/ecr/shop/api?image=no-such-tag');
  assert.equal(
    await page.locator('.failure p').first().innerText(),
    "The image with imageId {imageDigest:'null', imageTag:'no-such-tag'} does not exist within the "
      + "repository with name 'shop/api' in the registry with id '123456789012'",
  );
  await go(page, '#/ecr/no/such');
  assert.equal(
    await page.locator('.failure').innerText(),
    "RepositoryNotFoundException\n\nThe repository with name 'no/such' does not exist in the "
      + "registry with id '123456789012'",
  );
  await go(page, '#/ecr?registry=5');
  assert.ok((await page.locator('.failure').innerText()).includes("at 'registryId'"));
  const registry = page.getByRole('textbox', { name: 'Registry' });
  await registry.fill('210987654321');
  await registry.press('Enter');
  await becomes(() => rows(page), ['theirs/app']);
  await page.getByRole('link', { name: 'theirs/app' }).click();
  await page.getByRole('link', { name: 'untagged' }).waitFor();

  // Names are no markup, and no address leads elsewhere.
  await go(page, `#/ecr/${encodeURIComponent('<img src=x onerror=alert(1)>')}?image=%22%3E%3Cb%3E`);
  assert.equal(await page.locator('main img, main b').count(), 0);
  assert.ok((await page.locator('.failure').innerText()).startsWith('InvalidParameterException'));
}

async function copies(open) {
  const page = await open();
  await go(page, '#/ecr/shop/api?imageStatus=ANY');
  const registry = '123456789012.dkr.ecr.us-east-1.amazonaws.com/shop/api';
  const copy = async (name, wanted) => {
    await page.getByRole('button', { name, exact: true }).click();
    await page.getByText('Copied:').waitFor();
    // The toast may be that of the copy before.
    await becomes(() => copied(page), wanted);
  };
  await copy('Copy the reference of stable', `docker pull ${registry}:stable`);
  await copy('Copy the reference of signature', `${registry}:signature`);
  await copy('Copy the address', registry);
  await copy(
    'Copy AWS CLI',
    'aws ecr describe-images --repository-name shop/api --filter imageStatus=ANY '
      + `--max-results 50 --endpoint-url ${url} --region us-east-1 --no-sign-request`,
  );
  await go(page, '#/ecr/shop/api?image=v2');
  await copy('Copy Pull by tag', `docker pull ${registry}:v2`);
  await copy('Copy Pull by digest', `docker pull ${registry}@${expected.stable}`);

  // Elsewhere than in a secure context there is no clipboard of the page's own.
  const insecure = await open();
  await insecure.addInitScript(() => {
    Object.defineProperty(navigator, 'clipboard', { value: undefined });
  });
  await go(insecure, '#/ecr/shop/api?image=v1');
  await insecure.getByRole('button', { name: 'Copy the digest' }).click();
  await insecure.getByText('Copied:').waitFor();
  // Another page reads it.
  await page.bringToFront();
  assert.equal(await copied(page), expected.archived);
}

const tests = { firstView, search, pages, filters, lookUps, copies };
await run(tests[process.argv[4]], { expected: REFUSED });
