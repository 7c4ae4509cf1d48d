import { afterAll, beforeAll, expect, it } from 'vitest';
import type { RecordedRun } from '#tests/support/recorded-run.ts';
import { startLiveSystem, waitForPlaylist, type LiveSystem } from '#tests/support/live-system.ts';
import { recordStream } from '#tests/support/ll-hls-client.ts';
import { beepTimes, flashTimes, joinSegments, probeTrack, withFile } from '#tests/support/media-files.ts';

// One short stream that flashes and beeps at every full second, recorded from its start.
let live: LiveSystem;
let run: RecordedRun;

const SEGMENTS = 4;
const FRAME_RATE = 25;

beforeAll(async () => {
  live = await startLiveSystem();
  const stream = await live.api.create({
    ladder: {
      rungs: [
        { height: 180, bitrateBps: 300_000 },
        { height: 120, bitrateBps: 150_000 },
      ],
    },
  });
  const { playlists } = await live.goLive(stream, {
    width: 320,
    height: 180,
    frameRate: String(FRAME_RATE),
    content: 'flash-beep',
  });
  const [first = ''] = playlists;
  const recording = await recordStream(stream.playlistUrl);
  await waitForPlaylist(
    `${SEGMENTS} whole segments`,
    first,
    ({ segments }) => segments.filter(({ uri }) => uri !== undefined).length > SEGMENTS,
    20_000,
  );
  run = await recording.stop();
});
afterAll(() => live?.close());

const isAudio = ({ url }: { url: string }): boolean => url.includes('audio');

it('parts behind one another are the segment, byte for byte', () => {
  for (const { url, resources, answers } of run.renditions) {
    const bodies = new Map(
      resources.filter(({ status }) => status === 200).map((resource) => [resource.url, resource.body]),
    );
    const body = (uri: string): Uint8Array => bodies.get(new URL(uri, url).href) ?? new Uint8Array();
    const compared = answers
      .flatMap(({ playlist }) => playlist?.segments ?? [])
      .filter(({ uri, parts }) => uri !== undefined && parts.length > 0)
      .map(({ uri = '', parts }) => Buffer.concat(parts.map((part) => body(part.uri))).equals(body(uri)));
    expect(compared.length).toBeGreaterThan(SEGMENTS);
    expect(compared).not.toContain(false);
  }
});

it('ffprobe reads init and video segments without a word, and no frame is missing', async () => {
  const videos = run.renditions.filter((rendition) => !isAudio(rendition));
  expect(videos).toHaveLength(2);
  for (const rendition of videos) {
    const track = await withFile(joinSegments(rendition, SEGMENTS), probeTrack);
    expect(track).toMatchObject({ codec: 'h264', packets: SEGMENTS * 2 * FRAME_RATE, keyPackets: SEGMENTS });
    expect(track.largestStepS).toBeCloseTo(1 / FRAME_RATE, 3);
  }
});

it('ffprobe reads init and audio segments without a word, and no sample is missing', async () => {
  const audio = run.renditions.filter(isAudio);
  expect(audio).toHaveLength(1);
  for (const rendition of audio) {
    const track = await withFile(joinSegments(rendition, SEGMENTS), probeTrack);
    expect(track.codec).toBe('aac');
    expect(track.largestStepS).toBeLessThan(0.0235);
    expect(track.lastS - track.firstS).toBeGreaterThan(SEGMENTS * 2 - 0.1);
  }
});

it('all renditions begin their segments at the same media time', async () => {
  const starts = await Promise.all(
    run.renditions.map(async (rendition) => (await withFile(joinSegments(rendition, 1), probeTrack)).firstS),
  );
  const videoStarts = starts.filter((_, index) => !isAudio(run.renditions[index] ?? { url: '' }));
  expect(new Set(videoStarts).size).toBe(1);
  // A cell of audio begins with the first frame that starts in it.
  for (const start of starts) expect(Math.abs(start - (videoStarts[0] ?? 0))).toBeLessThan(0.024);
});

it('picture and sound are together', async () => {
  const [video, audio] = [
    run.renditions.find((rendition) => !isAudio(rendition)),
    run.renditions.find(isAudio),
  ];
  if (video === undefined || audio === undefined) throw new Error('picture or sound is missing');
  const flashes = await withFile(joinSegments(video, SEGMENTS), flashTimes);
  const beeps = await withFile(joinSegments(audio, SEGMENTS), beepTimes);
  const offsets = flashes.flatMap((flash) => {
    const beep = beeps.find((time) => Math.abs(time - flash) < 0.5);
    return beep === undefined ? [] : [beep - flash];
  });
  expect(offsets.length).toBeGreaterThanOrEqual(SEGMENTS);
  // EBU R37: sound at most 40 ms before and 60 ms after the picture.
  for (const offset of offsets) {
    expect(offset).toBeGreaterThan(-0.04);
    expect(offset).toBeLessThan(0.06);
  }
});
