import { parse, setOptions } from 'hls-parser';

setOptions({ strictMode: true });

/** What the strict parser of npm's hls-parser has against a playlist; `undefined` when it accepts it. */
export function strictParserComplaint(text: string): string | undefined {
  try {
    parse(text);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
