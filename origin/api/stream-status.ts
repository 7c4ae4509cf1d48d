import type { LiveRenditionStatus, LiveStatus } from '#origin/live/live-streams.ts';
import type { LiveWindow, PublishSessions, SessionStatus } from '#origin/sessions/publish-sessions.ts';

/** `live`: parts come in. `reconnecting`: the playlist waits for the broadcaster. `offline`: neither. */
export type StreamState = 'live' | 'reconnecting' | 'offline';

/** How a stream is doing, as every answer shows it. */
export type StreamStatus = {
  readonly state: StreamState;
  /** When its session began; null when it is offline. */
  readonly startedAt: string | null;
  /** What the broadcaster sends. */
  readonly video: {
    readonly codec: string | null;
    readonly width: number | null;
    readonly height: number | null;
    readonly frameRate: number | null;
  } | null;
  readonly audio: { readonly codec: string } | null;
  /** Of what the broadcaster sends, measured over the last seconds. */
  readonly bitrateBps: number | null;
  /** Last frame of the newest part at the ingest → part playable, of the slowest rendition. */
  readonly latencyMs: number | null;
  /** Held requests: every player at the live edge has one or two. */
  readonly viewersWaiting: number;
};

/** What {@link describeStream} looks at. */
export type StreamStatusDeps = {
  readonly sessions: Pick<PublishSessions, 'newest'>;
  readonly live: Pick<LiveWindow, 'status'>;
};

export function describeStream(streamId: string, deps: StreamStatusDeps): StreamStatus {
  const live = deps.live.status(streamId);
  const session = deps.sessions.newest(streamId);
  const state = live === undefined || live.state === 'ended' ? 'offline' : live.state;
  const latencies = live?.renditions.flatMap(({ storeLatencyMs }) => storeLatencyMs ?? []) ?? [];
  return {
    state,
    startedAt: session === undefined ? null : new Date(session.startedAtMs).toISOString(),
    video: videoOf(session, live),
    audio: audioOf(session, live),
    bitrateBps: session?.source?.bitrateBps ?? null,
    latencyMs: state === 'live' && latencies.length > 0 ? Math.max(...latencies) : null,
    viewersWaiting: live?.waiters ?? 0,
  };
}

/** What the ingest has seen, or else the largest rendition that is made of it. */
function videoOf(session: SessionStatus | undefined, live: LiveStatus | undefined): StreamStatus['video'] {
  const source = session?.source;
  if (source !== undefined && source !== null && source.videoCodec !== null) {
    const { videoCodec: codec, width, height, frameRate } = source;
    return { codec, width, height, frameRate };
  }
  const largest = renditions(session, live, 'video').toSorted((a, b) => (b.height ?? 0) - (a.height ?? 0))[0];
  if (largest === undefined) return null;
  const { codecs, width, height, frameRate } = largest;
  return { codec: codecs, width, height, frameRate };
}

function audioOf(session: SessionStatus | undefined, live: LiveStatus | undefined): StreamStatus['audio'] {
  const codec = session?.source?.audioCodec ?? renditions(session, live, 'audio')[0]?.codecs;
  return codec === undefined ? null : { codec };
}

function renditions(
  session: SessionStatus | undefined,
  live: LiveStatus | undefined,
  kind: LiveRenditionStatus['kind'],
): LiveRenditionStatus[] {
  return session === undefined ? [] : (live?.renditions.filter((rendition) => rendition.kind === kind) ?? []);
}
