import { expect } from 'vitest';
import { checkRun } from '#tests/support/hls-rules.ts';
import { strictParserComplaint } from '#tests/support/strict-parser.ts';
import type { RecordedRun } from '#tests/support/recorded-run.ts';

/** Expects that the strict parser accepts every playlist of a run and that none of our rules is broken. */
export function expectConformance(run: RecordedRun): void {
  const complaints = new Map<string, string>();
  const parse = (url: string, text: string): void => {
    const complaint = strictParserComplaint(text);
    if (complaint !== undefined) complaints.set(`${url}: ${complaint}`, text);
  };
  parse(run.url, run.multivariant.text);
  for (const { url, answers } of run.renditions)
    for (const { status, text } of answers) if (status === 200) parse(url, text);
  expect([...complaints].map(([complaint, text]) => `${complaint}\n${text}`)).toEqual([]);
  expect(checkRun(run)).toEqual([]);
}

/** The media that a run has shown of each rendition, so that a test cannot pass because nothing was there. */
export function expectMedia(
  run: RecordedRun,
  atLeast: { readonly renditions: number; readonly partsEach: number },
): void {
  expect(run.renditions.length).toBeGreaterThanOrEqual(atLeast.renditions);
  for (const { resources } of run.renditions) {
    const parts = resources.filter(({ kind, status }) => kind === 'part' && status === 200);
    expect(parts.length).toBeGreaterThanOrEqual(atLeast.partsEach);
  }
}
