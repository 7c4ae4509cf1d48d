/** AMF0 as a test client writes and reads it. Written apart from the server's reader, so that the two check each other. */
export type AmfPlain = number | string | boolean | null | { readonly [name: string]: AmfPlain };

/** A value as AMF0 bytes. Objects become AMF0 objects. */
export function amfValue(value: AmfPlain): Buffer {
  if (value === null) return Buffer.from([0x05]);
  if (typeof value === 'boolean') return Buffer.from([0x01, value ? 1 : 0]);
  if (typeof value === 'string') return Buffer.concat([Buffer.from([0x02]), amfText(value)]);
  if (typeof value === 'number') {
    const bytes = Buffer.alloc(9);
    bytes.writeDoubleBE(value, 1);
    return bytes;
  }
  return Buffer.concat([Buffer.from([0x03]), ...amfMembers(value), Buffer.from([0, 0, 0x09])]);
}

/** An ECMA array, as encoders write onMetaData. */
export function amfEcmaArray(members: { readonly [name: string]: AmfPlain }): Buffer {
  const head = Buffer.from([0x08, 0, 0, 0, Object.keys(members).length]);
  return Buffer.concat([head, ...amfMembers(members), Buffer.from([0, 0, 0x09])]);
}

/** A text with its 16-bit length and no type marker. */
export function amfText(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length, 0);
  return Buffer.concat([length, bytes]);
}

function amfMembers(members: { readonly [name: string]: AmfPlain }): Buffer[] {
  return Object.entries(members).flatMap(([name, value]) => [amfText(name), amfValue(value)]);
}

/** The values of a server's answer: numbers, booleans, strings, nulls and flat objects. */
export function readAmfValues(bytes: Buffer): AmfPlain[] {
  const values: AmfPlain[] = [];
  let offset = 0;
  const text = (): string => {
    const length = bytes.readUInt16BE(offset);
    offset += 2 + length;
    return bytes.toString('utf8', offset - length, offset);
  };
  const value = (): AmfPlain => {
    const type = bytes[offset++];
    if (type === 0x00) return bytes.readDoubleBE((offset += 8) - 8);
    if (type === 0x01) return bytes[offset++] !== 0;
    if (type === 0x02) return text();
    if (type === 0x05 || type === 0x06) return null;
    if (type !== 0x03) throw new Error(`the answer has a value of type ${type}`);
    const members: Record<string, AmfPlain> = {};
    for (let name = text(); name !== ''; name = text()) members[name] = value();
    offset++;
    return members;
  };
  while (offset < bytes.length) values.push(value());
  return values;
}
