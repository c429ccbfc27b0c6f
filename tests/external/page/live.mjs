// What arrives while the page is open.

import assert from 'node:assert/strict';

import { becomes, go, isApiCall, rows, run, url } from './browser.mjs';

const events = JSON.parse(process.argv[3]);

async function send(event) {
  const body = JSON.stringify(event);
  const response = await fetch(`${url}/events/ecr`, { method: 'POST', body });
  assert.equal(response.status, 200, await response.text());
}

async function test(open) {
  const page = await open({ viewport: { width: 1280, height: 500 } });
  await go(page, '#/ecr/live/app');
  const before = await rows(page);
  assert.equal(before.length, 50);

  // Focus and scroll position stay.
  const focused = page.locator('tbody tr').nth(30).locator('th a');
  await focused.focus();
  const key = before[30];
  const place = () => page.evaluate((key) => {
    const row = document.querySelector(`[data-key="${key}"]`);
    return {
      top: Math.round(row.getBoundingClientRect().top),
      isFocused: row.contains(document.activeElement),
    };
  }, key);
  const placed = await place();
  assert.ok(placed.isFocused);
  await page.evaluate((key) => {
    document.querySelector(`[data-key="${key}"]`).isSame = true;
  }, key);
  await send(events.push);
  await page.getByRole('link', { name: 'new', exact: true }).waitFor();
  assert.deepEqual(await rows(page), [events.push.detail['image-digest'], ...before.slice(0, 49)]);
  assert.deepEqual(await place(), placed);
  assert.ok(await page.evaluate((key) => {
    return document.querySelector(`[data-key="${key}"]`).isSame;
  }, key), 'the row is not drawn anew');
  const announcer = page.locator('#announcer');
  assert.equal(await announcer.textContent(), 'New: 1 image');

  // A tag that moves, in a row that is shown.
  await send(events.move);
  const moved = page.locator(`[data-key="${events.move.detail['image-digest']}"]`);
  await moved.getByText('moved').waitFor();

  // The focused image is deleted. That of the next page, which takes its place, is not new.
  await announcer.evaluate((element) => element.textContent = '');
  await send(events.deletion);
  await page.locator(`[data-key="${key}"]`).waitFor({ state: 'detached' });
  assert.equal(await page.evaluate(() => document.activeElement.tagName), 'H1');
  assert.equal((await rows(page)).length, 50);
  assert.equal(await announcer.textContent(), '');

  // A repository that does not exist yet.
  await go(page, '#/ecr/live/later');
  assert.ok((await page.locator('.failure').innerText()).includes('RepositoryNotFoundException'));
  await send(events.later);
  await page.getByRole('link', { name: 'first', exact: true }).waitFor();
  assert.equal(await announcer.textContent(), '1 image');

  // Without a response, what was read stays, and the page goes on once there is one.
  await page.route(`${url}/`, (route) => route.abort());
  await page.getByText('The catalog does not respond.').waitFor();
  assert.equal((await rows(page)).length, 1);
  await page.unroute(`${url}/`);
  await page.getByText('The catalog does not respond.').waitFor({ state: 'detached' });

  // A search that fails twice keeps what it found, and goes on. What it finds then is not new.
  const searching = await open();
  let searches = 0;
  await searching.route(`${url}/`, (route) => {
    if (!isApiCall(route.request())) return route.continue();
    searches += 1;
    if (searches > 1) return route.abort();
    const members = { ...route.request().postDataJSON(), maxResults: 1 };
    return route.continue({ postData: JSON.stringify(members) });
  });
  const retry = () => searching.evaluate(() => {
    document.dispatchEvent(new Event('visibilitychange'));
  });
  await go(searching, '#/ecr?search=live');
  await retry();
  await searching.getByText('What follows is of').waitFor();
  assert.deepEqual(await rows(searching), ['live/app']);
  assert.equal(await searching.locator('#announcer').textContent(), '');
  await searching.unroute(`${url}/`);
  await retry();
  await becomes(() => rows(searching), ['live/app', 'live/later']);
  await becomes(() => searching.locator('#announcer').textContent(), '2 repositories');

  // A tab in the background sends no requests.
  const hidden = await open();
  await hidden.clock.install();
  await go(hidden, '#/ecr/live/app');
  let calls = 0;
  hidden.on('request', (request) => calls += isApiCall(request) ? 1 : 0);
  const setHidden = (value) => hidden.evaluate((value) => {
    Object.defineProperty(document, 'hidden', { value, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  }, value);
  await setHidden(true);
  await hidden.clock.runFor(600_000);
  assert.equal(calls, 0);
  const called = hidden.waitForRequest(isApiCall);
  await setHidden(false);
  await called;
}

await run(test, { expected: /status of 400|net::ERR_FAILED/ });
