import { describe, expect, it } from 'vitest';
import { FakeClock } from '#runtime/clock.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { createApi, type ApiDeps } from '#origin/api/api.ts';
import { isAllowed } from '#origin/api/api-caller.ts';

type Described = {
  readonly operationId: string;
  readonly parameters: readonly { readonly name: string; readonly in: string }[];
  readonly requestBody?: object;
};
type Document = { readonly paths: Readonly<Record<string, Readonly<Record<string, Described>>>> };

/** No request of these tests comes as far as the registry. */
const api = createApi({
  adminToken: 'an-admin-token',
  requestsPerSecond: 1,
  clock: new FakeClock(),
  metrics: createMetrics('origin'),
} as unknown as ApiDeps);
const readDocument = async (): Promise<Document> =>
  (await (await api.request('/api/v1/openapi.json')).json()) as Document;

describe('the OpenAPI document', () => {
  it('has every route of the server, and no other', async () => {
    const served = api.routes
      .filter(({ method, path }) => method !== 'ALL' && path.startsWith('/api/'))
      .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, '{$1}')}`);
    const described = Object.entries((await readDocument()).paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(described.length).toBeGreaterThan(15);
    expect(described.toSorted()).toEqual([...new Set(served)].toSorted());
  });

  it('names every operation once, and the parameters of its path', async () => {
    const ids: string[] = [];
    for (const [path, methods] of Object.entries((await readDocument()).paths))
      for (const { operationId, parameters } of Object.values(methods)) {
        ids.push(operationId);
        const inPath = parameters.filter((parameter) => parameter.in === 'path').map(({ name }) => name);
        expect(inPath).toEqual([...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name));
      }
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('says what a request may hold, as the handler checks it', async () => {
    const { paths } = await readDocument();
    expect(paths['/api/v1/streams']?.['post']?.requestBody).toMatchObject({
      required: false,
      content: {
        'application/json': {
          schema: {
            additionalProperties: false,
            properties: { reconnectWindow: { type: 'integer', minimum: 0, maximum: 1_800 } },
          },
        },
      },
    });
    const names = paths['/api/v1/streams']?.['get']?.parameters.map(({ name }) => name);
    expect(names).toEqual(['limit', 'cursor', 'livehls-tenant']);
  });
});

describe('scopes', () => {
  it.each([
    [['admin'], ['streams:write'], true],
    [['admin'], 'root', false],
    [['streams:write'], ['streams:read'], true],
    [['streams:read'], ['streams:write'], false],
    [['ops'], ['streams:read', 'ops'], true],
    [['ops'], ['admin'], false],
    [['streams:write'], ['admin'], false],
    ['root', 'root', true],
    ['root', ['admin'], true],
  ] as const)('%o for what needs %o: %s', (scopes, needed, expected) => {
    expect(isAllowed({ scopes }, needed)).toBe(expected);
  });
});
