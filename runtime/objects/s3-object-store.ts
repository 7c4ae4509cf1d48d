import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import {
  DeleteObjectsCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import {
  assertObjectKey,
  assertObjectPrefix,
  OBJECT_KEYS_PER_CALL_MAX,
  ObjectStoreError,
  type ObjectCall,
  type ObjectStore,
  type PutOutcome,
  type StoredObject,
} from '#runtime/objects/object-store.ts';

/** An S3-compatible server and a bucket that is there already. */
export type S3Settings = {
  /** `http(s)://host[:port][/path]`; '' means AWS in the region. */
  readonly endpoint: string;
  readonly bucket: string;
  readonly region: string;
  /** Without both, those of the environment or the machine's role. */
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Connections at once. */
  readonly socketsMax?: number;
  /** Longest one call may take, ms. */
  readonly callTimeoutMs?: number;
};

const SOCKETS_MAX = 32;
const CALL_TIMEOUT_MS = 10_000;
const CONNECT_TIMEOUT_MS = 2_000;
/** Attempts of one call; those who wait longer than a call queue and try again themselves. */
const ATTEMPTS_MAX = 2;

/**
 * Objects in a bucket, path style. Writes say `If-None-Match: *`, so that of two writers the first one wins.
 *
 * @spec RFC 9110 §13.1.2
 */
export class S3ObjectStore implements ObjectStore {
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #callTimeoutMs: number;

  constructor(settings: S3Settings) {
    const sockets = { keepAlive: true, maxSockets: settings.socketsMax ?? SOCKETS_MAX };
    this.#bucket = settings.bucket;
    this.#callTimeoutMs = settings.callTimeoutMs ?? CALL_TIMEOUT_MS;
    this.#client = new S3Client({
      region: settings.region,
      forcePathStyle: true,
      maxAttempts: ATTEMPTS_MAX,
      // Servers other than AWS often know no trailing checksums.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      requestHandler: {
        connectionTimeout: CONNECT_TIMEOUT_MS,
        requestTimeout: this.#callTimeoutMs,
        httpAgent: new HttpAgent(sockets),
        httpsAgent: new HttpsAgent(sockets),
      },
      ...(settings.endpoint === '' ? {} : { endpoint: settings.endpoint }),
      ...(settings.accessKeyId === ''
        ? {}
        : { credentials: { accessKeyId: settings.accessKeyId, secretAccessKey: settings.secretAccessKey } }),
    });
  }

  async put(key: string, bytes: Uint8Array<ArrayBuffer>, call: ObjectCall = {}): Promise<PutOutcome> {
    assertObjectKey(key);
    try {
      await this.#send(call, (abortSignal) =>
        this.#client.send(
          new PutObjectCommand({
            Bucket: this.#bucket,
            Key: key,
            Body: bytes,
            ContentLength: bytes.length,
            IfNoneMatch: '*',
          }),
          { abortSignal },
        ),
      );
      return 'stored';
    } catch (error) {
      if (statusOf(error) === 412) return 'exists';
      throw toStoreError(error, call);
    }
  }

  async get(key: string, call: ObjectCall = {}): Promise<StoredObject | undefined> {
    assertObjectKey(key);
    try {
      return await this.#send(call, async (abortSignal) => {
        const answer = await this.#client.send(new GetObjectCommand({ Bucket: this.#bucket, Key: key }), {
          abortSignal,
        });
        const body = await answer.Body?.transformToByteArray();
        if (body === undefined) throw new Error('the answer has no body');
        return { bytes: new Uint8Array(body) };
      });
    } catch (error) {
      if (statusOf(error) === 404) return undefined;
      throw toStoreError(error, call);
    }
  }

  async delete(keys: readonly string[], call: ObjectCall = {}): Promise<void> {
    for (const key of keys) assertObjectKey(key);
    try {
      for (let first = 0; first < keys.length; first += OBJECT_KEYS_PER_CALL_MAX) {
        const Objects = keys.slice(first, first + OBJECT_KEYS_PER_CALL_MAX).map((Key) => ({ Key }));
        const answer = await this.#send(call, (abortSignal) =>
          this.#client.send(
            new DeleteObjectsCommand({ Bucket: this.#bucket, Delete: { Objects, Quiet: true } }),
            { abortSignal },
          ),
        );
        const failed = answer.Errors?.filter(({ Code }) => Code !== 'NoSuchKey') ?? [];
        if (failed.length > 0) throw new Error(`${failed.length} objects stay: ${failed[0]?.Code ?? ''}`);
      }
    } catch (error) {
      throw toStoreError(error, call);
    }
  }

  async list(prefix: string, limit: number, call: ObjectCall = {}): Promise<string[]> {
    assertObjectPrefix(prefix);
    const MaxKeys = Math.min(limit, OBJECT_KEYS_PER_CALL_MAX);
    try {
      const answer = await this.#send(call, (abortSignal) =>
        this.#client.send(new ListObjectsV2Command({ Bucket: this.#bucket, Prefix: prefix, MaxKeys }), {
          abortSignal,
        }),
      );
      return (answer.Contents ?? []).flatMap(({ Key }) => Key ?? []);
    } catch (error) {
      throw toStoreError(error, call);
    }
  }

  close(): Promise<void> {
    this.#client.destroy();
    return Promise.resolve();
  }

  /** Runs a request under one deadline, its repetitions and its body included. */
  #send<Answer>(call: ObjectCall, request: (signal: AbortSignal) => Promise<Answer>): Promise<Answer> {
    const deadline = AbortSignal.timeout(this.#callTimeoutMs);
    return request(call.signal === undefined ? deadline : AbortSignal.any([deadline, call.signal]));
  }
}

function statusOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('$metadata' in error)) return undefined;
  const metadata = error.$metadata;
  if (typeof metadata !== 'object' || metadata === null || !('httpStatusCode' in metadata)) return undefined;
  return typeof metadata.httpStatusCode === 'number' ? metadata.httpStatusCode : undefined;
}

function toStoreError(error: unknown, call: ObjectCall): ObjectStoreError {
  if (call.signal?.aborted === true)
    return new ObjectStoreError('aborted', 'the call was ended early', { cause: error });
  const status = statusOf(error);
  const what = status === undefined ? (error instanceof Error ? error.name : 'failed') : `answered ${status}`;
  return new ObjectStoreError(status === 507 ? 'full' : 'unavailable', `the S3 server: ${what}`, {
    cause: error,
  });
}
