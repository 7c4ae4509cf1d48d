const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex');

/** Bodies of FLV tags as encoders send them over RTMP. Frames are as short as they may be; no decoder gets them. */
export const FLV_SAMPLES = {
  /** H.264 baseline, 640x360, as x264 writes it. */
  videoHeader: bytes(
    '17 00 000000 0142c01effe100196742c01eda0280bfe5c044000003000400000300f03c58ba8001000468ce0fc8',
  ),
  /** H.264 main, 1280x720. */
  otherVideoHeader: bytes(
    '17 00 000000 014d401fffe10019674d401feca02802dd8088000003000800000301e078c18cb001000468ef8fc8',
  ),
  keyFrame: bytes('17 01 000000 65'),
  interFrame: bytes('27 01 000000 41'),
  /** AAC-LC, 48 kHz, stereo. */
  audioHeader: bytes('af 00 1190'),
  /** AAC-LC, 44.1 kHz, mono. */
  otherAudioHeader: bytes('af 00 1208'),
  sound: bytes('af 01 21'),
  /** HEVC behind an extended header. */
  hevcKeyFrame: bytes('91 68766331 000000 26'),
} as const;

/** An H.264 inter frame of a given length. */
export function interFrameOf(byteCount: number): Buffer {
  const body = Buffer.alloc(byteCount, 0x41);
  FLV_SAMPLES.interFrame.copy(body);
  return body;
}
