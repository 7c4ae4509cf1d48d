/** A range this short is not worth a jump: what follows is still on its way. */
const WORTH_A_JUMP_S = 0.15;
/** Elements begin to play a range a little before its first frame. */
const RANGE_LEAD_S = 0.1;

/** End of the buffered range under the playhead; the playhead itself when there is none. */
export function bufferedEndS(video: HTMLVideoElement): number {
  const { buffered, currentTime } = video;
  for (let index = 0; index < buffered.length; index++) {
    if (buffered.start(index) <= currentTime + RANGE_LEAD_S && currentTime <= buffered.end(index))
      return buffered.end(index);
  }
  return currentTime;
}

/** Where the next buffered range after the playhead can be entered, undefined when there is none. */
export function nextRangeS(video: HTMLVideoElement): number | undefined {
  const { buffered, currentTime } = video;
  for (let index = 0; index < buffered.length; index++) {
    const startS = buffered.start(index);
    if (startS > currentTime && buffered.end(index) - startS >= WORTH_A_JUMP_S) return startS + 0.01;
  }
  return undefined;
}
