/** A stream as `POST /api/v1/streams` answers it: the only time that its key is shown. */
export type CreatedStream = {
  readonly id: string;
  readonly streamKey: string;
  /** URL of the multivariant playlist. */
  readonly playlistUrl: string;
};

/** What a new stream may ask for. */
export type NewStream = {
  readonly name?: string;
  readonly partDurationMs?: number;
  readonly segmentDurationMs?: number;
  /** How long the playlist waits for its broadcaster, seconds. */
  readonly reconnectWindow?: number;
  readonly ladder?: {
    readonly rungs?: readonly { readonly height: number; readonly bitrateBps: number }[];
    readonly preset?: string;
  };
};

/** The stream API of an origin, as a client with the admin token uses it. */
export class StreamApi {
  readonly originUrl: string;
  readonly #adminToken: string;

  constructor(originUrl: string, adminToken: string) {
    this.originUrl = originUrl;
    this.#adminToken = adminToken;
  }

  /** @throws when the answer is not 201 */
  async create(stream: NewStream): Promise<CreatedStream> {
    const answer = (await this.call('POST', '/api/v1/streams', 201, stream)) as {
      id: string;
      streamKey: string;
      playback: { hls: string };
    };
    return {
      id: answer.id,
      streamKey: answer.streamKey,
      playlistUrl: new URL(answer.playback.hls, this.originUrl).href,
    };
  }

  /** Any call; the answer's JSON. @throws with the answer's text when its status is not `expected` */
  async call(method: string, path: string, expected: number, body?: unknown): Promise<unknown> {
    const response = await fetch(new URL(path, this.originUrl), {
      method,
      headers: {
        authorization: `Bearer ${this.#adminToken}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (response.status !== expected)
      throw new Error(`${method} ${path} was answered ${response.status}, not ${expected}: ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  }
}
