import Context from 'node-media-server/src/core/context.js';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { FLV_SAMPLES, interFrameOf } from '#tests/support/flv-samples.ts';
import { startIngest, valueOf, type IngestUnderTest } from '#tests/support/ingest-under-test.ts';
import { amfValue } from '#tests/support/rtmp-amf.ts';
import { chunksOf, RtmpClient } from '#tests/support/rtmp-client.ts';
import { waitFor } from '#tests/support/wait-for.ts';
import type { IngestLimits } from './ingest-settings.ts';

const { videoHeader, keyFrame, interFrame, audioHeader, hevcKeyFrame } = FLV_SAMPLES;
const START = 'NetStream.Publish.Start';
const BAD_NAME = 'NetStream.Publish.BadName';

let ingest: IngestUnderTest;
const clients: RtmpClient[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await ingest.close();
});

const use = async (client: Promise<RtmpClient>): Promise<RtmpClient> => {
  clients.push(await client);
  return client;
};
const start = async (change: Partial<IngestLimits> = {}, keys = ['key']): Promise<void> => {
  ingest = await startIngest(change, keys);
};
const open = (): Promise<RtmpClient> => use(RtmpClient.open(ingest.port));
const connected = (app?: string): Promise<RtmpClient> => use(RtmpClient.connected(ingest.port, app));
const published = (key = 'key'): Promise<RtmpClient> => use(RtmpClient.published(ingest.port, key));
const sendStart = (client: RtmpClient, atMs = 0): void => {
  client.video(atMs, videoHeader);
  client.audio(atMs, audioHeader);
  client.video(atMs, keyFrame);
};

describe('a peer that takes too long', () => {
  it.each([
    ['says nothing', Buffer.alloc(0)],
    ['stops within the handshake', Buffer.concat([Buffer.from([3]), Buffer.alloc(700)])],
  ])('%s: handshake', async (_name, bytes) => {
    await start({ handshakeTimeoutMs: 100 });
    const client = await open();
    client.send(bytes);
    await client.closed();
    expect(await ingest.connectionClosed('handshake_timeout')).toBe(1);
  });

  it('sends its handshake byte by byte', async () => {
    await start({ handshakeTimeoutMs: 200 });
    const client = await open();
    client.send(Buffer.from([3]));
    for (let index = 0; index < 100 && !client.isClosed; index++) {
      client.send(Buffer.from([index]));
      await delay(10);
    }
    expect(client.isClosed).toBe(true);
    expect(await ingest.connectionClosed('handshake_timeout')).toBe(1);
  });

  it('never connects', async () => {
    await start({ publishTimeoutMs: 100 });
    const client = await open();
    await client.shakeHands();
    await client.closed();
    expect(await ingest.connectionClosed('publish_timeout')).toBe(1);
  });

  it('never publishes', async () => {
    await start({ publishTimeoutMs: 100 });
    const client = await connected();
    client.command('createStream', null);
    await client.closed();
    expect(await ingest.connectionClosed('publish_timeout')).toBe(1);
  });

  it('publishes and sends no media', async () => {
    await start({ firstMediaTimeoutMs: 100 });
    const client = await published();
    client.audio(0, Buffer.alloc(0));
    client.metadata({ width: 640 });
    await client.closed();
    expect(await ingest.connectionClosed('first_media_timeout')).toBe(1);
    expect(await ingest.publishEnded()).toBe('lost');
    await waitFor('the report', () => ingest.origin.of('key')[0]?.end?.reason === 'lost');
  });

  it('publishes and falls silent: first the key is free, then the connection gone', async () => {
    await start({ lostAfterMs: 200, silenceTimeoutMs: 600 });
    const client = await published();
    sendStart(client);
    expect(await ingest.publishEnded()).toBe('lost');
    expect(client.isClosed).toBe(false);
    await client.closed();
    expect(await ingest.connectionClosed('silence')).toBe(1);
  });

  it('sends empty messages, which are no media', async () => {
    await start({ lostAfterMs: 300, silenceTimeoutMs: 500 });
    const client = await published();
    sendStart(client);
    const pulse = setInterval(() => client.audio(0, Buffer.alloc(0)), 20);
    expect(await ingest.publishEnded()).toBe('lost');
    clearInterval(pulse);
  });
});

describe('a publisher that falls silent and comes back on the same connection', () => {
  it('gets a new session that needs no new headers', async () => {
    await start({ lostAfterMs: 100, silenceTimeoutMs: 5_000 });
    const client = await published();
    sendStart(client);
    await ingest.publishEnded();
    client.video(4_000, interFrame);
    client.video(4_033, keyFrame);
    await waitFor('the second session', () => ingest.started.length === 2);
    const { packets } = ingest.read(1);
    await waitFor('its packets', () => packets.length >= 3);
    expect(packets.map((packet) => ('dtsMs' in packet ? packet.dtsMs : packet.kind))).toEqual([0, 0, 0]);
    expect(packets[0]).toMatchObject({ kind: 'video', sequenceHeader: true });
    expect(client.answers.filter(({ name }) => name === 'onStatus')).toHaveLength(1);
  });

  it('is refused when another has its key by then', async () => {
    await start({ lostAfterMs: 400, silenceTimeoutMs: 5_000 });
    const first = await published();
    sendStart(first);
    await ingest.publishEnded();
    const second = await published();
    sendStart(second);
    first.video(4_000, keyFrame);
    await waitFor('the refusal', () => first.answers.length >= 4);
    expect(await first.status()).toBe(BAD_NAME);
    await first.closed();
    expect(second.isClosed).toBe(false);
  });
});

describe('a publisher and the origin', () => {
  it('may send only after the origin has accepted its key', async () => {
    await start();
    ingest.origin.authoriseDelayMs = 400;
    const client = await connected();
    await client.requestPublish('key');
    await delay(200);
    expect(client.answers.some(({ name }) => name === 'onStatus')).toBe(false);
    expect(await client.status()).toBe(START);
    expect(ingest.started).toHaveLength(1);
  });

  it('loses nothing that it has sent before the answer', async () => {
    await start();
    ingest.origin.authoriseDelayMs = 200;
    const client = await connected();
    await client.requestPublish('key');
    client.metadata({ videocodecid: 7, audiocodecid: 10 });
    sendStart(client);
    client.video(33, interFrame);
    expect(await client.status()).toBe(START);
    const { packets } = ingest.read();
    await waitFor('the packets', () => packets.length >= 5);
    expect(packets.map(({ kind }) => kind)).toEqual(['metadata', 'video', 'audio', 'video', 'video']);
  });

  it('is not read while the origin takes its time, so that it costs no memory', async () => {
    await start({ pendingBytesMax: 100_000 });
    ingest.origin.authoriseDelayMs = 400;
    const client = await connected();
    client.setChunkSize(65_536);
    await client.requestPublish('key');
    await waitFor('the question', () => ingest.origin.questionCount === 1);
    sendStart(client);
    for (let index = 1; index <= 40; index++) client.video(33 * index, interFrameOf(10_000));
    expect(await client.status()).toBe(START);
    const { packets } = ingest.read();
    await waitFor('all packets', () => packets.length === 43);
    expect(client.isClosed).toBe(false);
  });

  it('may not send more than so much before the answer', async () => {
    await start({ pendingBytesMax: 8_000 });
    ingest.origin.authoriseDelayMs = 500;
    const client = await connected();
    client.command('createStream', null);
    await waitFor('the stream', () => client.answers.length >= 2);
    const payload = Buffer.concat(['publish', 5, null, 'key'].map(amfValue));
    const frames = Array.from({ length: 10 }, () => chunksOf({ type: 9, payload: interFrameOf(1_000) }));
    client.send(Buffer.concat([chunksOf({ type: 20, payload, streamId: 1 }), ...frames]));
    await client.closed();
    expect(await ingest.connectionClosed('pending_bytes_exceeded')).toBe(1);
    const end = await waitFor('the end of what was granted', () => ingest.origin.sessions[0]?.end);
    expect(end.reason).toBe('lost');
    expect(ingest.started).toEqual([]);
  });

  it('is refused by a reason when no stream has its key', async () => {
    await start();
    const client = await connected();
    await client.requestPublish('other');
    expect(await client.status()).toBe(BAD_NAME);
    await client.closed();
    expect(await ingest.connectionClosed('stream_key_unknown')).toBe(1);
    expect(ingest.started).toEqual([]);
  });

  it('is refused by a reason when the origin fails', async () => {
    await start();
    ingest.origin.overrule = { status: 500 };
    const client = await connected();
    await client.requestPublish('key');
    expect(await client.status()).toBe('NetStream.Failed');
    await client.closed();
    expect(await ingest.connectionClosed('origin_unavailable')).toBe(1);
  });

  it('is refused by a reason when the origin does not answer', async () => {
    await start({ authoriseTimeoutMs: 100 });
    ingest.origin.authoriseDelayMs = 1_000;
    const client = await connected();
    await client.requestPublish('key');
    expect(await client.status()).toBe('NetStream.Failed');
    await client.closed();
    expect(await ingest.connectionClosed('authorise_timeout')).toBe(1);
  });

  it('leaves no session behind when it goes before the answer', async () => {
    await start();
    ingest.origin.authoriseDelayMs = 200;
    const client = await connected();
    await client.requestPublish('key');
    client.reset();
    await waitFor('the session', () => ingest.origin.sessions.length === 1);
    const end = await waitFor('its end', () => ingest.origin.sessions[0]?.end);
    expect(end.reason).toBe('lost');
  });

  it('is cut off when the origin has ended the session', async () => {
    await start();
    const client = await published();
    sendStart(client);
    ingest.origin.revoke('key');
    client.video(33, interFrame);
    expect(await ingest.publishEnded()).toBe('revoked');
    expect(await client.status()).toBe('NetStream.Failed');
    await client.closed();
    // It was the origin that ended it.
    expect(await valueOf(ingest.metrics.endReports, {})).toBe(0);
  });

  it('is cut off at once when the origin has granted a newer session', async () => {
    await start();
    const older = await published();
    sendStart(older);
    ingest.origin.revoke('key');
    const newer = await published();
    sendStart(newer);
    expect(await ingest.publishEnded(0)).toBe('revoked');
    await older.closed();
    const { packets } = ingest.read(1);
    await waitFor('packets of the newer', () => packets.length > 0);
    expect(newer.isClosed).toBe(false);
  });
});

describe('one publisher per key', () => {
  it('refuses the second, and what it sends goes nowhere', async () => {
    await start();
    const first = await published();
    sendStart(first);
    const { packets } = ingest.read();
    const second = await connected('other-app');
    await second.requestPublish('key');
    second.video(0, interFrameOf(5_000));
    expect(await second.status()).toBe(BAD_NAME);
    for (let index = 0; index < 20; index++) second.video(33 * index, interFrameOf(5_000));
    await second.closed();
    expect(await ingest.connectionClosed('stream_busy')).toBe(1);
    first.video(33, interFrame);
    await waitFor('the packets of the first', () => packets.length >= 4);
    expect(packets.every((packet) => !('flvBody' in packet) || packet.flvBody.length < 100)).toBe(true);
    expect(first.isClosed).toBe(false);
  });

  it('gives the key on as soon as the first has gone', async () => {
    await start();
    for (const leave of ['close', 'reset', 'deleteStream'] as const) {
      const client = await published();
      sendStart(client);
      if (leave === 'deleteStream') client.command('deleteStream', null, 1);
      else client[leave]();
      await ingest.publishEnded(ingest.started.length - 1);
      await waitFor('the report', () => ingest.origin.of('key').at(-1)?.end !== undefined);
    }
    expect([...ingest.ended.values()]).toEqual(['lost', 'lost', 'unpublished']);
  });
});

describe('the end of a publish', () => {
  it.each(['FCUnpublish', 'deleteStream', 'closeStream'])('is deliberate after %s', async (name) => {
    await start();
    const client = await published();
    sendStart(client);
    client.command(name, null, 'key');
    expect(await ingest.publishEnded()).toBe('unpublished');
    await client.closed();
  });

  it('is a loss without a word', async () => {
    await start();
    const client = await published();
    sendStart(client);
    client.socket.end();
    expect(await ingest.publishEnded()).toBe('lost');
  });

  it('is an error when its media are of another codec, and the peer is told', async () => {
    await start();
    const client = await published();
    client.video(0, hevcKeyFrame);
    expect(await ingest.publishEnded()).toBe('error');
    expect(await client.status()).toBe('NetStream.Failed');
    expect(JSON.stringify(client.answers)).toContain('hvc1');
    expect(await ingest.connectionClosed('codec_unsupported')).toBe(1);
  });

  it('is a loss when the ingest stops', async () => {
    await start();
    const client = await published();
    sendStart(client);
    const { packets, done } = ingest.read();
    await waitFor('packets', () => packets.length > 0);
    await ingest.node.close();
    expect(await done).toBe('lost');
    expect(ingest.origin.of('key')[0]?.end?.reason).toBe('lost');
    await client.closed();
  });
});

describe('names', () => {
  it.each([
    ['none', null],
    ['an empty one', ''],
    ['only a query', '?key'],
    ['a number', 7],
    ['a path', 'a/../b'],
    ['a space', 'a b'],
    ['other letters', 'schlüssel'],
    ['a line break', 'key\r\n'],
    ['257 characters', 'k'.repeat(257)],
  ])('of streams: %s is refused', async (_name, name) => {
    await start();
    const client = await connected();
    client.command('createStream', null);
    client.command('publish', null, name, 'live');
    expect(await client.status()).toBe(BAD_NAME);
    await client.closed();
    expect(await ingest.connectionClosed('stream_name_invalid')).toBe(1);
  });

  it('of streams may have a query, which is no part of the key', async () => {
    await start();
    expect((await published('key?backup=1')).isClosed).toBe(false);
  });

  it.each(['live', 'app', 'app/instance', 'a.b', 'live?query=1'])(
    'of applications: %s is as good as any',
    async (app) => {
      await start();
      const client = await connected(app);
      await client.requestPublish('key');
      expect(await client.status()).toBe(START);
    },
  );

  it.each([
    ['no tcUrl', { app: 'live' }],
    ['a tcUrl that is none', { app: 'live', tcUrl: 'not a url' }],
    ['a tcUrl of another kind', { app: 'live', tcUrl: 'http://host/live' }],
    ['a tcUrl that is a number', { app: 'live', tcUrl: 1 }],
    ['no application', { tcUrl: 'rtmp://host/live' }],
    ['an empty application', { app: '', tcUrl: 'rtmp://host/' }],
    ['a strange application', { app: 'a b', tcUrl: 'rtmp://host/live' }],
    ['no object', null],
  ])('in connect: %s is refused', async (_name, object) => {
    await start();
    const client = await open();
    await client.shakeHands();
    client.command('connect', object);
    expect((await client.answer('_error')).values[1]).toMatchObject({
      code: 'NetConnection.Connect.Rejected',
    });
    await client.closed();
    expect(await ingest.connectionClosed('connect_invalid')).toBe(1);
  });
});

describe('what only an attacker does', () => {
  it('play: nothing is played', async () => {
    await start();
    const client = await connected();
    client.command('createStream', null);
    client.command('play', null, 'key');
    expect(await client.status()).toBe('NetStream.Play.Failed');
    await client.closed();
    expect(await ingest.connectionClosed('play_refused')).toBe(1);
  });

  it.each([
    ['connect twice', ['connect']],
    ['publish twice', ['publish']],
  ])('%s', async (_name, [command = '']) => {
    await start();
    const client = command === 'connect' ? await connected() : await published();
    client.command(command, { app: 'live', tcUrl: 'rtmp://h/live' }, 'key');
    await client.closed();
    expect(await ingest.connectionClosed('command_out_of_order')).toBe(1);
  });

  it('publish before connect', async () => {
    await start();
    const client = await open();
    await client.shakeHands();
    client.command('publish', null, 'key');
    await client.closed();
    expect(await ingest.connectionClosed('command_out_of_order')).toBe(1);
  });

  it('commands without end before a publish', async () => {
    await start({ commandsBeforePublishMax: 10 });
    const client = await connected();
    for (let index = 0; index < 10; index++) client.command('FCPublish', null, 'key');
    await client.closed();
    expect(await ingest.connectionClosed('commands_exceeded')).toBe(1);
  });

  it('ask and never read the answers', async () => {
    await start({ outputBytesMax: 4_096, commandsBeforePublishMax: 1_000_000 });
    const client = await connected();
    client.socket.pause();
    const payload = Buffer.concat(['createStream', 4, null].map(amfValue));
    const lot = Buffer.concat(Array.from({ length: 2_000 }, () => chunksOf({ type: 20, payload })));
    for (let index = 0; index < 200 && !client.isClosed; index++) {
      client.send(lot);
      await delay(1);
      if ((await valueOf(ingest.metrics.connectionsClosed, { reason: 'output_exceeded' })) > 0) break;
    }
    expect(await ingest.connectionClosed('output_exceeded')).toBe(1);
  });

  it('send media as a player, or as nobody', async () => {
    await start();
    const healthy = await published();
    sendStart(healthy);
    const { packets } = ingest.read();
    for (const name of ['play', 'createStream']) {
      const client = await connected();
      client.command(name, null, 'key');
      client.video(0, interFrameOf(5_000));
      await client.closed();
    }
    await waitFor('the packets', () => packets.length >= 3);
    expect(packets.filter((packet) => 'flvBody' in packet && packet.flvBody.length > 100)).toEqual([]);
    expect(healthy.isClosed).toBe(false);
  });
});

describe('an ordinary encoder', () => {
  it('is acknowledged as it asks for', async () => {
    await start();
    const client = await published();
    const payload = Buffer.alloc(4);
    payload.writeUInt32BE(10_000);
    client.message({ type: 5, payload, chunkStreamId: 2 });
    let received = 0;
    client.socket.on('data', (bytes) => (received += bytes.length));
    sendStart(client);
    for (let index = 0; index < 4; index++) client.video(index, interFrameOf(5_000));
    await waitFor('an acknowledgement', () => received > 0);
    expect(received).toBe(16);
  });

  it('is told by heartbeats what it sends', async () => {
    await start();
    const client = await published();
    sendStart(client);
    for (let atMs = 40; atMs <= 1_000; atMs += 40) client.video(atMs, interFrame);
    const source = await waitFor(
      'a heartbeat',
      () => ingest.origin.of('key')[0]?.heartbeats[0]?.heartbeat.source,
    );
    expect(source).toMatchObject({
      videoCodec: 'avc1.42c01e',
      audioCodec: 'mp4a.40.2',
      width: 640,
      height: 360,
      frameRate: 25,
    });
  });

  it('leaves nothing in node-media-server, nor its key in the log', async () => {
    await start({}, ['key', 'a-secret-key']);
    const client = await published('a-secret-key');
    sendStart(client);
    const { packets } = ingest.read();
    await waitFor('packets', () => packets.length >= 3);
    expect([...Context.broadcasts.values()]).toEqual([
      expect.objectContaining({ rtmpGopCache: null, flvGopCache: null, rtmpVideoHeader: null }),
    ]);
    client.close();
    await ingest.publishEnded();
    expect(await ingest.connectionClosed('peer_closed')).toBe(1);
    expect(Context.broadcasts.size + Context.sessions.size).toBe(0);
    expect(ingest.logText()).toContain('publish started');
    expect(ingest.logText()).not.toContain('a-secret-key');
  });
});

describe('the RTMP port', () => {
  it('has room again when a connection has gone', async () => {
    await start({ connectionsMax: 1 });
    for (let index = 0; index < 3; index++) {
      const client = await connected();
      expect(client.isClosed).toBe(false);
      client.close();
      const gone = async (): Promise<boolean> =>
        (await ingest.metrics.connections.get()).values[0]?.value === 0;
      await waitFor('the end of the connection', gone);
    }
  });

  it.each([
    ['connections', { connectionsMax: 2 }],
    ['connections_per_address', { connectionsPerAddressMax: 2 }],
    ['rate', { connectionRateMax: 2 }],
    ['rate_per_address', { connectionRatePerAddressMax: 2 }],
  ])('resets what is over its limit of %s', async (reason, limits) => {
    await start(limits);
    await open();
    await open();
    const third = await open();
    await third.closed();
    expect(await valueOf(ingest.metrics.connectionsRefused, { reason })).toBe(1);
    expect((await ingest.metrics.connections.get()).values[0]?.value).toBe(2);
  });

  it('says so when it is taken', async () => {
    await start();
    const { RtmpServer } = await import('./rtmp-server.ts');
    const { DEFAULT_INGEST_LIMITS } = await import('./ingest-settings.ts');
    const server = new RtmpServer(DEFAULT_INGEST_LIMITS, {
      clock: { nowMs: () => 0, monotonicMs: () => 0, after: () => ({ cancel: () => {} }) },
      logger: undefined as never,
      metrics: ingest.metrics,
      publishes: undefined as never,
    });
    await expect(server.listen('127.0.0.1', ingest.port)).rejects.toMatchObject({ code: 'listen_failed' });
  });
});
