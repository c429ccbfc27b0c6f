// The rules of axe in light and dark, and three widths, at which the page must not scroll sideways.

import { REFUSED, assertAccessible, assertFits, go, run, shown } from './browser.mjs';

const { signingUrl } = JSON.parse(process.argv[3]);

const VIEWS = [
  '#/ecr', '#/ecr?search=service-1', '#/ecr?search=none', '#/ecr?registry=000000000000',
  '#/ecr?registry=5', '#/ecr-public', '#/ecr/shop/api?imageStatus=ANY', '#/ecr/load/app',
  '#/ecr/shop/empty', '#/ecr/shop/api?tagStatus=UNTAGGED&imageStatus=ARCHIVED',
  '#/ecr/shop/api?image=stable', '#/ecr/shop/api?image=none', '#/ecr-public/shop/api',
  '#/ecr/shop/long', '#/status',
];

const APPEARANCES = [
  { colorScheme: 'light', width: 1280, hasAxe: true },
  { colorScheme: 'dark', width: 1280, hasAxe: true },
  { colorScheme: 'light', width: 768, hasAxe: false },
  // Rows are blocks.
  { colorScheme: 'light', width: 360, hasAxe: true },
];

async function test(open) {
  for (const { colorScheme, width, hasAxe } of APPEARANCES) {
    const page = await open({ colorScheme, viewport: { width, height: 800 } });
    const check = async (name) => {
      const what = `${name}, ${width}, ${colorScheme}`;
      await assertFits(page, what);
      if (hasAxe) await assertAccessible(page, what);
    };
    for (const view of VIEWS) {
      await go(page, view);
      await check(view);
    }
    await page.goto(`${signingUrl}/`);
    await shown(page);
    await check('sign in');
    await page.context().close();
  }
}

await run(test, { expected: REFUSED });
