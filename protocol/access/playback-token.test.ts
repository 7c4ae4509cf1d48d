import { Buffer } from 'node:buffer';
import { CAT } from '@eyevinn/cat';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { importAccessKey, parseAccessKeys, type AccessKey } from '#protocol/access/access-keys.ts';
import { signCommonAccessToken } from '#protocol/access/common-access-token.ts';
import { signHmacToken } from '#protocol/access/hmac-token.ts';
import { findRefusal } from '#protocol/access/playback-grant.ts';
import { PLAYBACK_TOKEN_PATTERN, verifyPlaybackToken } from '#protocol/access/playback-token.ts';
import { TokenVerifier } from '#protocol/access/token-verifier.ts';

const NOW_S = Math.floor(Date.now() / 1_000);
const SECRET = Buffer.alloc(32, 7);
const at = (path: string): URL => new URL(path, 'https://cdn.example');

let key: AccessKey;
let otherKey: AccessKey;
let forgedKey: AccessKey;
beforeAll(async () => {
  key = await importAccessKey('k1', SECRET);
  otherKey = await importAccessKey('k2', Buffer.alloc(32, 8));
  forgedKey = await importAccessKey('k1', Buffer.alloc(32, 9));
});

type Claims = {
  readonly streams?: { readonly match: 'exact' | 'prefix'; readonly value: string };
  readonly expiresAtS?: number;
  readonly countries?: readonly string[];
  readonly sessionId?: string;
};

const hmac = (claims: Claims, signer: AccessKey): Promise<string> =>
  signHmacToken({ streams: { match: 'exact', value: 'demo' }, expiresAtS: NOW_S + 60, ...claims }, signer);
const cat = ({ streams, ...claims }: Claims, signer: AccessKey): Promise<string> =>
  signCommonAccessToken(
    {
      issuer: 'livehls',
      path: {
        match: 'prefix',
        value: `/live/${streams?.value ?? 'demo'}${streams?.match === 'prefix' ? '' : '/'}`,
      },
      issuedAtS: NOW_S,
      expiresAtS: NOW_S + 60,
      ...claims,
    },
    signer,
  );

describe.each([
  ['plain HMAC', hmac],
  ['Common Access Token', cat],
])('a playback token as %s', (_form, sign) => {
  const judge = async (
    claims: Claims,
    path = '/live/demo/master.m3u8',
    extra: { readonly country?: string; readonly nowS?: number; readonly signer?: AccessKey } = {},
  ) => {
    const token = await sign(claims, extra.signer ?? key);
    const request = { url: at(path), country: extra.country, nowS: extra.nowS ?? NOW_S };
    return new TokenVerifier([key, otherKey]).authorise(token, request);
  };

  it('opens its stream and says whose session it is', async () => {
    expect(await judge({ sessionId: 'viewer-1' })).toMatchObject({ grant: { sessionId: 'viewer-1' } });
  });

  it('is made of characters that a path may hold', async () => {
    const token = await sign({ countries: ['DE', 'AT'], sessionId: 'a_b-c' }, key);
    expect(token).toMatch(PLAYBACK_TOKEN_PATTERN);
    expect(at(`/t/${token}/live/demo/x`).pathname).toBe(`/t/${token}/live/demo/x`);
  });

  it.each(['/live/demo2/master.m3u8', '/live/dem', '/live/demo/../other/master.m3u8', '/api/v1/streams'])(
    'does not open %s',
    async (path) => {
      expect(await judge({}, path)).toEqual({ refusal: 'token_stream_mismatch' });
    },
  );

  it('opens every stream of its prefix', async () => {
    const streams = { match: 'prefix', value: 'event-' } as const;
    expect(await judge({ streams }, '/live/event-7/v/index.m3u8')).toHaveProperty('grant');
    expect(await judge({ streams }, '/live/demo/v/index.m3u8')).toEqual({ refusal: 'token_stream_mismatch' });
  });

  it('ends', async () => {
    expect(await judge({ expiresAtS: NOW_S + 10 }, undefined, { nowS: NOW_S + 9 })).toHaveProperty('grant');
    expect(await judge({ expiresAtS: NOW_S + 10 }, undefined, { nowS: NOW_S + 10 })).toEqual({
      refusal: 'token_expired',
    });
  });

  it('keeps to its countries, and to none when the country is not known', async () => {
    const claims = { countries: ['DE', 'AT'] };
    expect(await judge(claims, undefined, { country: 'at' })).toHaveProperty('grant');
    expect(await judge(claims, undefined, { country: 'FR' })).toEqual({ refusal: 'token_country_mismatch' });
    expect(await judge(claims)).toEqual({ refusal: 'token_country_mismatch' });
  });

  it('is accepted from every key that is valid, and no other', async () => {
    expect(await judge({}, undefined, { signer: otherKey })).toHaveProperty('grant');
    expect(await judge({}, undefined, { signer: forgedKey })).toEqual({ refusal: 'token_signature_invalid' });
    const unknown = await importAccessKey('k3', SECRET);
    expect(await judge({}, undefined, { signer: unknown })).toEqual({ refusal: 'token_key_unknown' });
  });

  it('is worth nothing once any character was changed', async () => {
    expect.hasAssertions();
    const token = await sign({ countries: ['DE'], sessionId: 's' }, key);
    await fc.assert(
      fc.asyncProperty(
        fc.nat(token.length - 1),
        fc.constantFrom('A', 'B', 'x', 'z', '0', '9', '-', '_', '~', '.', '*'),
        async (index, character) => {
          fc.pre(token[index] !== character);
          const changed = token.slice(0, index) + character + token.slice(index + 1);
          expect(await verifyPlaybackToken(changed, [key])).toHaveProperty('refusal');
        },
      ),
    );
  });
});

describe('Common Access Tokens of others', () => {
  const catOf = (kid: string): CAT => new CAT({ keys: { [kid]: SECRET }, expectCwtTag: true });
  const options = { type: 'mac', alg: 'HS256', kid: 'k1' } as const;
  const uri = { path: { 'prefix-match': '/live/demo/' } };

  it('are read as @eyevinn/cat writes them', async () => {
    const token = await catOf('k1').generateFromJson(
      { iss: 'shop', sub: 'viewer-2', exp: NOW_S + 60, catu: uri, catgeoiso3166: ['SE'] },
      options,
    );
    expect(await verifyPlaybackToken(token ?? '', [key])).toEqual({
      grant: {
        uris: [{ piece: 'path', match: 'prefix', value: '/live/demo/' }],
        expiresAtS: NOW_S + 60,
        notBeforeS: 0,
        countries: ['SE'],
        sessionId: 'viewer-2',
      },
    });
  });

  it('of ours are accepted by @eyevinn/cat', async () => {
    const token = await cat({ countries: ['SE'], sessionId: 'viewer-3' }, key);
    const check = { kid: 'k1', issuer: 'livehls', url: at('/live/demo/master.m3u8') };
    expect((await catOf('k1').validate(token, 'mac', check)).error).toBeUndefined();
    const elsewhere = { ...check, url: at('/live/other/master.m3u8') };
    expect((await catOf('k1').validate(token, 'mac', elsewhere)).error).toBeDefined();
  });

  it.each([
    ['a replay limit', { catreplay: 1 }],
    ['an address', { catnip: ['10.0.0.0/8'] }],
    ['a regular expression', { catu: { path: { 'regex-match': ['.*'] } } }],
    ['no URI at all', { catu: undefined }],
    ['another version', { catv: 2 }],
    ['a method that nobody plays with', { catm: ['POST'] }],
  ])('are refused when they are limited by %s, which is not understood', async (_name, claims) => {
    const dict = Object.fromEntries(
      Object.entries({ iss: 'shop', exp: NOW_S + 60, catu: uri, ...claims }).filter(
        ([, value]) => value !== undefined,
      ),
    );
    const token = await catOf('k1').generateFromJson(dict, options);
    expect(await verifyPlaybackToken(token ?? '', [key])).toEqual({ refusal: 'token_claim_unsupported' });
  });

  it('wait for their time', () => {
    const grant = { uris: [], expiresAtS: 200, notBeforeS: 100, countries: [], sessionId: '' };
    const refusalAt = (nowS: number) => findRefusal(grant, { url: at('/'), nowS });
    expect([refusalAt(90), refusalAt(95), refusalAt(199)]).toEqual([
      'token_not_yet_valid',
      undefined,
      undefined,
    ]);
  });
});

describe('any text', () => {
  it('is a token or a refusal, never an error', async () => {
    expect.hasAssertions();
    const text = fc.oneof(
      fc.string(),
      fc.stringMatching(/^1~[A-Za-z0-9~.*-]{0,80}$/),
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes).toString('base64url')),
      fc
        .uint8Array({ maxLength: 80 })
        .map((bytes) => Buffer.from([0xd8, 61, 0xd1, 0x84, ...bytes]).toString('base64url')),
      fc.constant('A'.repeat(5_000)),
    );
    await fc.assert(
      fc.asyncProperty(text, async (token) => {
        const verdict = await new TokenVerifier([key]).authorise(token, {
          url: at('/live/demo/'),
          nowS: NOW_S,
        });
        expect(verdict).toHaveProperty('refusal');
      }),
      { numRuns: 500 },
    );
  });
});

describe('a verifier', () => {
  it('remembers a bounded number of verdicts, and refusals do not push out grants', async () => {
    const verifier = new TokenVerifier([key], 10);
    const request = { url: at('/live/demo/x'), nowS: NOW_S };
    const good = await hmac({}, key);
    expect(await verifier.authorise(good, request)).toHaveProperty('grant');
    for (let i = 0; i < 50; i++) await verifier.authorise(`1~k1~${i}~demo~~~${'A'.repeat(43)}`, request);
    expect(verifier.size).toBe(11);
  });

  it('judges a remembered token anew', async () => {
    const verifier = new TokenVerifier([key]);
    const token = await hmac({ expiresAtS: NOW_S + 10 }, key);
    const request = { url: at('/live/demo/x'), nowS: NOW_S };
    expect(await verifier.authorise(token, request)).toHaveProperty('grant');
    expect(await verifier.authorise(token, { ...request, nowS: NOW_S + 20 })).toEqual({
      refusal: 'token_expired',
    });
    expect(await verifier.authorise(undefined, request)).toEqual({ refusal: 'token_missing' });
  });
});

describe('keys in a setting', () => {
  const secret = Buffer.alloc(32, 1).toString('base64url');
  it.each(['', 'k1', `k1:short`, `k1:${secret},k1:${secret}`, `k 1:${secret}`, `k1:${secret},`])(
    'are not %j',
    (text) => {
      expect(parseAccessKeys(text)).toBeUndefined();
    },
  );
  it('are one or more, the first signs', () => {
    expect(parseAccessKeys(`k2:${secret}=, k1:${secret}`)?.map(({ id }) => id)).toEqual(['k2', 'k1']);
  });
});
