import { ProblemError } from '#runtime/http/problem.ts';

/**
 * Reads the whole body of an upload, of at most `bytesMax`.
 *
 * @throws {ProblemError} 413 `body_too_large`, 400 `body_incomplete` when the sender breaks off
 */
export async function readUploadBody(request: Request, bytesMax: number): Promise<Uint8Array<ArrayBuffer>> {
  const announced = request.headers.get('content-length');
  if (announced !== null && Number(announced) > bytesMax) throw tooLarge(bytesMax);
  try {
    // The server ends a body at its announced length, so only an unannounced one has to be counted.
    if (announced !== null) return new Uint8Array(await request.arrayBuffer());
    return await readUnannounced(request, bytesMax);
  } catch (error) {
    if (error instanceof ProblemError) throw error;
    throw new ProblemError(400, 'body_incomplete', 'The body broke off.', { cause: error });
  }
}

async function readUnannounced(request: Request, bytesMax: number): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  if (request.body !== null) {
    for await (const chunk of request.body) {
      length += chunk.length;
      if (length > bytesMax) throw tooLarge(bytesMax);
      chunks.push(chunk);
    }
  }
  const bytes = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.length;
  }
  return bytes;
}

function tooLarge(bytesMax: number): ProblemError {
  return new ProblemError(413, 'body_too_large', `At most ${bytesMax} bytes are taken.`);
}
