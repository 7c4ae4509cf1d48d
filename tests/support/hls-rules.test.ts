import { describe, expect, it } from 'vitest';
import { readMediaPlaylist } from '#bench/hls/media-playlist.ts';
import { readMultivariantPlaylist } from '#bench/hls/multivariant-playlist.ts';
import type { PlaylistAnswer } from '#bench/hls/rendition-follower.ts';
import { checkRun } from '#tests/support/hls-rules.ts';
import type { RecordedResource, RecordedRun, ResourceKind } from '#tests/support/recorded-run.ts';

const MASTER = 'http://origin/live/s/master.m3u8';
const RENDITIONS = ['720p', '360p', 'audio'] as const;
const START_MS = Date.UTC(2026, 10, 22);
const PARTS = 6;
const FIRST_MSN = 100;
/** Segments listed from the start on, before the recorded steps: enough for the smallest window. */
const HISTORY = 4;

type Edit = {
  readonly master?: (text: string) => string;
  /** `step` counts the answers of a rendition from 0, the plain one. */
  readonly playlist?: (text: string, rendition: string, step: number) => string;
  readonly answer?: (answer: PlaylistAnswer, rendition: string, step: number) => PlaylistAnswer;
  readonly resource?: (resource: RecordedResource, rendition: string) => RecordedResource;
};

/** A stream without fault, over 13 parts: segments of 6 parts of 333 ms, window of 5 segments. */
function buildRun(edit: Edit = {}): RecordedRun {
  const master = [
    '#EXTM3U',
    '#EXT-X-INDEPENDENT-SEGMENTS',
    '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="main",URI="audio/index.m3u8",STABLE-RENDITION-ID="audio"',
    ...['720p', '360p'].flatMap((id) => [
      '#EXT-X-STREAM-INF:BANDWIDTH=2000,AVERAGE-BANDWIDTH=1500,CODECS="avc1.64001f,mp4a.40.2",RESOLUTION=1280x720,' +
        `FRAME-RATE=30.000,AUDIO="audio",STABLE-VARIANT-ID="${id}"`,
      `${id}/index.m3u8`,
    ]),
    '',
  ].join('\n');
  return {
    url: MASTER,
    multivariant: readMultivariantPlaylist(edit.master?.(master) ?? master),
    renditions: RENDITIONS.map((id) => buildRendition(id, edit)),
  };
}

function buildRendition(id: string, edit: Edit): RecordedRun['renditions'][number] {
  const url = new URL(`${id}/index.m3u8`, MASTER).href;
  const answers = Array.from({ length: 14 }, (_, step): PlaylistAnswer => {
    const parts = HISTORY * PARTS + 1 + step;
    const text = playlistText(id, parts);
    const edited = edit.playlist?.(text, id, step) ?? text;
    const atMs = START_MS + parts * 333;
    const last = parts - 1;
    const answer: PlaylistAnswer = {
      url,
      asked: step === 0 ? undefined : { msn: FIRST_MSN + Math.floor(last / PARTS), part: last % PARTS },
      requestedAtMs: atMs - 300,
      answeredAtMs: atMs,
      status: 200,
      headers: new Headers({ 'cache-control': 'max-age=1', 'access-control-allow-origin': '*' }),
      text: edited,
      playlist: readMediaPlaylist(edited),
    };
    return edit.answer?.(answer, id, step) ?? answer;
  });
  const resource = (kind: ResourceKind, uri: string, body: string): RecordedResource => {
    const made: RecordedResource = {
      url: new URL(uri, url).href,
      kind,
      requestedAtMs: 0,
      answeredAtMs: 0,
      status: 200,
      contentType: 'video/mp4',
      contentLength: String(body.length),
      cacheControl: 'max-age=12',
      allowOrigin: '*',
      body: Buffer.from(body),
    };
    return edit.resource?.(made, id) ?? made;
  };
  const resources = [resource('init', 'init-0.mp4', '0000ftyp')];
  for (let index = 0; index < (HISTORY + 2) * PARTS; index++) {
    const msn = FIRST_MSN + Math.floor(index / PARTS);
    const body = `0000moof ${msn} ${index % PARTS}`;
    resources.push(
      resource('hint', `${msn}.${index % PARTS}.m4s`, body),
      resource('part', `${msn}.${index % PARTS}.m4s`, body),
    );
    if (index % PARTS !== PARTS - 1) continue;
    const whole = Array.from({ length: PARTS }, (_, part) => `0000moof ${msn} ${part}`).join('');
    resources.push(resource('segment', `${msn}.m4s`, whole));
  }
  return { url, answers, resources };
}

/** The playlist of a rendition when `count` parts are out. */
function playlistText(id: string, count: number): string {
  const open = Math.floor(count / PARTS);
  const firstListed = Math.max(0, open - 5);
  const lines = [
    '#EXTM3U',
    '#EXT-X-VERSION:9',
    '#EXT-X-TARGETDURATION:2',
    '#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.02,CAN-SKIP-UNTIL=12',
    '#EXT-X-PART-INF:PART-TARGET=0.34',
    `#EXT-X-MEDIA-SEQUENCE:${FIRST_MSN + firstListed}`,
    '#EXT-X-DISCONTINUITY-SEQUENCE:0',
    '#EXT-X-MAP:URI="init-0.mp4"',
  ];
  for (let index = firstListed; index <= open; index++) {
    const msn = FIRST_MSN + index;
    const parts = index < open ? PARTS : count % PARTS;
    if (parts > 0) lines.push(`#EXT-X-PROGRAM-DATE-TIME:${new Date(START_MS + index * 2_000).toISOString()}`);
    for (let part = 0; part < parts && index > open - 3; part++)
      lines.push(
        `#EXT-X-PART:DURATION=0.33333,URI="${msn}.${part}.m4s"${part === 0 ? ',INDEPENDENT=YES' : ''}`,
      );
    if (index < open) lines.push('#EXTINF:2.00000,', `${msn}.m4s`);
  }
  const [msn, part] = [FIRST_MSN + Math.floor(count / PARTS), count % PARTS];
  lines.push(`#EXT-X-PRELOAD-HINT:TYPE=PART,URI="${msn}.${part}.m4s"`);
  const [lastMsn, lastPart] = [FIRST_MSN + Math.floor((count - 1) / PARTS), (count - 1) % PARTS];
  for (const peer of RENDITIONS)
    if (peer !== id)
      lines.push(
        `#EXT-X-RENDITION-REPORT:URI="../${peer}/index.m3u8",LAST-MSN=${lastMsn},LAST-PART=${lastPart}`,
      );
  return [...lines, ''].join('\n');
}

const replace = (from: string | RegExp, to: string, onlyStep?: number, onlyRendition = '360p'): Edit => ({
  playlist: (text, rendition, step) =>
    rendition === onlyRendition && (onlyStep === undefined || step === onlyStep)
      ? text.replace(from, to)
      : text,
});
const resource = (kind: ResourceKind, change: Partial<RecordedResource>): Edit => ({
  resource: (made) =>
    made.kind === kind && /101\.3|103\.m4s|init/.test(made.url) ? { ...made, ...change } : made,
});

describe('checkRun', () => {
  it('has nothing to say about a stream without fault', () => {
    expect(checkRun(buildRun())).toEqual([]);
  });

  const faults: [rule: string, edit: Edit][] = [
    ['version', replace('VERSION:9', 'VERSION:6')],
    ['part_target', replace(/#EXT-X-PART-INF.*\n/, '')],
    ['can_block_reload', replace('CAN-BLOCK-RELOAD=YES,', '')],
    ['part_hold_back', replace('PART-HOLD-BACK=1.02', 'PART-HOLD-BACK=1.01')],
    ['skip_boundary', replace('CAN-SKIP-UNTIL=12', 'CAN-SKIP-UNTIL=10')],
    ['hold_back', replace('CAN-SKIP-UNTIL=12', 'HOLD-BACK=5.9')],
    ['discontinuity_sequence', replace(/#EXT-X-DISCONTINUITY-SEQUENCE.*\n/, '')],
    ['playlist_type', replace('#EXT-X-MEDIA-SEQUENCE', '#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-MEDIA-SEQUENCE')],
    ['media_sequence', replace(/MEDIA-SEQUENCE:\d+/, 'MEDIA-SEQUENCE:0')],
    ['one_hint', replace(/#EXT-X-PRELOAD-HINT.*\n/, '', 3)],
    ['no_hint_at_end', replace('#EXT-X-PRELOAD', '#EXT-X-ENDLIST\n#EXT-X-PRELOAD', 13)],
    ['map', replace(/#EXT-X-MAP.*\n/, '', 2)],
    ['pdt_at_discontinuity', replace(/#EXT-X-PROGRAM.*\n/g, '#EXT-X-DISCONTINUITY\n', 2)],
    ['extinf', replace('EXTINF:2.00000', 'EXTINF:2.6')],
    ['parts_fill_segment', replace(/EXTINF:2.00000,\n102/, 'EXTINF:1.9,\n102')],
    ['part_too_long', replace('DURATION=0.33333', 'DURATION=0.3401')],
    ['part_too_short', replace('DURATION=0.33333', 'DURATION=0.288')],
    ['segment_starts_independent', replace(',INDEPENDENT=YES', '')],
    [
      'parts_near_edge_only',
      replace('#EXTINF:2.00000,\n100.m4s', '#EXT-X-PART:DURATION=0.33,URI="x"\n#EXTINF:0.33,\n100.m4s', 4),
    ],
    ['pdt_at_start', replace(/#EXT-X-PROGRAM.*\n/, '')],
    ['pdt_consistent', replace('00:00:04.000', '00:00:04.080')],
    ['pdt_of_peers', replace(/(T00:00:\d\d)\.000/g, '$1.080')],
    ['window_never_below_3_td', replace(/#EXT-X-PROGRAM[^]*102.m4s\n/, '', 2)],
    ['sequences_grow', replace(/DISCONTINUITY-SEQUENCE:0/, 'DISCONTINUITY-SEQUENCE:1', 2)],
    ['said_is_said', replace('TARGETDURATION:2', 'TARGETDURATION:3', 5)],
    ['said_is_said', replace('102.m4s', '102b.m4s', 5)],
    ['said_is_said', replace('URI="104.0.m4s"', 'URI="104.0.m4s",GAP=YES', 5)],
    ['peers_agree', replace('PART-TARGET=0.34', 'PART-TARGET=0.35')],
    [
      'peers_agree',
      replace(
        '#EXT-X-PROGRAM-DATE-TIME:2026-11-22T00:00:04',
        '#EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:2026-11-22T00:00:04',
      ),
    ],
    ['report_for_every_peer', replace(/#EXT-X-RENDITION-REPORT.*audio.*\n/, '')],
    ['report_uri_relative', replace('URI="../audio', 'URI="/live/s/audio')],
    ['report_is_fresh', replace(/LAST-MSN=105,LAST-PART=[0-9]/, 'LAST-MSN=104,LAST-PART=0')],
    ['report_is_true', replace(/LAST-MSN=104/g, 'LAST-MSN=105')],
    ['independent_segments', { master: (text) => text.replace('#EXT-X-INDEPENDENT-SEGMENTS\n', '') }],
    ['stable_ids', { master: (text) => text.replace(',STABLE-VARIANT-ID="360p"', '') }],
    ['stable_ids', { master: (text) => text.replace(',STABLE-RENDITION-ID="audio"', '') }],
    ['codecs', { master: (text) => text.replaceAll(',mp4a.40.2', '') }],
    ['resolution', { master: (text) => text.replace('RESOLUTION=1280x720,', '') }],
    ['frame_rate', { master: (text) => text.replace('FRAME-RATE=30.000,', '') }],
    ['audio_group', { master: (text) => text.replace('GROUP-ID="audio"', 'GROUP-ID="b"') }],
    [
      'average_bandwidth',
      { master: (text) => text.replace('AVERAGE-BANDWIDTH=1500', 'AVERAGE-BANDWIDTH=2500') },
    ],
    [
      'bandwidth',
      {
        master: (text) =>
          text.replace('BANDWIDTH=2000,AVERAGE-BANDWIDTH=1500', 'BANDWIDTH=500,AVERAGE-BANDWIDTH=400'),
      },
    ],
    ['init_available', resource('init', { status: 404 })],
    ['part_available', resource('part', { status: 503 })],
    ['segment_available', resource('segment', { status: 404 })],
    ['hint_kept', resource('hint', { status: 404 })],
    ['content_length', resource('part', { contentLength: '3' })],
    ['media_cors', resource('part', { allowOrigin: null })],
    ['media_cache_control', resource('part', { cacheControl: null })],
    ['content_type', resource('part', { contentType: 'text/html' })],
    ['media_is_cmaf', resource('part', { body: Buffer.from('0000junk'), contentLength: '8' })],
    ['one_body_per_uri', resource('hint', { body: Buffer.from('0000moof other'), contentLength: '14' })],
    ['parts_are_segment', resource('segment', { body: Buffer.from('0000moof'), contentLength: '8' })],
    [
      'reload_status',
      {
        answer: (answer, _, step) => (step === 13 ? { ...answer, status: 503, playlist: undefined } : answer),
      },
    ],
    [
      'playlist_cors',
      { answer: (answer) => ({ ...answer, headers: new Headers({ 'cache-control': 'x' }) }) },
    ],
    [
      'playlist_cache_control',
      { answer: (answer) => ({ ...answer, headers: new Headers({ 'access-control-allow-origin': '*' }) }) },
    ],
    [
      'blocking_reload_early',
      { answer: (answer, _, step) => (step === 3 ? { ...answer, asked: { msn: 105, part: 1 } } : answer) },
    ],
  ];
  it.each(faults)('finds %s', (rule, edit) => {
    expect(checkRun(buildRun(edit)).map((violation) => violation.rule)).toContain(rule);
  });
});
