// Chromium, and pages in it. Whatever a page logs as an error or a warning, and whatever its
// policy refuses, fails the script at its end, unless `expected` matches it.
//
// Node.js looks for modules beside the script that imports them; these are in the folder that
// TOOLS_FOLDER names.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { isDeepStrictEqual } from 'node:util';

const require = createRequire(`${process.env.TOOLS_FOLDER}/`);
const { chromium } = require('playwright-core');

// How long anything may take to appear while other tests run.
const TIMEOUT = 30_000;

// The address of the catalog.
export const url = process.argv[2];

const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

// A response with an error of the API.
export const REFUSED = /the server responded with a status of 400/;

// Runs a test with a function that opens pages, each with a session of its own.
export async function run(test, { expected = /^$/, args = [] } = {}) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: [
      '--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking', ...args,
    ],
  });
  const problems = [];
  try {
    await test(async (options = {}) => {
      const context = await browser.newContext({
        viewport: { width: 1280, height: 800 },
        permissions: ['clipboard-read', 'clipboard-write'],
        ...options,
      });
      context.setDefaultTimeout(TIMEOUT);
      context.on('page', (page) => {
        page.on('console', (message) => {
          if (['error', 'warning'].includes(message.type())) problems.push(message.text());
        });
        page.on('pageerror', (error) => problems.push(error.stack));
      });
      await context.addInitScript(() => {
        document.addEventListener('securitypolicyviolation', (event) => {
          console.error(`refused by ${event.violatedDirective}: ${event.blockedURI}`);
        });
      });
      return context.newPage();
    });
  } finally {
    await browser.close();
  }
  const unexpected = problems.filter((problem) => !expected.test(problem));
  if (unexpected.length > 0) throw new Error(`the page reported:\n${unexpected.join('\n')}`);
}

// Goes to a fragment, and waits until it is shown.
export async function go(page, fragment) {
  // Else the address would change within the page that is shown.
  await page.goto('about:blank');
  await page.goto(`${url}/${fragment}`);
  await shown(page);
}

export async function shown(page) {
  await page.waitForSelector('main[aria-busy="false"]');
}

// Checks that a page does not scroll sideways.
export async function assertFits(page, name) {
  const excess = await page.evaluate(() => {
    return document.documentElement.scrollWidth - document.documentElement.clientWidth;
  });
  assert.equal(excess, 0, `${name} is too wide`);
}

// Checks a page by the rules of axe.
export async function assertAccessible(page, name) {
  const { violations } = await page.evaluate(`${axe}; axe.run()`);
  const found = violations.map(({ id, nodes }) => {
    return `${id}: ${nodes.map((node) => node.html).join('\n')}`;
  });
  assert.deepEqual(found, [], name);
}

// Waits until what a function reads is as expected.
export async function becomes(read, expected) {
  const deadline = Date.now() + TIMEOUT;
  for (;;) {
    const value = await read();
    if (isDeepStrictEqual(value, expected)) return;
    if (Date.now() > deadline) assert.deepEqual(value, expected);
  }
}

export function isApiCall(responseOrRequest) {
  const request = responseOrRequest.request?.() ?? responseOrRequest;
  return request.method() === 'POST';
}

// The keys of the rows: names of repositories, or digests.
export function rows(page) {
  return page.$$eval('tbody tr', (all) => all.map((row) => row.dataset.key));
}

// The text that was copied last.
export function copied(page) {
  return page.evaluate(() => navigator.clipboard.readText());
}
