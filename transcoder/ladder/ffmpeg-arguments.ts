import type {
  LadderPlan,
  PlannedAudio,
  PlannedRendition,
  PlannedVideo,
} from '#transcoder/ladder/ladder-plan.ts';

/** Where the encoder writes one rendition to. */
export type RenditionTarget = { readonly rendition: PlannedRendition; readonly socketPath: string };

/** One ffmpeg command, in the pieces that fluent-ffmpeg takes. */
export type FfmpegCommand = {
  readonly inputOptions: readonly string[];
  readonly complexFilter: string | undefined;
  readonly outputs: readonly { readonly target: string; readonly options: readonly string[] }[];
};

/**
 * The input's timestamps are this late, and are taken back by `-itsoffset`: FLV knows no negative time, but a decoding
 * time may lie before the first picture.
 */
export const INPUT_OFFSET_MS = 10_000;

/**
 * The output's timestamps are this late, whole seconds so that it is whole ticks in every timescale: the priming frame
 * of AAC begins before media time 0, which `tfdt` cannot say.
 */
export const OUTPUT_OFFSET_S = 10;

/**
 * Arguments for one live encode: FLV on standard input, decoded once, one fragmented MP4 per encoded rendition.
 *
 * @param targets the renditions with mode `encode` and their sockets
 */
export function ffmpegArguments(plan: LadderPlan, targets: readonly RenditionTarget[]): FfmpegCommand {
  const videos = targets.filter((target) => target.rendition.kind === 'video');
  return {
    inputOptions: INPUT_OPTIONS,
    complexFilter: videos.length === 0 ? undefined : scalingGraph(videos.map((target) => target.rendition)),
    outputs: targets.map(({ rendition, socketPath }) => ({
      target: `unix:${socketPath}`,
      options: [
        ...(rendition.kind === 'video'
          ? videoOptions(
              rendition,
              videos.findIndex((target) => target.rendition === rendition),
              plan,
            )
          : audioOptions(rendition)),
        ...MUXER_OPTIONS,
      ],
    })),
  };
}

const INPUT_OPTIONS: readonly string[] = [
  ['-hide_banner', '-nostdin', '-nostats'],
  ['-loglevel', 'warning'],
  // Keep the given timestamps: every output is then on one timeline, and audio starts where it belongs.
  ['-copyts', '-itsoffset', String(-INPUT_OFFSET_MS / 1000)],
  // Frame threads of the decoder would each hold back a frame.
  ['-threads', '1'],
  ['-fpsprobesize', '0', '-analyzeduration', '1000000'],
  // Nothing in the input can make it open anything else.
  ['-protocol_whitelist', 'pipe', '-f', 'flv'],
].flat();

/** One frame per fragment, as soon as it is there; times as they are, on one timeline for all outputs. */
const MUXER_OPTIONS: readonly string[] = [
  ['-map_metadata', '-1', '-fflags', '+bitexact', '-f', 'mp4', '-movflags'],
  ['+cmaf+empty_moov+default_base_moof+skip_sidx+skip_trailer+frag_discont+frag_every_frame'],
  ['-avoid_negative_ts', 'disabled', '-output_ts_offset', String(OUTPUT_OFFSET_S)],
  ['-muxdelay', '0', '-muxpreload', '0', '-flush_packets', '1'],
].flat();

function scalingGraph(renditions: readonly PlannedRendition[]): string {
  const videos = renditions.filter((rendition) => rendition.kind === 'video');
  const inputs = videos.map((_, index) => `[s${index}]`).join('');
  return [
    `[0:v:0]split=${videos.length}${inputs}`,
    ...videos.map(
      (video, index) =>
        `[s${index}]scale=${video.width}:${video.height}:flags=bilinear,setsar=1,format=yuv420p[v${index}]`,
    ),
  ].join(';');
}

function videoOptions(video: PlannedVideo, index: number, plan: LadderPlan): string[] {
  const frames = String(plan.grid.framesPerSegment);
  const bitrate = String(video.bitrateBps);
  return [
    ['-map', `[v${index}]`, '-c:v', 'libx264', '-preset', plan.preset, '-tune', 'zerolatency'],
    // As an output option: the `fps` filter would hold back a frame.
    ['-r', `${video.frameRate.numerator}/${video.frameRate.denominator}`, '-fps_mode', 'cfr'],
    ['-b:v', bitrate, '-maxrate', bitrate, '-bufsize', bitrate],
    // Closed groups of pictures of exactly one segment, counted in frames so that all renditions agree.
    ['-g', frames, '-keyint_min', frames, '-sc_threshold', '0', '-bf', '0'],
    ['-force_key_frames', `expr:eq(mod(n,${frames}),0)`],
    // Captions in the picture would have to be declared in the multivariant playlist, which nobody can know beforehand.
    ['-a53cc', '0'],
    ['-threads', String(plan.threadsPerEncoder), '-video_track_timescale', String(video.timescale)],
  ].flat();
}

function audioOptions(audio: PlannedAudio): string[] {
  return [
    ['-map', '0:a:0', '-c:a', 'aac', '-b:a', String(audio.bitrateBps), '-ac', String(audio.channels)],
    // Holes become silence, drift is stretched away, and the first sample is that of media time 0.
    ['-ar', String(audio.sampleRateHz), '-af', `aresample=${audio.sampleRateHz}:async=1000:first_pts=0`],
  ].flat();
}
