import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startPublisher, type Publisher } from '#tests/support/ffmpeg-publisher.ts';
import { FLV_SAMPLES, interFrameOf } from '#tests/support/flv-samples.ts';
import { amfText, amfValue, type AmfPlain } from '#tests/support/rtmp-amf.ts';
import { chunksOf, RTMP_TYPE, RtmpClient } from '#tests/support/rtmp-client.ts';
import {
  startSupervisedIngest,
  type ReadPublish,
  type SupervisedIngest,
} from '#tests/support/supervised-ingest.ts';
import { waitFor } from '#tests/support/wait-for.ts';
import type { IngestPacket } from './incoming-publish.ts';

const HANDSHAKE_TIMEOUT_MS = 1_500;
/** Longer than any frame that the healthy publisher sends could be mistaken for. */
const INJECTED = interFrameOf(54_321);
const RESIDENT_GROWTH_MAX_BYTES = 80 * 1024 * 1024;

type Attack = {
  readonly name: string;
  /** What the connections of the attack are expected to end with. */
  readonly reason: string;
  readonly attack: (port: number) => Promise<void>;
};

const clients: RtmpClient[] = [];
const track = async (client: Promise<RtmpClient>): Promise<RtmpClient> => {
  clients.push(await client);
  return client;
};
const open = (port: number): Promise<RtmpClient> => track(RtmpClient.open(port));
const shaken = async (port: number): Promise<RtmpClient> => {
  const client = await open(port);
  await client.shakeHands();
  return client;
};
const connected = (port: number): Promise<RtmpClient> => track(RtmpClient.connected(port));
const published = (port: number): Promise<RtmpClient> => track(RtmpClient.published(port, 'victim'));
const command = (...values: readonly AmfPlain[]): Buffer => Buffer.concat(values.map(amfValue));

/** An attack of one message to a connection that has just shaken hands. */
const message = (type: number, payload: Buffer, claimedLength?: number) => async (port: number) => {
  const client = await shaken(port);
  client.message({ type, payload, ...(claimedLength === undefined ? {} : { claimedLength }) });
  // What follows makes a server that waits for the next byte look at a message without one.
  client.command('createStream', null);
};
const size = (value: number): Buffer => {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(value, 0);
  return payload;
};
const connectWith = (object: AmfPlain) => async (port: number) => {
  (await shaken(port)).command('connect', object);
};

/** Every way of the references to end or to misuse node-media-server as it ships, and some more. */
const ATTACKS: Attack[] = [
  { name: 'connect without tcUrl', reason: 'connect_invalid', attack: connectWith({ app: 'live' }) },
  {
    name: 'connect with a tcUrl that is none',
    reason: 'connect_invalid',
    attack: connectWith({ app: 'live', tcUrl: 'no url' }),
  },
  { name: 'connect without an object', reason: 'connect_invalid', attack: connectWith(null) },
  {
    name: 'publish without a name',
    reason: 'stream_name_invalid',
    attack: async (port) => {
      const client = await connected(port);
      client.message({ type: RTMP_TYPE.command, payload: command('publish', 2, null), streamId: 1 });
    },
  },
  {
    name: 'set-chunk-size without a size',
    reason: 'message_too_short',
    attack: message(RTMP_TYPE.setChunkSize, Buffer.alloc(0)),
  },
  { name: 'chunk size 0', reason: 'chunk_size_invalid', attack: message(RTMP_TYPE.setChunkSize, size(0)) },
  {
    name: 'chunk size 4 GiB',
    reason: 'chunk_size_invalid',
    attack: message(RTMP_TYPE.setChunkSize, size(0xffffffff)),
  },
  {
    name: 'video of no bytes before a publish',
    reason: 'media_before_publish',
    attack: message(RTMP_TYPE.video, Buffer.alloc(0)),
  },
  {
    name: 'video of no bytes and of one byte within a publish',
    reason: 'media_malformed',
    attack: async (port) => {
      const client = await published(port);
      client.video(0, Buffer.alloc(0));
      client.video(0, Buffer.from([0x17]));
    },
  },
  {
    name: 'AMF of an unknown type',
    reason: 'amf_type_unknown',
    attack: message(RTMP_TYPE.command, Buffer.concat([command('connect', 1), Buffer.from([0x1f])])),
  },
  {
    name: 'an AMF number cut short',
    reason: 'amf_truncated',
    attack: message(RTMP_TYPE.command, Buffer.concat([command('connect'), Buffer.from([0, 1, 2])])),
  },
  {
    name: 'AMF objects nested 12,000 deep',
    reason: 'amf_too_deep',
    attack: message(
      RTMP_TYPE.command,
      Buffer.concat([
        command('connect', 1),
        ...Array.from({ length: 12_000 }, () => Buffer.concat([Buffer.from([3]), amfText('a')])),
      ]),
    ),
  },
  {
    name: 'AMF objects nested 200,000 deep, in a message too long for a command',
    reason: 'message_too_long',
    attack: message(
      RTMP_TYPE.command,
      Buffer.alloc(800_000, Buffer.concat([Buffer.from([3]), amfText('a')])),
    ),
  },
  {
    name: 'a strict array of four thousand million',
    reason: 'amf_too_many_values',
    attack: message(
      RTMP_TYPE.command,
      Buffer.concat([command('connect', 1), Buffer.from('0affffffff', 'hex')]),
    ),
  },
  {
    name: 'a message that claims 16 MiB',
    reason: 'message_too_long',
    attack: message(RTMP_TYPE.command, Buffer.alloc(100), 0xffffff),
  },
  {
    name: '40 chunk streams that each claim 64 KiB',
    reason: 'pending_bytes_exceeded',
    attack: async (port) => {
      const client = await shaken(port);
      for (let id = 3; id < 43; id++)
        client.message({ type: 20, payload: Buffer.alloc(128), claimedLength: 64 * 1024, chunkStreamId: id });
    },
  },
  {
    name: '40 small chunk streams',
    reason: 'chunk_streams_exceeded',
    attack: async (port) => {
      const client = await shaken(port);
      for (let id = 3; id < 43; id++)
        client.message({ type: 20, payload: Buffer.alloc(128), claimedLength: 200, chunkStreamId: id });
    },
  },
  {
    name: '20 half handshakes',
    reason: 'handshake_timeout',
    attack: async (port) => {
      const halves = await Promise.all(Array.from({ length: 20 }, () => open(port)));
      for (const half of halves) half.send(Buffer.concat([Buffer.from([3]), Buffer.alloc(1_000)]));
    },
  },
  {
    name: 'a silent connection',
    reason: 'handshake_timeout',
    attack: async (port) => void (await open(port)),
  },
  {
    name: 'a handshake byte by byte',
    reason: 'handshake_timeout',
    attack: async (port) => {
      const client = await open(port);
      client.send(Buffer.from([3]));
      while (!client.isClosed) {
        client.send(Buffer.from([0]));
        await delay(50);
      }
    },
  },
  {
    name: 'HTTP',
    reason: 'handshake_invalid',
    attack: async (port) =>
      (await open(port)).send(Buffer.from('GET /live/a%20b.flv HTTP/1.1\r\nHost: a\r\n\r\n')),
  },
  {
    name: 'random bytes instead of a handshake',
    reason: 'handshake_invalid',
    attack: async (port) =>
      (await open(port)).send(Buffer.concat([Buffer.from([0x80]), randomBytes(200_000)])),
  },
  {
    name: 'random bytes after the handshake',
    reason: 'chunk_header_invalid',
    attack: async (port) =>
      (await shaken(port)).send(Buffer.concat([Buffer.from([0xc9]), randomBytes(200_000)])),
  },
  {
    name: 'play',
    reason: 'play_refused',
    attack: async (port) => {
      const client = await connected(port);
      client.command('createStream', null);
      client.command('play', null, 'healthy');
    },
  },
  {
    name: 'a player that sends media to the stream it asked for',
    reason: 'play_refused',
    attack: async (port) => {
      const client = await connected(port);
      client.command('play', null, 'healthy');
      for (let index = 0; index < 20; index++) client.video(index * 33, INJECTED);
    },
  },
  {
    name: 'media without a publish',
    reason: 'media_before_publish',
    attack: async (port) => {
      const client = await connected(port);
      client.video(0, INJECTED);
    },
  },
  {
    name: 'a second publisher that sends media at once and after its refusal',
    reason: 'stream_busy',
    attack: async (port) => {
      const client = await connected(port);
      client.command('createStream', null);
      client.message({ type: 20, payload: command('publish', 3, null, 'healthy', 'live'), streamId: 1 });
      for (let index = 0; !client.isClosed; index++) {
        client.video(index * 33, INJECTED);
        await delay(20);
      }
    },
  },
  {
    name: 'a refused publisher that ignores the end and sends media',
    reason: 'stream_key_unknown',
    attack: async (port) => {
      const client = await connected(port);
      client.socket.allowHalfOpen = true;
      await client.requestPublish('unknown');
      for (let index = 0; !client.isClosed; index++) {
        client.video(index * 33, INJECTED);
        await delay(20);
      }
    },
  },
  {
    name: 'media of a codec that is not ours',
    reason: 'codec_unsupported',
    attack: async (port) => (await published(port)).video(0, FLV_SAMPLES.hevcKeyFrame),
  },
  {
    name: 'timestamps that jump all the time',
    reason: 'timeline_breaks_exceeded',
    attack: async (port) => {
      const client = await published(port);
      client.video(0, FLV_SAMPLES.videoHeader);
      for (let index = 0; index < 20; index++) client.video(index * 20_000, FLV_SAMPLES.keyFrame);
    },
  },
  {
    name: 'answers that are asked for and never read',
    reason: 'commands_exceeded',
    attack: async (port) => {
      const client = await connected(port);
      client.socket.pause();
      const payload = command('createStream', 2, null);
      client.send(Buffer.concat(Array.from({ length: 1_000 }, () => chunksOf({ type: 20, payload }))));
    },
  },
];

describe('a healthy publisher beside a hostile peer', () => {
  let ingest: SupervisedIngest;
  let publisher: Publisher;
  let healthy: ReadPublish;
  let childPid: number | undefined;
  let residentAtStart: number;

  const closedBy = (reason: string): Promise<number> =>
    ingest.metric('ingest_rtmp_connections_closed_total', { reason });
  const injected = (packets: readonly IngestPacket[]): number =>
    packets.filter((packet) => 'flvBody' in packet && packet.flvBody.length === INJECTED.length).length;

  beforeAll(async () => {
    ingest = await startSupervisedIngest({ handshakeTimeoutMs: HANDSHAKE_TIMEOUT_MS }, ['healthy', 'victim']);
    publisher = await startPublisher({ rtmpUrl: `rtmp://127.0.0.1:${ingest.rtmpPort}/live/healthy` });
    healthy = await ingest.read(0);
    await waitFor('its packets', () => healthy.packets.length > 60);
    childPid = ingest.supervisor.processId;
    residentAtStart = ingest.residentBytes();
  });
  afterEach(() => {
    for (const client of clients.splice(0)) client.close();
  });
  afterAll(async () => {
    await publisher.kill();
    await ingest.close();
  });

  it.each(ATTACKS)('survives $name', async ({ reason, attack }) => {
    const before = await closedBy(reason);
    await attack(ingest.rtmpPort);
    const attackers = clients.filter((client) => !client.socket.isPaused());
    for (const client of attackers) await client.closed(HANDSHAKE_TIMEOUT_MS + 3_000);
    await waitFor(`a connection closed by ${reason}`, async () => (await closedBy(reason)) > before);
    const count = healthy.packets.length;
    await waitFor('the next packets of the healthy one', () => healthy.packets.length > count + 10);
    expect(ingest.supervisor.processId).toBe(childPid);
    expect(injected(healthy.packets)).toBe(0);
  });

  it('survives a flood of 2,000 connections', async () => {
    const sockets = await Promise.all(
      Array.from({ length: 2_000 }, async (_, index) => {
        await delay(index / 2);
        return open(ingest.rtmpPort);
      }),
    );
    for (const socket of sockets) socket.send(Buffer.from([3]));
    await waitFor('the end of all', () => sockets.every((socket) => socket.isClosed), { deadlineMs: 15_000 });
    const refused = (): Promise<number> => ingest.metric('ingest_rtmp_connections_refused_total');
    await waitFor('the count of the refused', async () => (await refused()) > 1_800);
    expect(ingest.supervisor.processId).toBe(childPid);
  });

  it('has lost no packet, and the ingest no memory', async () => {
    expect(ingest.residentBytes() - residentAtStart).toBeLessThan(RESIDENT_GROWTH_MAX_BYTES);
    await publisher.stop();
    expect(await healthy.publish.ended).toBe('unpublished');
    await healthy.done;
    const steps = (kind: 'video' | 'audio'): number[] => {
      const times = healthy.packets.flatMap((packet) =>
        packet.kind === kind && !packet.sequenceHeader ? [packet.dtsMs] : [],
      );
      return times.slice(1).map((time, index) => time - (times[index] ?? 0));
    };
    // A frame that is missing would be a step of twice the length.
    expect([...new Set(steps('video'))].toSorted((a, b) => a - b)).toEqual([33, 34]);
    expect([...new Set(steps('audio'))].toSorted((a, b) => a - b)).toEqual([21, 22]);
    expect(healthy.packets.filter(({ kind }) => kind === 'break')).toEqual([]);
    expect(injected(healthy.packets)).toBe(0);
    expect(await ingest.metric('ingest_process_exits_total')).toBe(0);
    expect(await closedBy('internal_error')).toBe(0);
    expect(ingest.publishes.length).toBeGreaterThan(1);
  });
});
