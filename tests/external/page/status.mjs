// The status: what it shows, what arrives while it is open, and its file, which can fail to load.

import assert from 'node:assert/strict';

import { assertAccessible, assertFits, becomes, go, run, shown, url } from './browser.mjs';

const deliveries = JSON.parse(process.argv[3]);

async function send(source, body, token, expected) {
  const headers = { authorization: `Bearer ${token}` };
  const response = await fetch(`${url}/events/${source}`, { method: 'POST', body, headers });
  assert.equal(response.status, expected, await response.text());
}

// The texts of the rows below a heading.
function cells(page, heading) {
  return page.$$eval('.part', (parts, heading) => {
    const part = parts.find((part) => part.querySelector('h2').textContent === heading);
    return [...part?.querySelectorAll('tbody tr') ?? []].map((row) => {
      return [...row.children].map((cell) => cell.innerText);
    });
  }, heading);
}

async function test(open) {
  const page = await open();
  await go(page, '#/ecr');
  const loaded = () => page.evaluate(() => {
    const files = performance.getEntriesByType('resource').map(({ name }) => new URL(name));
    return files.some(({ pathname }) => pathname === '/page/status.js');
  });
  assert.equal(await loaded(), false, 'the file is loaded when it is needed');
  await page.getByRole('link', { name: 'Status', exact: true }).click();
  await page.getByRole('heading', { name: 'Sources' }).waitFor();
  assert.ok(await loaded());
  assert.equal(new URL(page.url()).hash, '#/status');
  const current = page.locator('header [aria-current=page]');
  assert.deepEqual(await current.allInnerTexts(), ['Status']);
  const facts = await page.locator('.facts').innerText();
  assert.match(facts, /^Version \d+\.\d+\.\d+.*Running since\s/s);

  // Subscriptions are there before their first delivery.
  assert.deepEqual(await cells(page, 'Sources'), [
    ['distribution', 'distribution-1', 'none yet', '0', '0', '0', '0', '0', '0'],
    ['harbor', 'harbor-berlin', 'none yet', '0', '0', '0', '0', '0', '0'],
  ]);
  for (const empty of ['No refusal since the start', 'No lookup is pending']) {
    assert.ok(await page.getByText(empty).isVisible(), empty);
  }
  const reconciliations = await cells(page, 'Reconciliations');
  reconciliations.sort();
  assert.deepEqual(reconciliations, [
    ['distribution-1 127.0.0.1:9', 'never', '', '', '', '', '', '', 'not scheduled'],
    [
      'harbor-berlin 127.0.0.1:9', 'just now', '1,200', '9', '5', '4', '2', '', 'not scheduled',
    ],
  ]);

  // What arrives is shown without a reload; new rows are announced.
  const announcer = page.locator('#announcer');
  await send('harbor', deliveries.push, 'token of harbor', 200);
  const harbor = async () => (await cells(page, 'Sources'))[1].slice(2);
  await becomes(harbor, ['just now', '1', '1', '0', '0', '0', '0']);
  await announcer.evaluate((element) => element.textContent = '');
  await send('harbor?subscription=harbor-berlin', deliveries.push, 'guess', 401);
  await page.getByRole('cell', { name: '401' }).waitFor();
  assert.deepEqual(await harbor(), ['just now', '1', '1', '0', '0', '0', '1']);
  assert.deepEqual((await cells(page, 'Last refusals'))[0].slice(0, 4), [
    'just now', 'harbor', 'harbor-berlin', '401',
  ]);
  assert.match(await announcer.textContent(), /^New: \d+ entr(y|ies)$/);
  await send('harbor', '{"type":"PUSH_ARTIFACT"}', 'token of harbor', 400);
  await page.getByText("there is neither 'occur_at' nor 'time'").waitFor();
  assert.deepEqual(
    (await cells(page, 'Last refusals')).map(([, , , status]) => status),
    ['400', '401'],
    'the newest first',
  );
  await becomes(harbor, ['just now', '2', '1', '0', '0', '1', '1']);
  await send('distribution', deliveries.notification, 'token of distribution', 200);
  await becomes(async () => {
    const lookups = await cells(page, 'Pending lookups');
    const found = lookups.find(([, subscription]) => subscription === 'distribution-1');
    return found && [found[0], found[3]];
  }, ['127.0.0.1:9', '1']);

  // Filled tables, once no row is pointed out, in both appearances, and as blocks whose values have
  // labels.
  await page.evaluate(() => Promise.all(document.getAnimations().map(({ finished }) => finished)));
  for (const [width, colorScheme] of [[1280, 'dark'], [900, 'light'], [360, 'light']]) {
    await page.setViewportSize({ width, height: 800 });
    await page.emulateMedia({ colorScheme });
    await assertFits(page, `${width}`);
    await assertAccessible(page, `${width}, ${colorScheme}`);
  }
  assert.equal((await harbor())[1].replace(/\s+/g, ' '), 'Deliveries 2');

  // A table that cannot be read, and no usable response: what was read stays, until there is one.
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.route(`${url}/status`, async (route) => {
    const response = await route.fetch();
    const json = { ...await response.json(), tableError: 'the request to DynamoDB failed' };
    await route.fulfill({ response, json });
  });
  await page.getByRole('heading', { name: 'The table cannot be read' }).waitFor();
  assert.ok(await page.getByText('the request to DynamoDB failed').isVisible());
  assert.equal((await harbor())[1], '2');
  await page.unroute(`${url}/status`);
  await page.route(`${url}/status`, (route) => route.fulfill({ status: 503, body: 'busy' }));
  await page.getByText('The response has the status 503.').waitFor();
  assert.equal((await harbor())[1], '2');
  await page.unroute(`${url}/status`);
  await page.getByText('The response has the status 503.').waitFor({ state: 'detached' });
  assert.equal(await page.getByText('The table cannot be read').count(), 0);

  // The file is not there at first.
  const broken = await open();
  await broken.route(/\/page\/status\.js/, (route) => route.abort());
  await go(broken, '#/status');
  await broken.getByText('A file of this page could not be loaded.').waitFor();
  assert.equal(await broken.locator('#live').innerText(), 'Retrying');
  await broken.unroute(/\/page\/status\.js/);
  await broken.getByRole('heading', { name: 'Sources' }).waitFor();
  await shown(broken);
  assert.equal(await broken.locator('#live').innerText(), 'Live');
  assert.equal(await broken.locator('.failure').count(), 0);
}

await run(test, { expected: /status of 503|net::ERR_FAILED/ });
