import type { IngestPacket } from '#transcoder/ingest/incoming-publish.ts';

const FILE_HEADER = Buffer.from('464c5601050000000900000000', 'hex');

/** An FLV file of the audio and video packets of one timeline, for ffprobe to judge. @spec Adobe FLV 10.1 §E.2 */
export function flvFileOf(packets: readonly IngestPacket[]): Buffer {
  const tags: Buffer[] = [FILE_HEADER];
  for (const packet of packets) {
    if (packet.kind !== 'video' && packet.kind !== 'audio') continue;
    const { flvBody, dtsMs } = packet;
    const head = Buffer.alloc(11);
    head.writeUInt8(packet.kind === 'video' ? 9 : 8, 0);
    head.writeUIntBE(flvBody.length, 1, 3);
    head.writeUIntBE(dtsMs & 0xffffff, 4, 3);
    head.writeUInt8((dtsMs >>> 24) & 0xff, 7);
    const tail = Buffer.alloc(4);
    tail.writeUInt32BE(11 + flvBody.length, 0);
    tags.push(head, Buffer.from(flvBody), tail);
  }
  return Buffer.concat(tags);
}
