import type { PlaybackFailure } from './playback-failure.ts';
import type { PlaybackPhase } from './playback.ts';

/** What lies over the picture to say why there is none, and what happens next. */
export type ViewerMessage = {
  readonly title: string;
  readonly detail: string;
  /** Something is under way: a spinner turns. */
  readonly busy: boolean;
  readonly action?: { readonly label: string; readonly does: 'play' | 'reload' | 'recording' };
};

/** Everything a message depends on. */
export type ViewerSituation = {
  readonly streamId: string | undefined;
  readonly streamName: string | undefined;
  /** State of the stream in the list of live streams; undefined when it is not in it. */
  readonly listedState: string | undefined;
  /** Whether the list of streams could be had; undefined before the first answer. */
  readonly serverReachable: boolean | undefined;
  /** What the browser says of its connection. */
  readonly online: boolean;
  readonly phase: PlaybackPhase;
  /** Why playback failed; while it is tried again, why it failed last. */
  readonly failure: PlaybackFailure | undefined;
  /** What keeps media from coming while the picture stands still. */
  readonly trouble: PlaybackFailure | undefined;
  /** The server says that there is no stream of this name at all. */
  readonly unknownStream: boolean;
  /** For how long the picture has been standing still against the viewer's will. */
  readonly stalledMs: number;
  /** The newest parts of the playlist are gaps: the broadcaster sends nothing. */
  readonly broadcastGap: boolean;
};

/** Shorter interruptions are not worth a word. */
const STALL_WORTH_A_WORD_MS = 700;

/** The message for a situation, undefined when the picture speaks for itself. */
export function describeSituation(situation: ViewerSituation): ViewerMessage | undefined {
  const { phase } = situation;
  if (situation.streamId === undefined) return withoutStream(situation);
  const name = situation.streamName ?? situation.streamId;
  switch (phase) {
    case 'failed':
      return describeFailure(situation.failure, situation, name);
    case 'ended':
      return {
        title: 'The broadcast has ended',
        detail: 'When it starts again it plays here by itself.',
        busy: false,
      };
    case 'recording':
      return {
        title: `“${name}” is not live`,
        detail: 'When it goes live it plays here by itself. The last broadcast was recorded.',
        busy: false,
        action: { label: 'Watch the recording', does: 'recording' },
      };
    case 'blocked':
      return {
        title: 'Ready to play',
        detail: 'This browser waits for you to start.',
        busy: false,
        action: { label: 'Play', does: 'play' },
      };
    case 'loading':
      // Until the picture is there, the reason why it is not stays.
      if (situation.failure !== undefined) return describeFailure(situation.failure, situation, name);
      return { title: 'Loading…', detail: '', busy: true };
    case 'idle':
    case 'playing':
    case 'paused':
      break;
    default:
      return phase satisfies never;
  }
  if (phase !== 'playing' || situation.stalledMs < STALL_WORTH_A_WORD_MS) return undefined;
  if (situation.listedState === 'reconnecting' || situation.broadcastGap)
    return {
      title: 'The broadcast was interrupted',
      detail: 'Waiting for the broadcaster to come back; it goes on here by itself.',
      busy: true,
    };
  if (!situation.online || situation.serverReachable === false) return connectionLost(situation.online);
  if (situation.trouble !== undefined) return describeFailure(situation.trouble, situation, name);
  return { title: 'Waiting for the stream…', detail: '', busy: true };
}

function withoutStream(situation: ViewerSituation): ViewerMessage {
  if (situation.serverReachable === false) return connectionLost(situation.online);
  if (situation.serverReachable === undefined)
    return { title: 'Looking for live streams…', detail: '', busy: true };
  return {
    title: 'Nobody is live right now',
    detail: 'As soon as a broadcast starts it plays here by itself.',
    busy: false,
  };
}

function describeFailure(
  failure: PlaybackFailure | undefined,
  situation: ViewerSituation,
  name: string,
): ViewerMessage {
  switch (failure) {
    case 'missing':
      if (situation.unknownStream)
        return {
          title: `There is no stream “${name}”`,
          detail: 'Check the address, or choose a stream from the list.',
          busy: false,
        };
      return {
        title: `“${name}” is offline`,
        detail: 'When the broadcast starts it plays here by itself.',
        busy: false,
      };
    case 'codec':
      return {
        title: 'This browser cannot play this stream',
        detail:
          'It has no decoder for the picture or the sound (H.264 and AAC). Try a current Chrome, Edge, Firefox or Safari.',
        busy: false,
        action: { label: 'Try again', does: 'reload' },
      };
    case 'unsupported':
      return {
        title: 'This browser cannot play live streams',
        detail: 'It lacks Media Source Extensions. Try a current Chrome, Edge, Firefox or Safari.',
        busy: false,
      };
    case 'busy':
      return {
        title: 'The server is overloaded or starting',
        detail: 'It answers, but cannot send the stream now. Trying again…',
        busy: true,
      };
    case 'media':
      return {
        title: 'The stream could not be decoded',
        detail: 'What arrived was damaged. Starting again…',
        busy: true,
      };
    case 'network':
    case undefined:
      return connectionLost(situation.online);
    default:
      return failure satisfies never;
  }
}

function connectionLost(online: boolean): ViewerMessage {
  return online
    ? {
        title: 'The server cannot be reached',
        detail: 'It may be restarting, or the network between is down. Trying again…',
        busy: true,
      }
    : {
        title: 'You are offline',
        detail: 'Check your network connection; playback goes on by itself when it is back.',
        busy: true,
      };
}
