import Hls from 'hls.js';
import type { PathwayLog } from './pathway-log.ts';

/** What hls.js calls the pathway of a stream that names none. */
const UNNAMED = /^\.*$/;

/**
 * Writes down which pathway an hls.js loads from and why it changes. hls.js has no event for that: it replaces its levels right
 * after it told of a steering manifest, or just before it tells of the error that made it move.
 */
export function watchPathways(hls: Hls, log: PathwayLog): void {
  let steeringSpoke = false;
  let moved = false;
  const thisTask = (): void =>
    queueMicrotask(() => {
      steeringSpoke = false;
      moved = false;
    });
  const note = (pathway: string | undefined, kind: 'start' | 'steering' | 'unknown'): void => {
    if (pathway === undefined || UNNAMED.test(pathway) || pathway === log.current) return;
    log.use(pathway, { kind }, performance.now());
    moved = true;
  };
  hls.on(Hls.Events.MANIFEST_PARSED, (_event, { levels }) => note(levels[0]?.pathwayId, 'start'));
  hls.on(Hls.Events.STEERING_MANIFEST_LOADED, () => {
    steeringSpoke = true;
    thisTask();
  });
  hls.on(Hls.Events.LEVELS_UPDATED, (_event, { levels }) => {
    note(levels[0]?.pathwayId, steeringSpoke ? 'steering' : 'unknown');
    thisTask();
  });
  hls.on(Hls.Events.ERROR, (_event, { details, response }) => {
    if (moved && !steeringSpoke) log.explain({ details, status: response?.code ?? 0 });
  });
}
