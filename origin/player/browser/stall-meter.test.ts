import { describe, expect, it } from 'vitest';
import { StallMeter } from './stall-meter.ts';

/** Feeds a meter every 100 ms: `+` plays, `-` has no data, `=` has data but stands still, `s` is being sought. */
function run(meter: StallMeter, script: string): void {
  let nowMs = 0;
  let currentTimeS = 0;
  meter.settle(0);
  for (const step of script) {
    nowMs += 100;
    if (step === '+') currentTimeS += 0.1;
    if (step === 's') currentTimeS += 1;
    meter.observe({ nowMs, wanted: step !== 's', ready: step !== '-', currentTimeS });
  }
}

describe('StallMeter', () => {
  it.each([
    ['nothing while it plays', '++++++++++', 0, 0],
    ['a stall and how long it took', '++++++---++++', 1, 300],
    ['two stalls apart', '++++++--++++++--++', 2, 400],
    ['no stall in the moment after the start', '--+++++++', 0, 0],
    ['a picture that is frozen though there is data', '++++++======++', 1, 700],
    ['no stall for a seek and the moment after it', '++++++sss---++++', 0, 0],
    ['one stall when a seek is the way out of it', '++++++----ss++++', 1, 600],
    ['a stall that goes on', '++++++----', 1, 300],
  ])('counts %s', (_name, script, count, totalMs) => {
    const meter = new StallMeter();
    run(meter, script);
    expect(meter.count).toBe(count);
    expect(meter.totalMs).toBe(totalMs);
  });

  it('ends a stall without more ado when the viewer pauses', () => {
    const meter = new StallMeter();
    run(meter, '++++++---');
    meter.settle(1_000);
    expect(meter.currentMs).toBe(0);
    expect(meter.totalMs).toBe(300);
    expect(meter.count).toBe(1);
  });
});
