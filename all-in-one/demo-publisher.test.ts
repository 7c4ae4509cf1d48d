import { describe, expect, it } from 'vitest';
import { demoArguments } from '#all-in-one/demo-publisher.ts';

describe('demoArguments', () => {
  const args = demoArguments('rtmp://127.0.0.1:1935/app', '/data/demo-publisher.ffpreset');
  const after = (name: string): string | undefined => args[args.indexOf(name) + 1];

  it('hands the key over by file, and publishes to the server itself', () => {
    expect(after('-fpre')).toBe('/data/demo-publisher.ffpreset');
    expect(args.at(-1)).toBe('rtmp://127.0.0.1:1935/app');
  });

  it('sends a key frame every 2 s of 30 frames per second', () => {
    expect(args).toContain('testsrc2=size=1280x720:rate=30');
    expect(after('-g')).toBe('60');
    expect(after('-tune')).toBe('zerolatency');
  });
});
