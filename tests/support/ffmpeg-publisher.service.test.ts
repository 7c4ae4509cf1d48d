import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { startPublisher, type PublisherOptions } from '#tests/support/ffmpeg-publisher.ts';

/** Publishes 1 s into an ffmpeg that listens, and says what arrived. */
async function published(options: Omit<PublisherOptions, 'rtmpUrl'>): Promise<string> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  const rtmpUrl = `rtmp://127.0.0.1:${port}/live/key`;
  const sink = spawn(
    'ffmpeg',
    ['-hide_banner', '-listen', '1', '-i', rtmpUrl, '-c', 'copy', '-f', 'null', '-'],
    {
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  );
  let seen = '';
  sink.stderr.on('data', (bytes: Buffer) => {
    seen += bytes.toString();
  });
  const sinkEnded = once(sink, 'close');
  // The listener gives no sign of listening: publish until it accepts.
  for (let attempt = 0; attempt < 20; attempt++) {
    const publisher = await startPublisher({ ...options, rtmpUrl, durationS: 1 });
    const { code } = await publisher.ended;
    if (code === 0) break;
  }
  sink.kill('SIGINT');
  await sinkEnded;
  return seen;
}

describe('startPublisher', () => {
  it('sends what it is asked for', async () => {
    const seen = await published({
      width: 320,
      height: 568,
      frameRate: '30000/1001',
      channels: 1,
      sampleRateHz: 44_100,
    });
    expect(seen).toMatch(/Video: h264.* 320x568.* 29\.97 fps/);
    expect(seen).toMatch(/Audio: aac.* 44100 Hz, mono/);
  });

  it('leaves out sound or picture', async () => {
    expect(await published({ audio: 'none', content: 'flash-beep' })).not.toContain('Audio:');
    expect(await published({ video: 'none' })).not.toContain('Video:');
  });
});
