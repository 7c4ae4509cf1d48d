import ffmpeg from 'fluent-ffmpeg';
import { TranscodeError } from '#transcoder/transcode-error.ts';

const ENCODERS_NEEDED = ['libx264', 'aac'] as const;
const FORMATS_NEEDED = [
  { name: 'flv', canDemux: true },
  { name: 'mp4', canMux: true },
] as const;

/**
 * Checks once, at the start of a service, that ffmpeg is there and can do what a ladder needs. fluent-ffmpeg remembers
 * the answers for the life of the process, so that no session waits for them.
 *
 * @throws {TranscodeError} `encoder_unusable`, saying what is missing
 */
export async function requireFfmpeg(): Promise<void> {
  const encoders = await ask<ffmpeg.Encoders>('encoders', (callback) =>
    ffmpeg.getAvailableEncoders(callback),
  );
  const formats = await ask<ffmpeg.Formats>('formats', (callback) => ffmpeg.getAvailableFormats(callback));
  const missing = [
    ...ENCODERS_NEEDED.filter((name) => !(name in encoders)),
    ...FORMATS_NEEDED.filter((wanted) => {
      const format = formats[wanted.name];
      return format === undefined || ('canMux' in wanted ? !format.canMux : !format.canDemux);
    }).map((wanted) => wanted.name),
  ];
  if (missing.length > 0)
    throw new TranscodeError('encoder_unusable', `this ffmpeg lacks ${missing.join(', ')}`);
}

function ask<Answer>(
  what: string,
  question: (callback: (error: Error | null, answer: Answer) => void) => void,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    question((error, answer) => {
      if (error === null || error === undefined) resolve(answer);
      else
        reject(
          new TranscodeError(
            'encoder_unusable',
            `ffmpeg does not run (asked for its ${what}): ${error.message}; install the package ffmpeg`,
            { cause: error },
          ),
        );
    });
  });
}
