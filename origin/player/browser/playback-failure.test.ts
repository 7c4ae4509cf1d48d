import { ErrorDetails, ErrorTypes } from 'hls.js';
import { describe, expect, it } from 'vitest';
import { classifyFailure } from './playback-failure.ts';

describe('classifyFailure', () => {
  it.each([
    [ErrorTypes.NETWORK_ERROR, ErrorDetails.MANIFEST_LOAD_ERROR, 404, 'missing'],
    [ErrorTypes.NETWORK_ERROR, ErrorDetails.LEVEL_LOAD_ERROR, 410, 'missing'],
    [ErrorTypes.NETWORK_ERROR, ErrorDetails.LEVEL_LOAD_ERROR, 503, 'busy'],
    [ErrorTypes.NETWORK_ERROR, ErrorDetails.FRAG_LOAD_ERROR, 429, 'busy'],
    [ErrorTypes.NETWORK_ERROR, ErrorDetails.LEVEL_LOAD_ERROR, 0, 'network'],
    [ErrorTypes.NETWORK_ERROR, ErrorDetails.LEVEL_LOAD_TIMEOUT, undefined, 'network'],
    [ErrorTypes.MEDIA_ERROR, ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR, undefined, 'codec'],
    [ErrorTypes.MEDIA_ERROR, ErrorDetails.BUFFER_ADD_CODEC_ERROR, undefined, 'codec'],
    [ErrorTypes.MEDIA_ERROR, ErrorDetails.BUFFER_APPEND_ERROR, undefined, 'media'],
    [ErrorTypes.MUX_ERROR, ErrorDetails.REMUX_ALLOC_ERROR, undefined, 'media'],
  ] as const)('%s %s %s is %s', (type, details, code, expected) => {
    expect(classifyFailure({ type, details, response: { code } })).toBe(expected);
  });
});
