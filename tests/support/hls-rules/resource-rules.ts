import { segmentsOf } from '#tests/support/hls-rules/peer-rules.ts';
import type { Violations } from '#tests/support/hls-rules/violation.ts';
import type { RecordedRendition, RecordedResource } from '#tests/support/recorded-run.ts';

/** What a listed URI must be. */
export function checkResources(rendition: RecordedRendition, found: Violations): void {
  const bodies = new Map<string, Uint8Array>();
  for (const resource of rendition.resources) {
    checkAnswer(resource, found);
    if (resource.status !== 200) continue;
    const known = bodies.get(resource.url);
    if (known === undefined) bodies.set(resource.url, resource.body);
    else
      found.expect(
        Buffer.compare(known, resource.body) === 0,
        'one_body_per_uri',
        resource.url,
        `two bodies, of ${known.length} and ${resource.body.length} bytes (${resource.kind})`,
      );
  }
  checkHintsKept(rendition, found);
  for (const segment of segmentsOf(rendition)) {
    if (segment.uri === undefined || segment.gap || segment.parts.length === 0) continue;
    const whole = bodies.get(new URL(segment.uri, rendition.url).href);
    const parts = segment.parts.map(({ uri }) => bodies.get(new URL(uri, rendition.url).href));
    // Not fetched in this run: the part had left the playlist before the recording began.
    if (whole === undefined || parts.some((part) => part === undefined)) continue;
    const joined = Buffer.concat(parts.map((part) => part ?? new Uint8Array()));
    found.expect(
      joined.equals(whole),
      'parts_are_segment',
      rendition.url,
      `the parts of segment ${segment.msn} have ${joined.length} bytes, the segment ${whole.length}`,
    );
  }
}

function checkAnswer(resource: RecordedResource, found: Violations): void {
  const { kind, url, status, body } = resource;
  if ((kind === 'hint' || kind === 'map-hint') && status === 404) return; // judged by checkHintsKept
  found.expect(status === 200, `${kind}_available`, url, `answered ${status}`);
  if (status !== 200) return;
  found.expect(
    resource.contentLength === String(body.length),
    'content_length',
    url,
    `Content-Length ${resource.contentLength}, ${body.length} bytes`,
  );
  found.expect(resource.allowOrigin === '*', 'media_cors', url, 'media that other sites may not read');
  found.expect(resource.cacheControl !== null, 'media_cache_control', url, 'media without Cache-Control');
  found.expect(
    /^(video|audio)\/(mp4|iso\.segment)/.test(resource.contentType ?? ''),
    'content_type',
    url,
    `Content-Type ${resource.contentType}`,
  );
  const firstBox = Buffer.from(body.subarray(4, 8)).toString('latin1');
  const expected =
    kind === 'init' || kind === 'map-hint' ? ['ftyp'] : ['styp', 'moof', 'prft', 'emsg', 'sidx'];
  found.expect(
    expected.includes(firstBox),
    'media_is_cmaf',
    url,
    `begins with box ${JSON.stringify(firstBox)}`,
  );
}

/** A hint that was abandoned may be answered 404, but then its URI must not appear as media. @spec rfc8216bis §6.2.6 */
function checkHintsKept(rendition: RecordedRendition, found: Violations): void {
  const abandoned = new Set(
    rendition.resources
      .filter(({ kind, status }) => kind.endsWith('hint') && status === 404)
      .map(({ url }) => url),
  );
  for (const { url, kind } of rendition.resources)
    found.expect(
      (kind !== 'part' && kind !== 'init') || !abandoned.has(url),
      'hint_kept',
      url,
      'hinted, answered 404, and then listed after all',
    );
}
