import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { ObjectStoreError } from '#runtime/objects/object-store.ts';
import { S3ObjectStore } from '#runtime/objects/s3-object-store.ts';
import { describeObjectStore } from '#tests/support/object-store-contract.ts';
import { startS3 } from '#tests/support/s3-server.ts';

describeObjectStore('S3', async () => {
  const server = await startS3();
  const store = new S3ObjectStore(server.settings);
  const close = async (): Promise<void> => {
    await store.close();
    await server.close();
  };
  return { store, close };
});

const { MINIO_TEST_ENDPOINT = '', MINIO_TEST_BUCKET = '' } = process.env;
describe.skipIf(MINIO_TEST_ENDPOINT === '')('with MINIO_TEST_ENDPOINT', () => {
  describeObjectStore('MinIO', () => {
    const store = new S3ObjectStore({
      endpoint: MINIO_TEST_ENDPOINT,
      bucket: MINIO_TEST_BUCKET,
      region: 'us-east-1',
      accessKeyId: process.env['MINIO_ROOT_USER'] ?? 'minioadmin',
      secretAccessKey: process.env['MINIO_ROOT_PASSWORD'] ?? 'minioadmin',
    });
    return Promise.resolve({ store, close: () => store.close() });
  });
});

describe('S3ObjectStore', () => {
  const settings = { bucket: 'b', region: 'us-east-1', accessKeyId: 'k', secretAccessKey: 's' };
  const failureOf = async (call: Promise<unknown>): Promise<string> => {
    const error: unknown = await call.catch((caught: unknown) => caught);
    return error instanceof ObjectStoreError ? error.failure : `no ObjectStoreError but ${String(error)}`;
  };

  it('gives up on a server that does not answer, and on one that is not there', async () => {
    const silent = createServer(() => undefined).listen(0, '127.0.0.1');
    await new Promise((resolve) => silent.once('listening', resolve));
    const { port } = silent.address() as AddressInfo;
    const endpoint = `http://127.0.0.1:${port}`;
    const store = new S3ObjectStore({ ...settings, endpoint, callTimeoutMs: 300 });
    expect(await failureOf(store.put('a', new Uint8Array(1)))).toBe('unavailable');
    expect(await failureOf(store.get('a'))).toBe('unavailable');
    silent.closeAllConnections();
    await new Promise((resolve) => silent.close(resolve));
    expect(await failureOf(store.get('a'))).toBe('unavailable');
    await store.close();
  });

  it('is unavailable with the wrong secret', async () => {
    const server = await startS3();
    try {
      const store = new S3ObjectStore({ ...server.settings, secretAccessKey: 'another' });
      expect(await failureOf(store.put('a', new Uint8Array(1)))).toBe('unavailable');
      await store.close();
    } finally {
      await server.close();
    }
  });
});
