import { describe, expect, it } from 'vitest';
import { aacCodec, AacConfigError } from './aac-config.ts';

describe('ISO/IEC 14496-3 §1.6.2.1 AudioSpecificConfig', () => {
  it.each([
    ['AAC-LC 48 kHz stereo', '1190', 'mp4a.40.2'],
    ['AAC-LC 44.1 kHz mono', '1208', 'mp4a.40.2'],
    ['AAC-LC with a sync extension', '119056e500', 'mp4a.40.2'],
    ['HE-AAC, signalled', '2b92080000', 'mp4a.40.5'],
    ['HE-AAC v2, signalled', 'eb8a080000', 'mp4a.40.29'],
    ['AAC-LC with its own frequency', '1780560010', 'mp4a.40.2'],
    ['xHE-AAC behind the escape', 'f94640', 'mp4a.40.42'],
  ])('names %s', (_name, hex, codec) => {
    expect(aacCodec(Buffer.from(hex, 'hex'))).toBe(codec);
  });

  it.each([
    ['nothing', ''],
    ['one byte', '11'],
    ['no object type', '0190'],
    ['a reserved frequency', '1690'],
    ['a frequency cut short', '1780'],
  ])('refuses %s', (_name, hex) => {
    expect(() => aacCodec(Buffer.from(hex, 'hex'))).toThrow(AacConfigError);
  });
});
