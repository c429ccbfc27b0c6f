// The AWS CLI's commands for what is shown, run as they were copied.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';

import { becomes, copied, go, rows, run } from './browser.mjs';

// The output of the command of a page.
async function output(page) {
  await page.getByRole('button', { name: 'Copy AWS CLI' }).click();
  await page.getByText('Copied:').waitFor();
  return JSON.parse(execFileSync('sh', ['-c', await copied(page)], { encoding: 'utf8' }));
}

const digests = ({ imageDetails }) => imageDetails.map((image) => image.imageDigest);

async function test(open) {
  const page = await open();
  for (const fragment of [
    '#/ecr/shop/api', '#/ecr/shop/api?imageStatus=ANY', '#/ecr/shop/api?tagStatus=UNTAGGED',
    '#/ecr/shop/api?tagStatus=TAGGED&imageStatus=ARCHIVED', '#/ecr-public/shop/api',
    '#/ecr/theirs/app?registry=210987654321',
  ]) {
    await go(page, fragment);
    assert.deepEqual(digests(await output(page)), await rows(page), fragment);
  }
  await go(page, '#/ecr/load/app');
  const first = await rows(page);
  await page.getByRole('link', { name: 'Next' }).click();
  await becomes(async () => (await rows(page)).some((digest) => first.includes(digest)), false);
  const second = await output(page);
  assert.deepEqual(digests(second), await rows(page));
  assert.equal(second.imageDetails.length, 50);

  await go(page, '#/ecr/shop/api?image=stable');
  const digest = await page.locator('dd code').first().innerText();
  assert.deepEqual(digests(await output(page)), [digest]);
  await go(page, `#/ecr/shop/api?image=${digest}`);
  assert.deepEqual(digests(await output(page)), [digest]);

  const names = ({ repositories }) => repositories.map((one) => one.repositoryName);
  for (const fragment of ['#/ecr', '#/ecr-public', '#/ecr?registry=210987654321']) {
    await go(page, fragment);
    assert.deepEqual(names(await output(page)), await rows(page), fragment);
  }
  for (const search of ['SHOP/', "o'x\\", '']) {
    await go(page, `#/ecr?search=${encodeURIComponent(search)}`);
    const found = await output(page);
    assert.deepEqual((Array.isArray(found) ? found : found.repositories)
      .map((one) => one.repositoryName), await rows(page), search);
  }
}

await run(test);
