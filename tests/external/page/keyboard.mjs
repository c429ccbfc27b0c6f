// The keyboard alone.

import assert from 'node:assert/strict';

import { becomes, copied, go, rows, run } from './browser.mjs';

// What has the focus: its role or tag, and its name.
function focused(page) {
  return page.evaluate(() => {
    const element = document.activeElement;
    const label = element.labels?.[0]?.innerText ?? element.getAttribute('aria-label');
    return `${element.tagName.toLowerCase()} ${label ?? element.innerText}`;
  });
}

// Presses a key until something has the focus.
async function press(page, key, wanted, limit = 80) {
  for (let count = 0; count < limit; count += 1) {
    await page.keyboard.press(key);
    if (await focused(page) === wanted) {
      assert.ok(await page.evaluate(() => {
        return getComputedStyle(document.activeElement).outlineStyle !== 'none'
          && document.activeElement.getClientRects().length > 0;
      }), `${wanted} shows its focus`);
      return;
    }
  }
  assert.fail(`${key} does not reach ${wanted}`);
}

async function test(open) {
  const page = await open();
  await go(page, '#/ecr');
  await page.keyboard.press('Tab');
  assert.equal(await focused(page), 'a Skip to the content');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  assert.equal(await focused(page), 'input Search repositories');
  await page.keyboard.type('shop/api');
  await becomes(() => rows(page), ['shop/api']);
  await press(page, 'Tab', 'a shop/api');
  await page.keyboard.press('Enter');
  // A screen reader begins at the heading of what is new.
  await becomes(() => focused(page), 'h1 shop/api');
  await page.getByRole('link', { name: 'signature' }).waitFor();
  assert.equal(await page.title(), 'shop/api · Image catalog');

  await press(page, 'Tab', 'select Image status');
  await page.keyboard.press('End');
  await page.getByRole('link', { name: 'v1', exact: true }).waitFor();
  assert.equal(await focused(page), 'select Image status');
  assert.equal(new URL(page.url()).hash, '#/ecr/shop/api?imageStatus=ANY');
  await press(page, 'Tab', 'button Copy the reference of stable');
  await page.keyboard.press('Enter');
  await page.getByText('Copied:').waitFor();
  assert.ok((await copied(page)).endsWith('/shop/api:stable'));
  assert.equal(await focused(page), 'button Copy the reference of stable');

  await press(page, 'Shift+Tab', 'input Tag or digest');
  await page.keyboard.type('v2');
  await page.keyboard.press('Enter');
  await becomes(() => focused(page), 'h1 v2');
  await press(page, 'Shift+Tab', 'a Repositories');
  await page.keyboard.press('Enter');
  await becomes(() => focused(page), 'h1 Repositories');
  await becomes(async () => (await rows(page)).length, 50);
  const first = await rows(page);
  await press(page, 'Tab', 'a Next', 200);
  await page.keyboard.press('Enter');
  await becomes(() => focused(page), 'h1 Repositories');
  await becomes(async () => (await rows(page)).some((name) => first.includes(name)), false);
  await page.goBack();
  await becomes(() => rows(page), first);

  await press(page, 'Shift+Tab', 'a Status');
  await page.keyboard.press('Enter');
  await becomes(() => focused(page), 'h1 Status');
  await page.getByRole('heading', { name: 'Sources' }).waitFor();
  assert.equal(await focused(page), 'h1 Status');
  assert.equal(await page.title(), 'Status · Image catalog');
}

await run(test);
