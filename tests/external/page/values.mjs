// What the page computes: canonical requests, signatures, words of a shell, sizes and times.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';

import { go, run } from './browser.mjs';

async function test(open) {
  const page = await open();
  await go(page, '');
  const call = (file, name, ...values) => page.evaluate(async ([file, name, values]) => {
    const module = await import(`/page/${file}.js`);
    return module[name](...values);
  }, [file, name, values]);

  // The example `post-vanilla` of AWS's test suite of Signature Version 4.
  const hash = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
  assert.equal(
    await call('signature', 'canonicalRequest', 'POST', '/', {
      'x-amz-date': '20150830T123600Z', host: 'example.amazonaws.com',
    }, hash),
    'POST\n/\n\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\n\n'
      + `host;x-amz-date\n${hash}`,
  );
  const signed = await page.evaluate(async () => {
    const { sign } = await import('/page/signature.js');
    return sign({
      method: 'POST', path: '/', host: 'example.amazonaws.com', headers: {}, body: '',
      time: new Date(1440938160000), region: 'us-east-1', service: 'service',
      credentials: {
        accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
      },
    });
  });
  assert.equal(
    signed.authorization,
    'AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, '
      + 'SignedHeaders=host;x-amz-date, '
      + 'Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b',
  );
  assert.equal(
    await call('signature', 'canonicalRequest', 'GET', '/status', { a: ' x \t y  z ' }, hash),
    `GET\n/status\n\na:x y z\n\na\n${hash}`,
    'spaces are collapsed',
  );

  // A shell reads each word as it was.
  const words = [
    '', 'team/app', "it's", '"', '`id`', '$(id)', '$HOME', 'a b', 'a\nb', '\\', '*', '~', '~/a',
    '#a', '!!', ';', '&', '|', '>', '<', '(', '{a,b}', '=ls', 'a=b', "'", "''", 'ü', '-', '--a',
    'tagStatus=TAGGED,imageStatus=ANY', '[a]', '?', '%', '^', '\t',
  ];
  for (const shell of ['sh', 'bash']) {
    const quoted = await Promise.all(words.map((word) => call('commands', 'quote', word)));
    const script = quoted.map((word) => `printf '%s\\0' ${word}`).join('\n');
    const read = execFileSync(shell, ['-c', script], { encoding: 'utf8' }).split('\0');
    assert.deepEqual(read.slice(0, -1), words, shell);
  }
  assert.equal(await call('commands', 'quote', 'team/app'), 'team/app');
  assert.equal(await call('commands', 'quote', "it's"), "'it'\\''s'");

  for (const [bytes, text] of [
    [0, '0 B'], [999, '999 B'], [1000, '1.00 kB'], [9994, '9.99 kB'], [9995, '10.0 kB'],
    [99949, '99.9 kB'], [99950, '100 kB'], [999499, '999 kB'], [999500, '1.00 MB'],
    [48211033, '48.2 MB'], [5e9, '5.00 GB'], [9223372036854775807, '9223372 TB'],
  ]) {
    assert.equal(await call('formats', 'size', bytes), text);
  }
  const day = 86_400;
  for (const [elapsed, text] of [
    [-5, 'just now'], [59, 'just now'], [60, '1 minute ago'], [3599, '59 minutes ago'],
    [3600, '1 hour ago'], [2 * day - 1, '1 day ago'], [30 * day - 1, '29 days ago'],
    [30 * day, '2026-01-01'],
  ]) {
    assert.equal(await call('formats', 'age', 1767225600, 1767225600 + elapsed), text);
  }

  // An address, and back.
  for (const address of [
    { service: 'ecr' },
    { service: 'status' },
    { service: 'ecr-public', repository: 'team/app', image: 'sha256:ab' },
    { service: 'ecr', registry: '123456789012', search: 'a&b=c#d %' },
    { service: 'ecr', repository: 'a?b#c%d/é', tagStatus: 'TAGGED', page: '2', after: 'x-_=' },
  ]) {
    const fragment = await call('address', 'format', address);
    assert.deepEqual(await call('address', 'parse', fragment), address);
  }
  for (const fragment of ['', '#', '#/', '#main', '#/other/team', '#//', '#/ecr/', '#/%zz', '#?']) {
    assert.equal((await call('address', 'parse', fragment)).service, 'ecr', fragment);
  }
}

await run(test);
