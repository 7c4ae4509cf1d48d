import { describe, expect, it } from 'vitest';
import { groupStreams } from './streams-table.ts';

describe('groupStreams', () => {
  it('puts viewers and health of each pathway together', () => {
    const snapshot = {
      cdns: [
        { name: 'a', enabled: true, health: 1 },
        { name: 'b', enabled: true, health: 0.5 },
        { name: 'c', enabled: false, health: 1 },
      ],
      streams: { two: { a: 0 } },
    };
    const demand = [
      { streamId: 'one', cdn: 'a', viewers: 3 },
      { streamId: 'two', cdn: 'b', viewers: 9 },
      { streamId: 'one', cdn: 'b', viewers: 4 },
    ];
    expect(groupStreams(demand, snapshot)).toEqual([
      {
        streamId: 'two',
        viewers: 9,
        pathways: [
          { cdn: 'b', viewers: 9, health: 0.5 },
          { cdn: 'a', viewers: 0, health: 0 },
        ],
      },
      {
        streamId: 'one',
        viewers: 7,
        pathways: [
          { cdn: 'b', viewers: 4, health: 0.5 },
          { cdn: 'a', viewers: 3, health: 1 },
        ],
      },
    ]);
  });
});
