/** What a person needs to know of the running system. */
export type SummaryFacts = {
  /** `http://host:port` of the origin. */
  readonly originUrl: string;
  /** `rtmp://host:port/app` of the ingest. */
  readonly rtmpUrl: string;
  /** `http://host:port` of the steering service, where it runs. */
  readonly steeringUrl?: string;
  /** `http://host:port` of the edge, where it runs. */
  readonly edgeUrl?: string;
  /** The CDNs that were started on this machine. */
  readonly cdnUrls?: readonly string[];
  /** What is missing for them. */
  readonly cdnNote?: string;
  readonly adminToken: string;
  /** Where the token came from: a file that keeps it, or the environment. */
  readonly adminTokenFrom: string;
  /** The ready-made stream. */
  readonly stream: { readonly id: string; readonly streamKey: string };
  /** A test picture is being published to it. */
  readonly demo: boolean;
  /** Addresses of this machine under which others reach it; empty when it listens for itself only. */
  readonly lanAddresses: readonly string[];
  readonly startedInMs: number;
};

/** The text that `npm start` prints when everything is ready. */
export function summaryText(facts: SummaryFacts): string {
  const { originUrl, rtmpUrl, stream } = facts;
  const rows: readonly (readonly [string, string])[] = [
    ['Watch', `${originUrl}/`],
    ['API', `${originUrl}/api/v1/streams`],
    ['RTMP server', rtmpUrl],
    ['Stream key', `${stream.streamKey}   (of the ready-made stream "${stream.id}")`],
    ['Admin token', `${facts.adminToken}   (${facts.adminTokenFrom})`],
    ...(facts.steeringUrl === undefined ? [] : [['CDN console', `${facts.steeringUrl}/console/`] as const]),
    ...(facts.edgeUrl === undefined
      ? []
      : [['Edge', `${facts.edgeUrl}/live/${stream.id}/master.m3u8`] as const]),
    ...cdnRows(facts),
    ...lanRows(facts),
  ];
  return [
    `livehls is ready after ${(facts.startedInMs / 1_000).toFixed(1)} s`,
    '',
    ...rows.map(([name, value]) => `  ${name.padEnd(12)} ${value}`),
    '',
    ...(facts.demo ? demoLines(originUrl, stream.id) : publishLines(rtmpUrl, stream.streamKey)),
    '',
    'Ctrl-C ends everything.',
    '',
  ].join('\n');
}

function cdnRows({ cdnUrls = [], cdnNote }: SummaryFacts): (readonly [string, string])[] {
  const said = [...cdnUrls, ...(cdnNote === undefined ? [] : [cdnNote])].join('   ');
  return said === '' ? [] : [['Local CDNs', said]];
}

function lanRows({ originUrl, rtmpUrl, lanAddresses }: SummaryFacts): (readonly [string, string])[] {
  return lanAddresses.map((address, index) => [
    index === 0 ? 'From others' : '',
    `${replaceHost(originUrl, address)}/   ${replaceHost(rtmpUrl, address)}`,
  ]);
}

function demoLines(originUrl: string, streamId: string): string[] {
  return [`A test picture is being published; it is on in a moment at ${originUrl}/watch/${streamId}`];
}

function publishLines(rtmpUrl: string, streamKey: string): string[] {
  return [
    'Publish with OBS:     Settings > Stream > Service "Custom…", then server and stream key as above;',
    '                      Settings > Output: keyframe interval 2 s, tune zerolatency.',
    'Publish with ffmpeg:  ffmpeg -re -stream_loop -1 -i video.mp4 -c:v libx264 -tune zerolatency \\',
    '                        -force_key_frames "expr:gte(t,n_forced*2)" -c:a aac -f flv \\',
    `                        ${rtmpUrl}/${streamKey}`,
    'No camera at hand?    npm start -- --demo',
  ];
}

function replaceHost(url: string, address: string): string {
  const host = address.includes(':') ? `[${address}]` : address;
  return url.replace(/^(\w+:\/\/)(\[[^\]]*\]|[^:/]+)/, `$1${host}`);
}
